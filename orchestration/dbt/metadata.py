"""The metadata of dbt models in Dagster: rows, seconds, changes; and dbt's errors as ours."""

import re
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from dagster import AssetExecutionContext, Output
from dagster_dbt.errors import DagsterDbtCliRuntimeError

from livealign.days import partition
from livealign.errors import LiveAlignError
from orchestration.resources import Workspace
from orchestration.runs.changes import with_changes

DURATION = "Execution Duration"  # dagster-dbt's name for a model's seconds
LONGEST_REASON = 1_000  # characters
NOT_OF_THE_DAY = ("unique_id", "invocation_id")  # dbt's own names, different at every run


def model_metadata(context: AssetExecutionContext, workspace: Workspace, events: Sequence[Any]) -> Iterator[Any]:
    """Yield dbt's events, with more metadata on every model and all others unchanged."""
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


def dbt_failure(error: DagsterDbtCliRuntimeError) -> LiveAlignError:
    """dbt's error as one of ours: one line with what failed and where dbt's log is.

    The error that dagster-dbt raises would be retried whatever its cause.
    """
    summary, _, errors = (error.description or "").partition("Errors parsed from dbt logs:")
    log = re.search(r"debug log: (\S+?)\.?$", summary, re.MULTILINE)
    reason = re.sub(r"\s*\.{3,}\s*", " ", errors or summary.partition("failed with")[2])
    place = f"; dbt's log is {log[1]}" if log else ""
    return LiveAlignError(f"dbt failed: {' '.join(reason.split())[:LONGEST_REASON]}{place}")


def rows_of_days(table: Path, days: Sequence[str]) -> int | None:
    """The number of rows of these days in a table's files, from the Parquet footers.

    None for a view, which has no files.
    """
    if not table.is_dir():
        return None
    files = [partition(table.parent, table.name, date.fromisoformat(day)) for day in days]
    return sum(pq.read_metadata(file).num_rows for file in files if file.exists())
