"""The cost of a second day after the first: two retrains in a new workspace.

    .venv/bin/python -m benchmarks.speed.second_day --workspace /tmp/two_days [--day 2025-06-08] [--profile laptop]

The archive is simulated and the backbone fetched before the clock starts. CPU seconds are given beside wall seconds, because
other programs on the machine change them much less.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

from benchmarks.json_rows import JsonRows, add_json_option
from livealign.files import read_json
from livealign.profiles import load_profile
from livealign.retrain.artifacts import DayArtifacts
from orchestration.resources import Workspace
from orchestration.retrain import prepare


class Cost(NamedTuple):
    """The cost of one retrain, all its processes together."""

    seconds: float
    cpu_seconds: float
    stages: dict[str, float]  # seconds of each


def main() -> None:
    """Retrain twice; print and record a row for each stage and one for all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workspace", type=Path, required=True, help="folder for both retrains; one that is not there yet")
    parser.add_argument("--day", type=date.fromisoformat, default=date(2025, 6, 8), help="the first of the two")
    parser.add_argument("--profile", default="laptop")
    add_json_option(parser)
    arguments = parser.parse_args()
    if (arguments.workspace / "platforms").exists():
        parser.error(f"{arguments.workspace} has been retrained in before; give a new folder")
    os.environ |= {"LIVEALIGN_HOME": str(arguments.workspace.resolve()), "LIVEALIGN_PROFILE": arguments.profile}
    workspace = Workspace.from_environment()
    prepare(workspace, arguments.day)
    days = [arguments.day, arguments.day + timedelta(days=1)]
    first, second = (retrain(workspace, day, arguments.profile) for day in days)
    print(f"\n{'seconds of':<24}{'first day':>10}{'second':>10}{'ratio':>8}")
    out = JsonRows(arguments.json, load_profile(arguments.profile).seed)
    for name in first.stages:
        show(name, first.stages[name], second.stages.get(name, 0.0), out)
    show("all", first.seconds, second.seconds, out)
    show("all, CPU", first.cpu_seconds, second.cpu_seconds, out)
    out.write()


def retrain(workspace: Workspace, day: date, profile: str) -> Cost:
    """Run `make retrain`'s command for one day."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "orchestration.retrain", "--day", str(day), "--profile", profile]
    subprocess.run(command, check=True)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    files = sorted(DayArtifacts.of(workspace.home, day).stages.glob("*.json"), key=lambda file: file.stat().st_mtime)
    return Cost(seconds, cpu, {file.stem: float(read_json(file)["seconds"]) for file in files})


def show(name: str, first: float, second: float, out: JsonRows) -> None:
    """Print and record one row."""
    ratio = second / max(first, 1e-9)
    print(f"{name:<24}{first:10.1f}{second:10.1f}{ratio:8.2f}", flush=True)
    out.add(f"{name}: first day", first, "s")
    out.add(f"{name}: second day", second, "s")
    out.add(f"{name}: second day ÷ first", ratio, "ratio")


if __name__ == "__main__":
    main()
