"""[landing] One asset for each landing table: the archive's days, translated to the contract, with rejects kept aside."""

from collections.abc import Iterator
from datetime import date
from typing import Any

from dagster import AssetExecutionContext, AssetSpec, BackfillPolicy, MaterializeResult, ResourceParam, multi_asset

from livealign.platforms import land
from livealign.schemas import TABLES
from orchestration.partitions import days
from orchestration.resources import Workspace
from orchestration.stages import stage


def _spec(name: str, description: str) -> AssetSpec:
    return AssetSpec(["landing", name], group_name="landing", kinds={"parquet"}, description=description)


SPECS = [
    *(
        _spec(table.name, f"One row for each {', '.join(table.primary_key)}, by day of `{table.time_column}`.")
        for table in TABLES.values()
    ),
    _spec("ledger", "How many rows of each file were read, landed and rejected; written last, it marks a day as complete."),
    _spec("rejects", "Rows that do not fit the contract, with file, line and reason."),
]


@multi_asset(specs=SPECS, partitions_def=days, backfill_policy=BackfillPolicy.single_run())
def landing(context: AssetExecutionContext, workspace: ResourceParam[Workspace]) -> Iterator[MaterializeResult]:
    landed_days = [date.fromisoformat(key) for key in context.partition_keys]
    with stage(context, workspace, "landing"):
        summary = land(workspace.home.platform, workspace.archive, workspace.home.landing, landed_days)
    for name in TABLES:
        counts = summary.tables[name]
        yield MaterializeResult(
            asset_key=["landing", name],
            metadata={
                "dagster/row_count": counts.landed,
                "read": counts.read,
                "rejected": counts.rejected,
                "reasons": dict(counts.reasons),
                "path": str(workspace.home.landing / name),
            },
        )
    totals: dict[str, Any] = {name: getattr(summary, name) for name in ("read", "landed", "rejected")}
    totals["reasons"] = dict(summary.reasons)
    for name in ("ledger", "rejects"):
        yield MaterializeResult(asset_key=["landing", name], metadata={**totals, "path": str(workspace.home.landing / name)})
