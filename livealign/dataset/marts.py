"""Publish what dbt built and tested; read marts back by day.

A mart is Parquet, one folder for each day. Readers need no lock.

publish_marts(home.warehouse_tables, home.marts)         after dbt has built days and its tests have passed
read_mart(home.marts, "segments", days, ["segment_id"])  anywhere

marts/<mart>/dt=YYYY-MM-DD/part-0.parquet, rows in order of the mart's key (dbt_project/models/marts)
marts/format.json                          the version of the marts, and of dbt's tables they were linked from

dbt writes the same files in a folder of its own (`tables`). A published file is a hard link, not a copy, and dbt replaces
files and never writes into one. So a reader sees a day as it passed its tests, whatever the next build does.
"""

import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from livealign.days import PART, partition
from livealign.errors import LiveAlignError, MartError
from livealign.files import TEMPORARY_PREFIX
from livealign.formats import check_folder, mark_folder

MARTS = (
    *("segments", "interactions", "user_histories", "authors_daily", "users_daily", "rooms", "quarantine"),
    *("segment_highlights", "segment_vectors", "segment_frames", "user_countries"),
)


def publish_marts(tables: Path, marts_root: Path) -> dict[str, int]:
    """Publish every day that dbt has rebuilt; each file is replaced by a rename.

    Args:
        tables: dbt's folder, `tables/<mart>/dt=YYYY-MM-DD/part-0.parquet`, on the same file system as `marts_root`.

    Returns:
        Rows published, by mart.

    Raises:
        LiveAlignError: dbt has not built a mart, or a newer version of LiveAlign published here.
    """
    check_marts(marts_root)
    rows = dict.fromkeys(MARTS, 0)
    for mart in MARTS:
        files = sorted((tables / mart).glob(f"dt=*/{PART}"))
        if not files:
            raise LiveAlignError(f"{tables / mart} has no days; build the warehouse first (dbt build)")
        for file in files:
            published = marts_root / mart / file.parent.name / PART
            if published.exists() and published.samefile(file):
                continue
            rows[mart] += pq.read_metadata(file).num_rows
            published.parent.mkdir(parents=True, exist_ok=True)
            temporary = published.with_name(f"{TEMPORARY_PREFIX}{PART}.{os.getpid()}")
            temporary.unlink(missing_ok=True)
            os.link(file, temporary)
            temporary.replace(published)
    mark_folder(marts_root)
    return rows


def check_marts(marts_root: Path) -> None:
    """Refuse marts, and so the warehouse beside them, of a newer version of LiveAlign.

    Raises:
        MartError: they are of a newer version.
    """
    check_folder(marts_root, "move the warehouse's folder away and build it again", MartError)


def built_days(marts_root: Path, mart: str) -> list[date]:
    """The days of which the mart has been published, in order."""
    files = (marts_root / mart).glob(f"dt=*/{PART}")
    return sorted(date.fromisoformat(file.parent.name.removeprefix("dt=")) for file in files)


def read_mart(marts_root: Path, mart: str, days: Sequence[date], columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of these days, day by day, each day in the order of its key.

    Every column may be null, whatever the days hold.

    Raises:
        MartError: a day was never published, its file is damaged, it lacks a column, or a newer version wrote it.
    """
    if not days:
        raise MartError(f"no days of {marts_root / mart} were asked for; name at least one")
    check_marts(marts_root)
    tables = []
    for day in days:
        path = partition(marts_root, mart, day)
        if not path.exists():
            raise MartError(f"{path} is missing; build the warehouse for {day} first")
        # Read as a single file: a reader of folders would take `dt` from the folder's name, and the file has its own.
        try:
            tables.append(_with_nullable_columns(pq.ParquetFile(path).read(columns=None if columns is None else list(columns))))
        except (pa.ArrowInvalid, OSError) as error:
            raise MartError(f"{path} cannot be read ({error}); build the warehouse for {day} again") from error
        if missing := set(columns or ()) - set(tables[-1].column_names):
            raise MartError(f"{path} lacks {sorted(missing)}; it was built by other code: build the warehouse for {day} again")
    return pa.concat_tables(tables, promote_options="permissive")


def _with_nullable_columns(table: pa.Table) -> pa.Table:
    """The same values; older builds marked a column as never null on days on which it happened to be so."""
    return pa.Table.from_arrays(table.columns, schema=pa.schema([field.with_nullable(True) for field in table.schema]))
