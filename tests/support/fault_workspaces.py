"""The workspaces of the fault tests, and the process that runs stages in them."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq

from livealign.home import Home
from livealign.release.registry import read_champion
from livealign.simulation.archive import simulate
from livealign.simulation.config import SimulationConfig
from tests.support.fault_server import STAGES

ROOT = Path(__file__).parents[2]
DAY_BEFORE, DAY = "2025-06-02", "2025-06-03"
HISTORY = ("landing", "warehouse", "marts")
# What differs from run to run: costs and times, logs, databases, caches that are filled in another order.
VARIES = (
    "/stages/",
    "/dagster/",
    "/dbt/",
    "/embedding_cache/",
    "/bentoml/",
    "/reports/",
    "/logs/",
    "/warehouse.duckdb",
    "/.lock",
    "/lock",
)
VARIES += ("finetune.json", "bento.json", "dbt.log", "history.jsonl", "retrain.lock")


class Server:
    """tests.support.fault_server as a process."""

    def __init__(self, archive: Path, log: Path) -> None:
        self.archive = archive
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEALIGN_", "DAGSTER_"))}
        environment |= {
            "LIVEALIGN_HOME": str(log.parent / "unused"),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        environment |= {"BENTOML_DO_NOT_TRACK": "true", "DO_NOT_TRACK": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fault_server"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("wb"),
            text=True,
        )
        assert self._answer() == {"ready": True}

    def run(self, home: Home, *stages: str, day: str = DAY, **options: Any) -> dict[str, Any]:
        """Run the stages, one after the other, until one fails or the process dies."""
        command = {"home": str(home.root), "archive": str(self.archive), "day": day, "stages": stages, **options}
        assert self.process.stdin is not None
        print(json.dumps(command), file=self.process.stdin, flush=True)
        return self._answer()

    def must(self, home: Home, *stages: str, **options: Any) -> dict[str, int]:
        """The same where nothing may go wrong; returns the renames of each stage."""
        answer = self.run(home, *stages, **options)
        assert answer["ok"], f"{answer['error']}\n{answer['log'][-3000:]}"
        return answer["renames"]

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the fault server ended"
        return json.loads(line)


@contextmanager
def simulated_server(folder: Path) -> Iterator[Server]:
    """A server on a tiny simulated archive, for the time of the block."""
    simulate(SimulationConfig.tiny(), folder / "archive")
    server = Server(folder / "archive", folder / "log")
    yield server
    assert server.process.stdin is not None
    server.process.stdin.close()
    server.process.wait(60)


class Base:
    """The undisturbed workspace, the one before its last day, and the renames of each stage."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.begun, self.home = Home(folder / "begun", "simulator"), Home(folder / "base", "simulator")
        server.must(self.begun, *HISTORY, day=DAY_BEFORE)
        copy(self.begun, self.home.root)
        self.renames = server.must(self.home, *STAGES)
        assert champion_of(self.home) is not None


def copy(home: Home, to: Path) -> Home:
    """A copy at another place.

    It lacks the warehouse file, which holds views on the old place's files and is made again.
    """
    shutil.copytree(home.root, to, symlinks=True)
    made = Home(to, home.platform)
    made.warehouse_file.unlink(missing_ok=True)
    return made


def files_of(home: Home) -> dict[str, str]:
    """SHA-256 of every file that a run ends in, by name; the time of a decision does not count."""
    found = {}
    for path in sorted(home.workspace.rglob("*")):
        name = f"/{path.relative_to(home.workspace)}"
        if path.is_dir() or any(part in name for part in VARIES) or "/.tmp-" in name:
            continue
        content = path.read_bytes()
        if path.name == "promotion.json" or path.name.endswith(".decision.json"):
            content = json.dumps(json.loads(content) | {"decided_at": ""}).encode()
        if path.name == "bundle.json":
            content = json.dumps(json.loads(content) | {"path": ""}).encode()
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def landed_files(home: Home) -> dict[str, str]:
    return {name: digest for name, digest in files_of(home).items() if name.startswith("/landing/")}


def assert_all_whole(home: Home) -> None:
    """Every file that a reader would look at can be read to its end."""
    for path in home.workspace.rglob("*"):
        name = str(path.relative_to(home.workspace))
        if path.is_dir() or "/." in f"/{name}" or name.startswith(("dagster/", "bentoml/")):
            continue
        if path.suffix == ".parquet":
            pq.ParquetFile(path).read()
        elif path.suffix in (".npy", ".npz"):
            np.load(path, allow_pickle=False)
        elif path.suffix == ".json":
            json.loads(path.read_bytes())


def champion_of(home: Home) -> str | None:
    return read_champion(home.releases)


def challenger_of(home: Home) -> str:
    return str(json.loads((home.artifacts / DAY / "release" / "bundle.json").read_text())["release_id"])


def processes_of(home: Home) -> list[psutil.Process]:
    """The processes that work on the home."""
    every = psutil.process_iter(["cmdline"])
    return [process for process in every if any(str(home.root) in word for word in process.info["cmdline"] or ())]


def stop_orphans(home: Home) -> None:
    """End the servers that a killed smoke test left behind: it could not stop them itself."""
    for process in processes_of(home):
        process.kill()


def environment_of(home: Path, **variables: str) -> dict[str, str]:
    """The environment of a process that works in the home; nothing of ours but what is given."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEALIGN_", "DAGSTER_"))}
    return plain | {"LIVEALIGN_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "1", "COLUMNS": "200", **variables}


def retrain(home: Path, archive: Path, *options: str, before: tuple[str, ...] = (), **variables: str) -> tuple[int, str]:
    """`python -m orchestration.retrain` as a process, its exit code and what it said."""
    command = [*before, sys.executable, "-m", "orchestration.retrain", "--archive", str(archive), *options]
    environment = environment_of(home, **variables)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout + done.stderr


def retrain_until(
    stage: str, do: Callable[[], object], home: Path, archive: Path, *options: str, **variables: str
) -> tuple[int, list[str]]:
    """The same; `do` is called once, when the stage begins. Returns the exit code and the lines."""
    command = [sys.executable, "-m", "orchestration.retrain", "--archive", str(archive), "--profile", "tiny", *options]
    said: list[str] = []
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=ROOT, env=environment_of(home, **variables), text=True, **pipes) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.rstrip("\n"))
            if f"▶ {stage} " in line and not any(f"▶ {stage} " in earlier for earlier in said[:-1]):
                do()
    return process.returncode, said
