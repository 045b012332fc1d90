"""[warehouse] The dbt models on DuckDB, incremental by day, and their marts as Parquet."""

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
    MetadataValue,
    ResourceParam,
)
from dagster_dbt import DbtCliResource, DbtProject, dbt_assets
from dagster_dbt.errors import DagsterDbtCliRuntimeError

from livealign.dataset.marts import MARTS, check_marts, publish_marts
from orchestration.dbt.command import BUILD, PROVES_SQL
from orchestration.dbt.metadata import dbt_failure, model_metadata
from orchestration.dbt.project import WarehouseTranslator, dbt_environment, set_days
from orchestration.partitions import days
from orchestration.resources import WAREHOUSE_POOL, Workspace
from orchestration.runs.daily_asset import RETRIES, daily_asset, retry_transient_errors
from orchestration.runs.instance import LAUNCHED_BY
from orchestration.runs.stage import stage


def warehouse_assets(project: DbtProject) -> AssetsDefinition:
    """The dbt models and their tests as assets and checks.

    A failed test of severity error is a failed blocking check and stops everything downstream.
    """

    @dbt_assets(
        manifest=project.manifest_path,
        project=project,
        exclude=PROVES_SQL,
        partitions_def=days,
        backfill_policy=BackfillPolicy.single_run(),
        dagster_dbt_translator=WarehouseTranslator(),
        pool=WAREHOUSE_POOL,
        retry_policy=RETRIES,
    )
    def dbt_models(context: AssetExecutionContext, dbt: DbtCliResource, workspace: ResourceParam[Workspace]) -> Iterator[Any]:
        check_marts(workspace.home.marts)
        dbt_environment(workspace.home)
        set_days(context.partition_key_range.start, context.partition_key_range.end)
        events: list[Any] = []
        try:
            with (
                retry_transient_errors(workspace.home.warehouse),
                stage(context, workspace, "warehouse"),
                dbt_output_to(context, workspace.home.warehouse / "dbt.log"),
            ):
                try:
                    events.extend(dbt.cli([*BUILD], context=context).stream())
                except DagsterDbtCliRuntimeError as error:
                    raise dbt_failure(error) from error
        finally:  # a failed build reports too what was built and which tests failed
            yield from model_metadata(context, workspace, events)

    return dbt_models


@contextmanager
def dbt_output_to(context: AssetExecutionContext, log: Path) -> Iterator[None]:
    """Send dbt's terminal output to a file in a run of `make retrain`.

    Such a run shows its own progress in the terminal.
    """
    if LAUNCHED_BY not in context.run.tags:
        yield  # a run of the UI keeps the output in its compute log
        return
    with log.open("w") as file, redirect_stdout(file):
        yield


@daily_asset(
    "warehouse",
    kinds={"duckdb", "parquet"},
    key=["warehouse", "exported_marts"],
    deps=[AssetKey(["warehouse", mart]) for mart in MARTS],
    stage="marts",
    retried=True,
    backfill_policy=BackfillPolicy.single_run(),
    pool=WAREHOUSE_POOL,
)
def exported_marts(context: AssetExecutionContext, workspace: Workspace) -> MaterializeResult:
    """The marts of the days whose tests passed, published as Parquet.

    Model training reads these files and never opens the warehouse file.
    """
    with stage(context, workspace, "marts"):
        rows = publish_marts(workspace.home.warehouse_tables, workspace.home.marts)
    return MaterializeResult(
        metadata={
            "dagster/row_count": sum(rows.values()),
            **{f"rows/{mart}": count for mart, count in rows.items()},
            "path": MetadataValue.path(str(workspace.home.marts)),
        }
    )
