"""When the graph runs by itself, and the jobs that run."""

import os
from datetime import UTC, timedelta

from dagster import (
    AssetSelection,
    ResourceParam,
    RunRequest,
    ScheduleEvaluationContext,
    SkipReason,
    define_asset_job,
    in_process_executor,
    schedule,
)

from livealign.errors import ArchiveError
from livealign.platforms import archive_days
from orchestration.resources import Workspace

# One process for a run: the stages use all cores themselves, and torch is imported once.
build_history = define_asset_job(
    "build_history",
    AssetSelection.groups("landing", "warehouse"),
    description="Landing and warehouse alone, for any range of days: what a first retrain needs of the days before it.",
    executor_def=in_process_executor,
)

daily_retrain = define_asset_job(
    "daily_retrain",
    AssetSelection.all(),
    description="Everything, for one day: from the archive to a promoted release and its Bento.",
    executor_def=in_process_executor,
)

retune_llm = define_asset_job(
    "retune_llm",
    AssetSelection.assets("llm_adapter").downstream(),
    description="The LLM, tuned fully, and all that hangs on it, for one day: asked for when content has drifted.",
    executor_def=in_process_executor,
)

NIGHTLY = os.environ.get("LIVEALIGN_NIGHTLY", "0 3 * * *")
BEFORE_BACKFILLS = {"dagster/priority": "10"}  # last night's retrain does not queue behind a month of old days


@schedule(
    job=daily_retrain,
    cron_schedule=NIGHTLY,
    execution_timezone="UTC",
    tags=BEFORE_BACKFILLS,
    description="03:00 UTC, for the day that has just ended.",
)
def nightly(context: ScheduleEvaluationContext, workspace: ResourceParam[Workspace]) -> RunRequest | SkipReason:
    yesterday = (context.scheduled_execution_time.astimezone(UTC) - timedelta(days=1)).date()
    try:
        known = archive_days(workspace.home.platform, workspace.archive)
    except ArchiveError as error:
        return SkipReason(str(error))
    if yesterday not in known:
        return SkipReason(f"{workspace.archive} has nothing of {yesterday}; retrain for it when its files are there")
    return RunRequest(run_key=f"nightly:{yesterday}", partition_key=yesterday.isoformat())
