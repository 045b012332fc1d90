"""`make ui` as a person uses it, with real processes: schedule, backfill, concurrent runs.

Every asset then shows what it is, what it depends on, how long it took and what changed.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bentos.smoke import free_port
from livealign.home import Home
from livealign.release.bundle import open_bundle
from livealign.release.registry import champion_path
from livealign.simulation.archive import simulate
from livealign.simulation.config import SimulationConfig
from orchestration.runs.daily_asset import OWNERS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # whole retrains, several in one test

ROOT = Path(__file__).parents[2]
REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "orchestration.definitions"}
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
PATIENCE = 900.0  # seconds, for all runs together on a busy machine

ASSETS = """{ assetNodes {
  assetKey { path } description groupName kinds opVersion isPartitioned dependencyKeys { path }
  owners { ... on TeamAssetOwner { team } }
  assetMaterializations(limit: 1) { partition metadataEntries { label __typename } }
} }"""
RUNS = "{ runsOrError { ... on Runs { results { runId status jobName tags { key value } } } } }"
BACKFILL = """mutation ($it: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $it) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
LAUNCH = """mutation ($it: ExecutionParams!) { launchRun(executionParams: $it) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
SWITCH_ON = """mutation ($it: ScheduleSelector!) { startSchedule(scheduleSelector: $it) {
  __typename ... on PythonError { message } } }"""


@dataclass(frozen=True)
class Ui:
    """The running UI of a workspace with four landed days, the last of them yesterday."""

    port: int
    home: Home
    days: list[date]
    log: Path

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

    def until(self, done: Callable[[], bool], what: str) -> None:
        started = time.monotonic()
        while not done():
            assert time.monotonic() - started < PATIENCE, f"not within {PATIENCE} s: {what}\n{self.log.read_text()[-4000:]}"
            time.sleep(1)


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    folder = tmp_path_factory.mktemp("ui")
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    config = replace(SimulationConfig.tiny(), days=4, broadcasts=84, first_day=yesterday - timedelta(days=3))
    simulate(config, folder / "archive")
    port, log = free_port(), folder / "ui.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEALIGN_", "DAGSTER_"))}
    environment |= {
        "LIVEALIGN_HOME": str(folder / "home"),
        "LIVEALIGN_ARCHIVE": str(folder / "archive"),
        "LIVEALIGN_PROFILE": "tiny",
        "LIVEALIGN_NIGHTLY": "* * * * *",  # instead of 03:00
        "LIVEALIGN_REPORTS_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "orchestration.ui", "--port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    running = Ui(port, Home(folder / "home", "simulator"), config.dates, log)
    try:
        running.until(lambda: _answers(running, process), "the UI answers")
        yield running
    finally:
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


@pytest.fixture(scope="module")
def history(ui: Ui) -> Ui:
    """The first three days backfilled from the UI, landing and warehouse alone: one run for the whole range."""
    _backfill(ui, ui.days[:3])
    ui.until(lambda: _ended(ui.runs("__ASSET_JOB"), 1), "the backfill of three days")
    assert [run["status"] for run in ui.runs("__ASSET_JOB")] == ["SUCCESS"]
    return ui


def _backfill(ui: Ui, days: list[date]) -> None:
    groups = {tuple(node["assetKey"]["path"]): node["groupName"] for node in ui.ask(ASSETS)["assetNodes"]}
    wanted = [{"path": list(path)} for path, group in groups.items() if group in ("landing", "warehouse")]
    launched = ui.ask(BACKFILL, {"assetSelection": wanted, "partitionNames": [str(day) for day in days]})
    assert launched["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess", launched


def _ended(runs: list[dict[str, Any]], least: int) -> bool:
    return len(runs) >= least and all(run["status"] in ENDED for run in runs)


@pytest.fixture(scope="module")
def retrained(history: Ui) -> Ui:
    """At once: yesterday by hand, yesterday again by the schedule, and a backfill of two days of the history."""
    ui, job = history, {"jobName": "daily_retrain", **REPOSITORY}
    tags = [{"key": "dagster/partition", "value": str(ui.days[3])}]
    by_hand = ui.ask(LAUNCH, {"selector": job, "runConfigData": {}, "executionMetadata": {"tags": tags}})["launchRun"]
    assert by_hand["__typename"] == "LaunchRunSuccess", by_hand
    _backfill(ui, ui.days[:2])
    switched_on = ui.ask(SWITCH_ON, {"scheduleName": "nightly", **REPOSITORY})["startSchedule"]
    assert switched_on["__typename"] == "ScheduleStateResult", switched_on
    ui.until(lambda: _ended(ui.runs("daily_retrain"), 2) and _ended(ui.runs("__ASSET_JOB"), 2), "all runs")
    return ui


def test_the_schedule_asks_for_yesterday_once_however_often_it_fires(retrained: Ui) -> None:
    tags = [{tag["key"]: tag["value"] for tag in run["tags"]} for run in retrained.runs("daily_retrain")]
    scheduled = [one["dagster/partition"] for one in tags if one.get("dagster/schedule_name") == "nightly"]
    assert scheduled == [str(retrained.days[3])]


def test_runs_that_meet_end_well(retrained: Ui) -> None:
    runs = retrained.runs("daily_retrain")
    days = sorted(tag["value"] for run in runs for tag in run["tags"] if tag["key"] == "dagster/partition")
    assert days == [str(retrained.days[3])] * 2
    for run in (*runs, *retrained.runs("__ASSET_JOB")):
        assert run["status"] == "SUCCESS", retrained.log.read_text()[-4000:]
    champion = open_bundle(champion_path(retrained.home.releases))
    assert champion.manifest["data_window"]["end"] == str(retrained.days[3])


def test_every_asset_answers_what_it_is_from_what_how_long_and_what_changed(retrained: Ui) -> None:
    for node in retrained.ask(ASSETS)["assetNodes"]:
        name = "/".join(node["assetKey"]["path"])
        assert len(node["description"] or "") > 20, name
        assert {owner["team"] for owner in node["owners"]} == {OWNERS[node["groupName"]].removeprefix("team:")}, name
        assert node["kinds"], name
        assert node["opVersion"], name
        assert node["isPartitioned"], name
        assert node["dependencyKeys"] or node["groupName"] == "landing", name
        (last,) = node["assetMaterializations"]
        assert last["partition"] in {str(day) for day in retrained.days}, name
        labels = {entry["label"] for entry in last["metadataEntries"]}
        # dbt builds all models in one process: a model has seconds of its own, but no peak of memory.
        costs = {"seconds"} if "dbt" in node["kinds"] else {"seconds", "peak_memory_mib"}
        assert {"what_changed", "changed_since", *costs} <= labels, f"{name}: {sorted(labels)}"
        if name.startswith(("warehouse/stg_", "warehouse/int_")):  # views: nothing of them is kept that could be counted
            continue
        # What there is of it, or how good it is: numbers beside those that every asset has.
        numbers = [
            entry for entry in last["metadataEntries"] if entry["__typename"] in ("IntMetadataEntry", "FloatMetadataEntry")
        ]
        assert {entry["label"] for entry in numbers} - costs, f"{name}: {sorted(labels)}"


@pytest.mark.parametrize(
    ("asset", "pictured"),
    [
        ("aligned_vectors", "loss_curve"),
        ("semantic_codes", "usage"),
        ("offline_report", "GAUC of each variant"),
        ("drift_report", "scores"),
    ],
)
def test_what_people_rather_look_at_is_pictured(retrained: Ui, asset: str, pictured: str) -> None:
    (node,) = (node for node in retrained.ask(ASSETS)["assetNodes"] if node["assetKey"]["path"] == [asset])
    assert pictured in {entry["label"] for entry in node["assetMaterializations"][0]["metadataEntries"]}
