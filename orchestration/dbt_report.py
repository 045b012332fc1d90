"""What dbt's models report to Dagster: rows of each table, how long it took, what changed since the day before."""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from dagster import AssetExecutionContext, Output

from livealign.days import partition
from orchestration.changes import with_changes
from orchestration.resources import Workspace

DURATION = "Execution Duration"  # dagster-dbt's name for a model's seconds
NOT_OF_THE_DAY = ("unique_id", "invocation_id")  # dbt's own names, different at every run


def told_of_models(context: AssetExecutionContext, workspace: Workspace, events: Sequence[Any]) -> Iterator[Any]:
    """dbt's events with more metadata on every model; all other events as they are."""
    for event in events:
        if not isinstance(event, Output):
            yield event
            continue
        key = context.asset_key_for_output(event.output_name)
        metadata: dict[str, Any] = {name: value for name, value in event.metadata.items() if name not in NOT_OF_THE_DAY}
        metadata["seconds"] = metadata.pop(DURATION, 0.0)
        rows = rows_of_days(workspace.home.warehouse_tables / key.path[-1], context.partition_keys)
        if rows is not None:
            metadata["dagster/row_count"] = rows
        yield Output(
            event.value,
            event.output_name,
            metadata=with_changes(context.instance, key, context.partition_keys[0], metadata),
            data_version=event.data_version,
            tags=event.tags,
        )


def rows_of_days(table: Path, days: Sequence[str]) -> int | None:
    """Rows that dbt's files of a table have for these days, from their footers; None for a view, which has no files."""
    if not table.is_dir():
        return None
    files = [partition(table.parent, table.name, date.fromisoformat(day)) for day in days]
    return sum(pq.read_metadata(file).num_rows for file in files if file.exists())
