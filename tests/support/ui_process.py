"""`make ui` as a process: Dagster's webserver and daemon on a workspace, asked by GraphQL."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psutil

from bentos.smoke import free_port
from livealign.home import Home

ROOT = Path(__file__).parents[2]
REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "orchestration.definitions"}
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
PATIENCE = 900.0  # seconds, for all runs together on a busy machine

RUNS = "{ runsOrError { ... on Runs { results { runId status jobName tags { key value } } } } }"
MESSAGES = """query ($it: ID!) { logsForRun(runId: $it, limit: 1000) {
  ... on EventConnection { events { ... on MessageEvent { message } } } } }"""
GROUPS = "{ assetNodes { assetKey { path } groupName } }"
BACKFILL = """mutation ($it: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $it) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
LAUNCH = """mutation ($it: ExecutionParams!) { launchRun(executionParams: $it) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""


@dataclass(frozen=True)
class Ui:
    """A running UI."""

    port: int
    home: Home
    days: list[date]
    log: Path
    process: subprocess.Popen[bytes]

    def ask(self, query: str, it: Any = None) -> Any:
        body = json.dumps({"query": query, "variables": {"it": it}}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql", body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  our own URL
            found = json.load(answer)
        assert not found.get("errors"), found["errors"]
        return found["data"]

    def runs(self, job: str) -> list[dict[str, Any]]:
        return [run for run in self.ask(RUNS)["runsOrError"]["results"] if run["jobName"] == job]

    def status(self, run_id: str) -> str:
        """The status of a run, or a mark of doubt while the webserver cannot say."""
        try:
            found = self.ask(RUNS)["runsOrError"]["results"]
        except (OSError, AssertionError):
            return "?"
        return next(str(run["status"]) for run in found if run["runId"] == run_id)

    def said(self, run_id: str) -> str:
        """The messages of a run's events."""
        return json.dumps(self.ask(MESSAGES, run_id)["logsForRun"]["events"])

    def processes(self) -> list[psutil.Process]:
        """The UI, its webserver, daemon and code server, and the runs."""
        main = psutil.Process(self.process.pid)
        return [main, *main.children(recursive=True)]

    def until(self, done: Callable[[], bool], what: str) -> None:
        started = time.monotonic()
        while not done():
            assert time.monotonic() - started < PATIENCE, f"not within {PATIENCE} s: {what}\n{self.log.read_text()[-4000:]}"
            time.sleep(1)

    def launch(self, job: str, day: date) -> str:
        """Start a run of the job for a day, as a person does; returns its id."""
        tags = [{"key": "dagster/partition", "value": str(day)}]
        selector = {"jobName": job, **REPOSITORY}
        asked = {"selector": selector, "runConfigData": {}, "executionMetadata": {"tags": tags}}
        launched = self.ask(LAUNCH, asked)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["runId"])

    def backfill(self, days: Sequence[date]) -> None:
        """Backfill landing and warehouse of these days, in one run, as a person does."""
        nodes = self.ask(GROUPS)["assetNodes"]
        wanted = [{"path": node["assetKey"]["path"]} for node in nodes if node["groupName"] in ("landing", "warehouse")]
        launched = self.ask(BACKFILL, {"assetSelection": wanted, "partitionNames": [str(day) for day in days]})
        assert launched["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess", launched


@contextmanager
def ui_process(home: Home, archive: Path, days: Sequence[date], log: Path, **variables: str) -> Iterator[Ui]:
    """The UI of a workspace with the tiny profile, for the time of the block."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEALIGN_", "DAGSTER_"))}
    environment |= {
        "LIVEALIGN_HOME": str(home.root),
        "LIVEALIGN_ARCHIVE": str(archive),
        "LIVEALIGN_PROFILE": "tiny",
        "LIVEALIGN_REPORTS_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    command = [sys.executable, "-m", "orchestration.ui", "--port", str(port)]
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    running = Ui(port, home, list(days), log, process)
    try:
        running.until(lambda: _answers(running, process), "the UI answers")
        yield running
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _answers(running: Ui, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, running.log.read_text()[-4000:]
    try:
        return bool(running.ask("{ version }"))
    except OSError:
        return False
