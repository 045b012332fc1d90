"""[warehouse] The dbt models on DuckDB, incremental by day, and their marts as Parquet for everything downstream."""

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    BackfillPolicy,
    MaterializeResult,
    ResourceParam,
    asset,
)
from dagster_dbt import DbtCliResource, DbtProject, dbt_assets

from livealign.marts import MARTS, publish_marts
from orchestration.dbt import WarehouseTranslator, dbt_environment, set_days
from orchestration.dbt_command import BUILD_A_DAY
from orchestration.instance import LAUNCHED_BY
from orchestration.partitions import days
from orchestration.resources import WAREHOUSE_POOL, Workspace
from orchestration.stages import stage


def warehouse_assets(project: DbtProject) -> AssetsDefinition:
    """The dbt models and their tests; a failed test of severity error is a failed blocking check and stops what follows."""

    @dbt_assets(
        manifest=project.manifest_path,
        project=project,
        partitions_def=days,
        backfill_policy=BackfillPolicy.single_run(),
        dagster_dbt_translator=WarehouseTranslator(),
        pool=WAREHOUSE_POOL,
    )
    def dbt_models(context: AssetExecutionContext, dbt: DbtCliResource, workspace: ResourceParam[Workspace]) -> Iterator[Any]:
        dbt_environment(workspace.home)
        set_days(context.partition_key_range.start, context.partition_key_range.end)
        with stage(context, workspace, "warehouse"), dbt_talks_to(context, workspace.home.warehouse / "dbt.log"):
            yield from dbt.cli([*BUILD_A_DAY], context=context).stream()

    return dbt_models


@contextmanager
def dbt_talks_to(context: AssetExecutionContext, log: Path) -> Iterator[None]:
    """Send dbt's line for each of its hundred nodes to a file when `make retrain` shows its own progress in the terminal."""
    if LAUNCHED_BY not in context.run.tags:
        yield  # a run of the UI keeps them in its compute log
        return
    with log.open("w") as file, redirect_stdout(file):
        yield


@asset(
    key=["warehouse", "exported_marts"],
    deps=[AssetKey(["warehouse", mart]) for mart in MARTS],
    group_name="warehouse",
    kinds={"duckdb", "parquet"},
    partitions_def=days,
    backfill_policy=BackfillPolicy.single_run(),
    pool=WAREHOUSE_POOL,
)
def exported_marts(context: AssetExecutionContext, workspace: ResourceParam[Workspace]) -> MaterializeResult:
    """The days whose tests passed, published as Parquet, so that no model training ever holds the warehouse file."""
    with stage(context, workspace, "marts"):
        rows = publish_marts(workspace.home.warehouse_tables, workspace.home.marts)
    return MaterializeResult(
        metadata={**{f"rows/{mart}": count for mart, count in rows.items()}, "path": str(workspace.home.marts)}
    )
