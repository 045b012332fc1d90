"""The nightly schedule: `daily_retrain` for the day that has just ended."""

from datetime import UTC, timedelta

from dagster import (
    ResourceParam,
    RunRequest,
    RunsFilter,
    ScheduleEvaluationContext,
    SkipReason,
    schedule,
)

from livealign.errors import ArchiveError
from livealign.platforms.registry import archive_days
from livealign.retrain.graph_variables import before_first_day, nightly_cron
from orchestration.jobs import daily_retrain
from orchestration.resources import Workspace
from orchestration.runs.dagster_private import RUN_KEY_TAG

BEFORE_BACKFILLS = {"dagster/priority": "10"}  # the nightly retrain must not queue behind a month of old days


@schedule(
    job=daily_retrain,
    cron_schedule=nightly_cron(),
    execution_timezone="UTC",
    tags=BEFORE_BACKFILLS,
    description="Retrains every night for the day that has just ended; 03:00 UTC unless LIVEALIGN_NIGHTLY sets another time.",
)
def nightly(context: ScheduleEvaluationContext, workspace: ResourceParam[Workspace]) -> RunRequest | SkipReason:
    """Request a retrain of yesterday (UTC), unless it is missing or was requested before."""
    yesterday = (context.scheduled_execution_time.astimezone(UTC) - timedelta(days=1)).date()
    try:
        known = archive_days(workspace.home.platform, workspace.archive)
    except ArchiveError as error:
        return SkipReason(str(error))
    if yesterday not in known:
        return SkipReason(f"{workspace.archive} has nothing of {yesterday}; retrain for it when its files are there")
    if why := before_first_day(yesterday):
        return SkipReason(why)
    key = f"nightly:{yesterday}"
    # Dagster tells a schedule's runs apart by their time too: after a change of the cron it would retrain a day twice.
    if context.instance.get_runs_count(RunsFilter(tags={RUN_KEY_TAG: key})):
        return SkipReason(f"{yesterday} has been asked for; to retrain for it again, launch daily_retrain for that day")
    return RunRequest(run_key=key, partition_key=yesterday.isoformat())
