"""Sensors that start runs: new days in the archive, drifted content, an old LLM."""

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from dagster import (
    AssetKey,
    AssetRecordsFilter,
    DagsterInstance,
    ResourceParam,
    RunRequest,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from livealign.errors import ArchiveError
from livealign.platforms.registry import archive_days
from livealign.platforms.served import closed_files, days_of_file
from livealign.retrain.graph_variables import before_first_day, first_day
from orchestration.assets.content import LAST_FULL_TUNE, RETUNE
from orchestration.jobs import daily_retrain, retune_llm
from orchestration.resources import Workspace

REQUESTS_A_TICK = 3  # a folder with a year of days does not flood the queue
ADAPTER, MARTS = AssetKey("llm_adapter"), AssetKey(["warehouse", "exported_marts"])


@sensor(
    job=daily_retrain,
    minimum_interval_seconds=300,
    description="Retrains for every new day in the archive, or for the days of newly closed files of the event log.",
)
def new_archive_days(context: SensorEvaluationContext, workspace: ResourceParam[Workspace]) -> SensorResult | SkipReason:
    """Request a retrain of each new day, or of the days of each newly closed log file."""
    try:
        if workspace.home.platform == "served":
            return _new_files(context.cursor, workspace)
        return _new_days(context.cursor, workspace)
    except ArchiveError as error:
        return SkipReason(str(error))


def _new_days(cursor: str | None, workspace: Workspace) -> SensorResult | SkipReason:
    known = {day.isoformat() for day in archive_days(workspace.home.platform, workspace.archive)}
    if cursor is None:  # days that exist when the sensor is switched on are history, not news
        return SensorResult(cursor=json.dumps(sorted(known)), skip_reason=f"{len(known)} days are there; waiting for new ones")
    seen = set(json.loads(cursor))
    newest = max(seen, default="0001-01-01")
    new = sorted(day for day in known - seen if newest <= day <= _yesterday())
    due = [day for day in new if day >= first_day()][:REQUESTS_A_TICK]
    if not due:
        return SkipReason((before_first_day(date.fromisoformat(new[0])) if new else None) or "no new day in the archive")
    return SensorResult(
        run_requests=[RunRequest(run_key=f"archive:{day}", partition_key=day) for day in due],
        cursor=json.dumps(sorted(seen | set(due))),
    )


def _new_files(cursor: str | None, workspace: Workspace) -> SensorResult | SkipReason:
    """Request a retrain of each day of a newly closed file, once the day is over.

    A file that arrives late has its day retrained again. The cursor holds the files that were read, and the days that are
    not over yet with the newest file of each.
    """
    files = {path.name: path for path in closed_files(workspace.archive)}
    if cursor is None:
        state = {"files": sorted(files), "waiting": {}}
        return SensorResult(cursor=json.dumps(state), skip_reason=f"{len(files)} files are there; waiting for new ones")
    state = json.loads(cursor)
    waiting: dict[str, str] = dict(state["waiting"])
    for name in sorted(set(files) - set(state["files"])):
        waiting.update((day.isoformat(), name) for day in days_of_file(files[name]))
    due = sorted(day for day in waiting if first_day() <= day <= _yesterday())[:REQUESTS_A_TICK]
    requests = [RunRequest(run_key=f"log:{day}:{waiting.pop(day)}", partition_key=day) for day in due]
    after = json.dumps({"files": sorted(files), "waiting": waiting})
    if requests:
        return SensorResult(run_requests=requests, cursor=after)
    early = [why for day in sorted(waiting) if (why := before_first_day(date.fromisoformat(day)))]
    reason = early[0] if early else f"{', '.join(sorted(waiting))} is not over" if waiting else "no new closed file"
    return SensorResult(cursor=after, skip_reason=reason)


def _yesterday() -> str:
    return (datetime.now(UTC).date() - timedelta(days=1)).isoformat()


@sensor(
    job=retune_llm,
    minimum_interval_seconds=300,
    description="Requests a full LLM tune when content has drifted, for the first day that trains on the drifted day.",
)
def content_drift(context: SensorEvaluationContext) -> SensorResult | SkipReason:
    """Request a full tune for the day after each day whose content drifted.

    A drifted day is held out in its own retrain, so the next day's retrain is the first that trains on it.
    """
    state = json.loads(context.cursor) if context.cursor else {"after": None, "drifted": []}
    after, drifted = _read_reports(context.instance, state["after"])
    waiting = sorted({*state["drifted"], *drifted})
    tuned = set(context.instance.get_materialized_partitions(ADAPTER))
    due = [day for day in waiting if _next(day) in tuned and _next(day) >= first_day()]
    requests = [
        RunRequest(run_key=f"drift:{day}", partition_key=_next(day), tags={RETUNE: f"content drifted on {day}"})
        for day in due
        if _metadata(context.instance, ADAPTER, _next(day)).get("tuned") != "fully"
    ]
    waiting = [day for day in waiting if day not in due]
    cursor = json.dumps({"after": after, "drifted": waiting})
    if requests:
        return SensorResult(run_requests=requests, cursor=cursor)
    early = [why for day in waiting if (why := before_first_day(date.fromisoformat(_next(day))))]
    late = f"{', '.join(waiting)} drifted; the day after it is not there yet" if waiting else "content has not drifted"
    reason = early[0] if early else late
    return SensorResult(cursor=cursor, skip_reason=reason)


def _read_reports(instance: DagsterInstance, after: int | None) -> tuple[int | None, list[str]]:
    """The last event read and the days whose content had drifted, from the drift reports since `after`."""
    news = AssetRecordsFilter(AssetKey("drift_report"), after_storage_id=after)
    drifted = []
    for record in instance.fetch_materializations(news, limit=100, ascending=True).records:
        after, materialization = record.storage_id, record.asset_materialization
        if materialization and materialization.partition and materialization.metadata["content_drifted"].value:
            drifted.append(materialization.partition)
    return after, drifted


@sensor(
    job=retune_llm,
    minimum_interval_seconds=3600,
    description="Requests a full LLM tune when the last one is more than retune.max_age_days older than the newest day.",
)
def stale_llm(context: SensorEvaluationContext, workspace: ResourceParam[Workspace]) -> RunRequest | SkipReason:
    """Request a full tune for the newest day when the last full tune is too old."""
    built = _newest(context.instance.get_materialized_partitions(MARTS))
    tuned = _newest(context.instance.get_materialized_partitions(ADAPTER))
    if built is None or tuned is None:
        return SkipReason("nothing has been tuned yet; run daily_retrain")
    last = str(_metadata(context.instance, ADAPTER, tuned).get(LAST_FULL_TUNE) or tuned)
    age, limit = (date.fromisoformat(built) - date.fromisoformat(last)).days, workspace.profile.retune.max_age_days
    if age <= limit:
        return SkipReason(f"the LLM was tuned fully for {last}, {age} days before the newest day; the limit is {limit}")
    if early := before_first_day(date.fromisoformat(built)):
        return SkipReason(early)
    why = f"the last full tune, for {last}, is {age} days behind {built}; the limit is {limit}"
    return RunRequest(run_key=f"stale:{built}", partition_key=built, tags={RETUNE: why})


def _metadata(instance: DagsterInstance, key: AssetKey, partition: str) -> dict[str, object]:
    """Metadata of the newest materialization of the partition; empty if there is none."""
    records = instance.fetch_materializations(AssetRecordsFilter(key, asset_partitions=[partition]), limit=1).records
    materialization = records[0].asset_materialization if records else None
    return {name: value.value for name, value in materialization.metadata.items()} if materialization else {}


def _newest(partitions: Iterable[str]) -> str | None:
    return max(partitions, default=None)


def _next(day: str) -> str:
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()
