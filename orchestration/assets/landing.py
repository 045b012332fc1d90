"""[landing] One asset for each landing table: the archive's days in the contract's form."""

from collections.abc import Iterator
from datetime import date
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetSpec,
    BackfillPolicy,
    MaterializeResult,
    MetadataValue,
    ResourceParam,
    multi_asset,
)

from livealign.errors import LandingError
from livealign.landing.schema import TABLES
from livealign.landing.summary import failures, warnings
from livealign.platforms.registry import land
from orchestration.partitions import days
from orchestration.resources import Workspace
from orchestration.runs.code_version import code_version
from orchestration.runs.daily_asset import OWNERS, RETRIES, reported, retry_transient_errors
from orchestration.runs.stage import stage

GROUP = "landing"


def _spec(name: str, description: str) -> AssetSpec:
    return AssetSpec(
        ["landing", name],
        group_name=GROUP,
        kinds={"parquet"},
        description=description,
        owners=[OWNERS[GROUP]],
        code_version=code_version(__name__),
    )


SPECS = [
    *(
        _spec(table.name, f"One row for each {', '.join(table.primary_key)}, by day of `{table.time_column}`.")
        for table in TABLES.values()
    ),
    _spec("ledger", "Rows read, landed and rejected of each file. It is written last and marks a day as complete."),
    _spec("rejects", "Rows that break the contract, with file, line and reason."),
]


@multi_asset(specs=SPECS, partitions_def=days, backfill_policy=BackfillPolicy.single_run(), retry_policy=RETRIES)
def landing(context: AssetExecutionContext, workspace: ResourceParam[Workspace]) -> Iterator[MaterializeResult]:
    """Lands the days of the run's range.

    Reports each landing table, the ledger and the rejects.
    """
    landed_days = [date.fromisoformat(key) for key in context.partition_keys]
    home = workspace.home
    with retry_transient_errors(workspace.home.landing), stage(context, workspace, "landing"):
        config = workspace.profile.landing
        summary = land(home.platform, workspace.archive, home.landing, landed_days, config=config)
        for line in warnings(summary):
            context.log.warning(line)
        failed = failures(summary, home.landing, config)
        if failed:
            raise LandingError("; ".join(failed))
    metadata_of: dict[str, dict[str, Any]] = {
        name: {
            "dagster/row_count": counts.landed,
            "read": counts.read,
            "rejected": counts.rejected,
            "reasons": dict(counts.reasons),
        }
        for name, counts in summary.tables.items()
    }
    totals = {name: getattr(summary, name) for name in ("read", "landed", "rejected")} | {"reasons": dict(summary.reasons)}
    metadata_of |= {"ledger": totals, "rejects": {"dagster/row_count": summary.rejected, **totals}}
    for name in [*TABLES, "ledger", "rejects"]:
        key = AssetKey(["landing", name])
        metadata = {**metadata_of[name], "path": MetadataValue.path(str(home.landing / name))}
        yield MaterializeResult(asset_key=key, metadata=reported(context, workspace, "landing", metadata, key))
