"""The sensors' run requests: new days in the archive, drifted content, an old LLM."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dagster import (
    AssetKey,
    AssetMaterialization,
    DagsterInstance,
    DagsterRun,
    SensorResult,
    build_schedule_context,
    build_sensor_context,
)

from livealign.events.log import EventLog
from livealign.home import Home
from livealign.profiles import load_profile
from livealign.simulation.archive import simulate
from livealign.simulation.config import SimulationConfig
from orchestration.assets.content import RETUNE
from orchestration.resources import Workspace
from orchestration.schedules import nightly
from orchestration.sensors import content_drift, new_archive_days, stale_llm

MARTS = AssetKey(["warehouse", "exported_marts"])


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as made:
        yield made


def workspace_of(tmp_path: Path, platform: str = "simulator") -> Workspace:
    home = Home(tmp_path / "home", platform)
    profile = load_profile("tiny")
    return Workspace(home, tmp_path / "archive", profile, profile.dataset)


def materialized(instance: DagsterInstance, key: str | AssetKey, partition: str, **metadata: object) -> None:
    asset_key = AssetKey(key) if isinstance(key, str) else key
    instance.report_runless_asset_event(AssetMaterialization(asset_key, partition=partition, metadata=metadata))


def drift_tick(instance: DagsterInstance, cursor: str | None) -> SensorResult:
    result = content_drift(build_sensor_context(instance, cursor))
    assert isinstance(result, SensorResult)
    return result


def test_drifted_content_asks_for_a_full_tune_of_the_first_day_that_learns_from_it(instance: DagsterInstance) -> None:
    materialized(instance, "llm_adapter", "2025-06-06", tuned="warm")
    materialized(instance, "drift_report", "2025-06-05", content_drifted=False)
    materialized(instance, "drift_report", "2025-06-06", content_drifted=True)
    first = drift_tick(instance, None)
    assert not first.run_requests, "the drifted day is held out by its own retrain: tuning for it again would learn nothing"
    materialized(instance, "llm_adapter", "2025-06-07", tuned="warm")
    second = drift_tick(instance, first.cursor)
    assert [request.partition_key for request in second.run_requests or []] == ["2025-06-07"]
    assert (second.run_requests or [])[0].tags[RETUNE] == "content drifted on 2025-06-06"
    assert not drift_tick(instance, second.cursor).run_requests, "once is enough"


def test_a_day_that_was_tuned_fully_anyway_is_not_tuned_again(instance: DagsterInstance) -> None:
    materialized(instance, "drift_report", "2025-06-06", content_drifted=True)
    materialized(instance, "llm_adapter", "2025-06-07", tuned="fully")
    assert not drift_tick(instance, None).run_requests


def test_a_warehouse_far_ahead_of_the_last_full_tune_asks_for_one(instance: DagsterInstance, tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path)

    def tick() -> object:
        return stale_llm(build_sensor_context(instance), workspace=workspace)

    assert "nothing has been tuned" in str(tick())
    materialized(instance, MARTS, "2025-06-09")
    materialized(instance, "llm_adapter", "2025-06-09", tuned="warm", last_full_tune="2025-06-02")
    assert "7 days" in str(tick()), "at the limit, not past it"
    materialized(instance, MARTS, "2025-06-10")
    asked = tick()
    assert getattr(asked, "partition_key", None) == "2025-06-10"
    assert "8 days behind" in getattr(asked, "tags", {})[RETUNE]


def event(at: datetime, number: int) -> bytes:
    record = {
        "kind": "comment",
        "event_id": f"e{number}",
        "at": int(at.timestamp() * 1000),
        "room_id": 1,
        "author_id": 2,
        "user_id": 3,
        "text": "hi",
    }
    return json.dumps(record).encode()


def test_a_closed_file_of_the_event_log_has_its_days_retrained_once_they_are_over(
    instance: DagsterInstance, tmp_path: Path
) -> None:
    workspace = workspace_of(tmp_path, "served")
    now = datetime.now(UTC)
    yesterday, today = (now - timedelta(days=1)).date().isoformat(), now.date().isoformat()

    def log(*records: bytes) -> None:
        with EventLog(workspace.archive) as opened:
            opened.append(records)

    def tick(cursor: str | None) -> SensorResult:
        result = new_archive_days(build_sensor_context(instance, cursor), workspace=workspace)
        assert isinstance(result, SensorResult), result
        return result

    log(event(now - timedelta(days=3), 0))
    first = tick(None)
    assert not first.run_requests, "what is there when the sensor is switched on is history"
    log(event(now - timedelta(days=1), 1), event(now, 2))
    second = tick(first.cursor)
    assert [request.partition_key for request in second.run_requests or []] == [yesterday]
    third = tick(second.cursor)
    assert not third.run_requests
    assert f"{today} is not over" in (third.skip_reason.skip_message or "" if third.skip_reason else "")
    log(event(now - timedelta(days=1), 3))
    late = tick(third.cursor)
    assert [request.partition_key for request in late.run_requests or []] == [yesterday], "a late file has its day built again"
    assert (late.run_requests or [])[0].run_key != (second.run_requests or [])[0].run_key


def test_the_schedule_asks_for_yesterday_and_says_so_when_the_archive_has_nothing_of_it(tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path)

    instance = DagsterInstance.local_temp(str(tmp_path))

    def asked(at: datetime) -> object:
        return nightly(build_schedule_context(instance=instance, scheduled_execution_time=at), workspace=workspace)

    assert "no simulator.json" in str(asked(datetime(2025, 6, 5, 3, tzinfo=UTC)))
    simulate(SimulationConfig.tiny(), workspace.archive)
    assert getattr(asked(datetime(2025, 6, 5, 3, tzinfo=UTC)), "partition_key", None) == "2025-06-04"
    assert "nothing of 2025-06-05" in str(asked(datetime(2025, 6, 6, 3, tzinfo=UTC)))
    instance.add_run(DagsterRun("daily_retrain", tags={"dagster/run_key": "nightly:2025-06-04"}))
    assert "2025-06-04 has been asked for" in str(asked(datetime(2025, 6, 5, 3, 1, tzinfo=UTC)))


def test_a_day_before_the_first_partition_is_skipped_with_a_sentence(
    instance: DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = workspace_of(tmp_path)
    simulate(SimulationConfig(users=20, authors=10, days=3), workspace.archive)  # 2025-06-02 to 04
    monkeypatch.setenv("LIVEALIGN_FIRST_DAY", "2025-06-09")
    said = "LIVEALIGN_FIRST_DAY=2025-06-09 is after 2025-06-0"
    night = build_schedule_context(instance, scheduled_execution_time=datetime(2025, 6, 5, 3, tzinfo=UTC))
    assert said in str(nightly(night, workspace=workspace))
    cursor = json.dumps(["2025-06-02"])
    assert said in str(new_archive_days(build_sensor_context(instance, cursor), workspace=workspace))
    materialized(instance, MARTS, "2025-06-04")
    materialized(instance, "llm_adapter", "2025-06-04", tuned="warm", last_full_tune="2025-01-01")
    assert said in str(stale_llm(build_sensor_context(instance), workspace=workspace))
    materialized(instance, "drift_report", "2025-06-03", content_drifted=True)
    drifted = drift_tick(instance, None)
    assert not drifted.run_requests
    assert said in str(drifted.skip_reason)
    monkeypatch.setenv("LIVEALIGN_FIRST_DAY", "2025-06-04")
    result = new_archive_days(build_sensor_context(instance, cursor), workspace=workspace)
    assert [request.partition_key for request in getattr(result, "run_requests", [])] == ["2025-06-04"]
    assert [request.partition_key for request in drift_tick(instance, drifted.cursor).run_requests or []] == ["2025-06-04"]
