"""A server that runs single stages of the graph in processes that may be killed.

    python -m tests.support.fault_server        reads one JSON command a line, answers one JSON line

It imports the graph once and forks for every attempt.
A command: {home, archive, day, stages: [name], kill_at: n, kill_after: seconds, signal, profile: {stage: {field: value}}}.
`kill_at` sends the signal (SIGKILL; to the attempt's process group) before the attempt's n-th rename in the workspace, counted
from 1; `kill_after` so many seconds after the stage began. The answer: {ok, killed, error, renames: {stage: n}, log}.
"""

import json
import os
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

from dagster import AssetKey

import orchestration.definitions as graph
from livealign.home import Home
from livealign.landing.schema import TABLES
from livealign.profiles import load_profile
from orchestration.resources import Workspace
from orchestration.retrain import QUIET
from orchestration.runs.failures import root_cause
from orchestration.runs.instance import LAUNCHED_BY, fail_dead_runs, open_instance

STAGES = (
    *("landing", "warehouse", "marts", "llm_adapter", "segment_embeddings", "aligned_vectors", "semantic_codes", "retriever"),
    *("ranker", "comparison", "offline_report", "drift_report", "bundle", "bento", "promotion", "retention"),
)


def asset_keys(stage: str) -> list[AssetKey]:
    """The assets of a stage."""
    if stage == "landing":
        return [AssetKey(["landing", name]) for name in (*TABLES, "ledger", "rejects")]
    if stage == "marts":
        return [AssetKey(["warehouse", "exported_marts"])]
    if stage == "warehouse":
        keys = graph.defs.resolve_asset_graph().materializable_asset_keys
        return [key for key in keys if key.path[0] == "warehouse" and key.path[1] != "exported_marts"]
    return [AssetKey(stage)]


def workspace_of(command: Mapping[str, Any]) -> Workspace:
    """The workspace of a command, by the tiny profile with the fields that the command changes."""
    profile = load_profile("tiny")
    profile = replace(profile, drift=replace(profile.drift, permutations=100))
    for stage, fields in command.get("profile", {}).items():
        changed = replace(getattr(profile, stage), **fields) if isinstance(fields, dict) else fields
        profile = replace(profile, **{stage: changed})
    return Workspace(Home(Path(command["home"]), "simulator"), Path(command["archive"]), profile, profile.dataset)


def attempt(command: Mapping[str, Any], answer: int) -> None:
    """Run the stages and write the report to `answer`.

    A killed process writes no report.
    """
    os.setsid()
    workspace = workspace_of(command)
    report: dict[str, Any] = {"ok": False, "killed": False, "error": None, "renames": {}}
    stage = [""]
    number = signal.Signals[command.get("signal", "SIGKILL")]

    def interrupt() -> None:
        if number == signal.SIGKILL:
            os.killpg(0, number)
        else:
            os.kill(os.getpid(), number)

    _count_renames(workspace.home, report["renames"], stage, command.get("kill_at"), interrupt)
    try:
        workspace.home.activate()
        defs = graph.build_definitions(workspace)
        with open_instance(workspace.home) as instance:
            fail_dead_runs(instance, {"daily_retrain"})
            for stage[0] in command["stages"]:
                if command.get("kill_after"):
                    threading.Timer(command["kill_after"], interrupt).start()
                result = defs.resolve_job_def("daily_retrain").execute_in_process(
                    instance=instance,
                    partition_key=date.fromisoformat(command["day"]).isoformat(),
                    asset_selection=asset_keys(stage[0]),
                    tags={LAUNCHED_BY: "retrain"},
                    run_config=QUIET,
                    raise_on_error=False,
                )
                if not result.success:
                    report["error"] = (
                        "\n".join(_root(event) for event in result.all_events if event.is_step_failure) or "a check"
                    )
                    break
            else:
                report["ok"] = True
    except BaseException:
        report["error"] = traceback.format_exc()
    os.write(answer, json.dumps(report).encode())


def _root(event: Any) -> str:
    return f"{event.step_key}: {root_cause(event.step_failure_data.error)}"


def _count_renames(
    home: Home, renames: dict[str, int], stage: list[str], kill_at: int | None, interrupt: Callable[[], None]
) -> None:
    """Count renames in the workspace, without Dagster's own, and interrupt the process before the `kill_at`-th."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "os.rename":
            return
        target = str(arguments[1])
        if stage[0] and target.startswith(str(home.workspace)) and not target.startswith(str(home.dagster)):
            renames[stage[0]] = renames.get(stage[0], 0) + 1
            if renames[stage[0]] == kill_at:
                interrupt()

    sys.addaudithook(hook)


def warm_up() -> None:
    """Import what Dagster and the stages import at their first use.

    Else every attempt would.
    """
    import_module("evidently")
    with tempfile.TemporaryDirectory() as folder, open_instance(Home(Path(folder), "simulator")):
        pass


def run(command: Mapping[str, Any]) -> dict[str, Any]:
    """Fork an attempt and wait for it."""
    with tempfile.TemporaryFile() as log:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            try:
                attempt(command, writer)
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as answer:
            report = answer.read()
        _, status = os.waitpid(child, 0)
        log.seek(0)
        text = log.read().decode(errors="replace")
    if os.WIFSIGNALED(status):
        return {"ok": False, "killed": os.WTERMSIG(status) == signal.SIGKILL, "error": None, "renames": {}, "log": text}
    return json.loads(report) | {"log": text}


def main() -> None:
    """Answer commands until the input ends."""
    warnings.simplefilter("ignore")
    warm_up()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # prints must not mix with the answers
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
