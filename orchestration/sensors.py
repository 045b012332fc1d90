"""What starts a run besides the clock: new days in the archive, and content that has drifted."""

import json
from datetime import date

from dagster import (
    AssetKey,
    DagsterEventType,
    EventRecordsFilter,
    ResourceParam,
    RunRequest,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from livealign.errors import ArchiveError
from livealign.platforms import archive_days
from orchestration.resources import Workspace
from orchestration.schedules import daily_retrain, retune_llm

REQUESTS_A_TICK = 3  # a folder with a year of days does not flood the queue


@sensor(job=daily_retrain, minimum_interval_seconds=300, description="Retrains for days that have newly come into the archive.")
def new_archive_days(context: SensorEvaluationContext, workspace: ResourceParam[Workspace]) -> SensorResult | SkipReason:
    try:
        known = {day.isoformat() for day in archive_days(workspace.home.platform, workspace.archive)}
    except ArchiveError as error:
        return SkipReason(str(error))
    if context.cursor is None:  # what is there when the sensor is switched on is history, not news
        return SensorResult(cursor=json.dumps(sorted(known)), skip_reason=f"{len(known)} days are there; waiting for new ones")
    seen = set(json.loads(context.cursor))
    fresh = sorted(
        day for day in known - seen if date.fromisoformat(day) >= date.fromisoformat(max(seen, default="0001-01-01"))
    )
    asked = fresh[:REQUESTS_A_TICK]
    if not asked:
        return SkipReason("no new day in the archive")
    return SensorResult(
        run_requests=[RunRequest(run_key=f"archive:{day}", partition_key=day) for day in asked],
        cursor=json.dumps(sorted(seen | set(asked))),
    )


@sensor(job=retune_llm, minimum_interval_seconds=300, description="Asks for an LLM re-tune when a day's content has drifted.")
def content_drift(context: SensorEvaluationContext) -> SensorResult | SkipReason:
    records = context.instance.get_event_records(
        EventRecordsFilter(
            DagsterEventType.ASSET_MATERIALIZATION,
            asset_key=AssetKey("drift_report"),
            after_cursor=int(context.cursor) if context.cursor else None,
        ),
        limit=1,
    )
    if not records:
        return SkipReason("no new drift report")
    materialization = records[0].asset_materialization
    assert materialization is not None
    drifted = bool(materialization.metadata["content_drifted"].value)
    requests = (
        [RunRequest(run_key=f"drift:{materialization.partition}", partition_key=materialization.partition)] if drifted else []
    )
    return SensorResult(
        run_requests=requests,
        cursor=str(records[0].storage_id),
        skip_reason=None if requests else "content is where the champion learned it",
    )
