"""When the graph runs by itself, and the jobs that run."""

from datetime import UTC, timedelta

from dagster import (
    AssetSelection,
    ResourceParam,
    RunRequest,
    RunsFilter,
    ScheduleEvaluationContext,
    SkipReason,
    define_asset_job,
    schedule,
)

from livealign.errors import ArchiveError
from livealign.platforms.registry import archive_days
from orchestration.environment import nightly_cron
from orchestration.resources import Workspace
from orchestration.runs.dagster_private import RUN_KEY_TAG

build_history = define_asset_job(
    "build_history",
    AssetSelection.groups("landing", "warehouse"),
    description="Landing and warehouse alone, for any range of days: what a first retrain needs of the days before it.",
)

daily_retrain = define_asset_job(
    "daily_retrain",
    AssetSelection.all(),
    description="Everything, for one day: from the archive to a promoted release and its Bento.",
)

retune_llm = define_asset_job(
    "retune_llm",
    AssetSelection.assets("llm_adapter").downstream(),
    description="The LLM, tuned fully, and all that hangs on it, for one day: asked for when content has drifted.",
)

BEFORE_BACKFILLS = {"dagster/priority": "10"}  # last night's retrain does not queue behind a month of old days


@schedule(
    job=daily_retrain,
    cron_schedule=nightly_cron(),
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
    key = f"nightly:{yesterday}"
    # Dagster tells a schedule's runs apart by their time too: a cron that was moved would ask for the same day twice.
    if context.instance.get_runs_count(RunsFilter(tags={RUN_KEY_TAG: key})):
        return SkipReason(f"{yesterday} has been asked for; to retrain for it again, launch daily_retrain for that day")
    return RunRequest(run_key=key, partition_key=yesterday.isoformat())
