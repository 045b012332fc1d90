"""`make ui` as a person uses it, with real processes: schedule, backfill, concurrent runs.

Every asset then shows what it is, what it depends on, how long it took and what changed.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from livealign.home import Home
from livealign.release.bundle import open_bundle
from livealign.release.registry import champion_path
from livealign.simulation.archive import simulate
from livealign.simulation.config import SimulationConfig
from orchestration.runs.daily_asset import OWNERS
from tests.support.ui_process import ENDED, REPOSITORY, Ui, ui_process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # whole retrains, several in one test


ASSETS = """{ assetNodes {
  assetKey { path } description groupName kinds opVersion isPartitioned dependencyKeys { path }
  owners { ... on TeamAssetOwner { team } }
  assetMaterializations(limit: 1) { partition metadataEntries { label __typename } }
} }"""
SWITCH_ON = """mutation ($it: ScheduleSelector!) { startSchedule(scheduleSelector: $it) {
  __typename ... on PythonError { message } } }"""


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """The running UI of a workspace with four landed days, the last of them yesterday."""
    folder = tmp_path_factory.mktemp("ui")
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    config = replace(SimulationConfig.tiny(), days=4, broadcasts=84, first_day=yesterday - timedelta(days=3))
    simulate(config, folder / "archive")
    every_minute = {"LIVEALIGN_NIGHTLY": "* * * * *"}  # instead of 03:00
    with ui_process(
        Home(folder / "home", "simulator"), folder / "archive", config.dates, folder / "ui.log", **every_minute
    ) as ui:
        yield ui


@pytest.fixture(scope="module")
def history(ui: Ui) -> Ui:
    """The first three days backfilled from the UI, landing and warehouse alone: one run for the whole range."""
    ui.backfill(ui.days[:3])
    ui.until(lambda: _ended(ui.runs("__ASSET_JOB"), 1), "the backfill of three days")
    assert [run["status"] for run in ui.runs("__ASSET_JOB")] == ["SUCCESS"]
    return ui


def _ended(runs: list[dict[str, Any]], least: int) -> bool:
    return len(runs) >= least and all(run["status"] in ENDED for run in runs)


@pytest.fixture(scope="module")
def retrained(history: Ui) -> Ui:
    """At once: yesterday by hand, yesterday again by the schedule, and a backfill of two days of the history."""
    ui = history
    ui.launch("daily_retrain", ui.days[3])
    ui.backfill(ui.days[:2])
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
