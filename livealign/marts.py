"""Marts as Parquet: what dbt built in the warehouse, one folder per mart and day, for models to read without a lock.

export_marts(home.warehouse_file, home.marts, days)      after dbt has built `days`
read_mart(home.marts, "segments", days, ["segment_id"])  anywhere

marts/<mart>/dt=YYYY-MM-DD/part-0.parquet
"""

import os
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from livealign.errors import LiveAlignError
from livealign.files import TEMPORARY_PREFIX

MARTS: dict[str, tuple[str, ...]] = {  # by name, the key that rows of a day are ordered by
    "segments": ("room_id", "window"),
    "interactions": ("impression_id",),
    "user_histories": ("impression_id",),
    "authors_daily": ("author_id",),
    "users_daily": ("user_id",),
    "rooms": ("room_id",),
    "quarantine": ("table_name", "file", "line", "reason", "detail"),
    "segment_highlights": ("room_id", "window"),
}
LOOK_BACK_FURTHER = frozenset({"user_histories", "authors_daily", "users_daily"})  # than a day: all later days may change
PART = "part-0.parquet"


def export_marts(
    warehouse_file: Path,
    marts_root: Path,
    days: Sequence[date],
    marts: Iterable[str] = MARTS,
    memory_limit: str = "2GB",
    threads: int = 2,
) -> dict[str, int]:
    """Write the marts of these days, and of the other days that dbt recomputes with them (see `affected_days`).

    Rows are ordered by key and each file is replaced by a rename, so the same warehouse gives the same bytes and a reader
    sees an old file or a new one. A day of `days` without rows is a file without rows.

    Returns:
        Rows written, by mart.

    Raises:
        LiveAlignError: the warehouse is missing, is being written, or holds no such mart.
    """
    if not days:
        return dict.fromkeys(marts, 0)
    rows = {}
    with _open(warehouse_file, memory_limit, threads) as connection:
        for mart in marts:
            table = _mart_table(connection, warehouse_file, mart)
            columns = [duckdb.ColumnExpression(name) for name in MARTS[mart]]
            rows[mart] = 0
            for day in affected_days(connection, days, mart):
                of_day = table.filter(duckdb.ColumnExpression("dt") == duckdb.ConstantExpression(day))
                rows[mart] += _replace(of_day.sort(*columns), marts_root / mart / f"dt={day}" / PART)
    return rows


def affected_days(connection: duckdb.DuckDBPyConnection, days: Sequence[date], mart: str) -> list[date]:
    """The days of a mart that building `days` may have changed, as in dbt_project/macros/days.sql.

    These are `days`, the day before the first where the warehouse has it (its late labels have become known), and where
    later days had been built already, the next one, or all of them for marts that look back further than a day.
    """
    first, last = min(days), max(days)
    built = {row[0] for row in connection.table("marts.users_daily").project("dt").distinct().fetchall()}
    before = {first - timedelta(days=1)} & built
    later = {day for day in built if day > last and (mart in LOOK_BACK_FURTHER or day == last + timedelta(days=1))}
    return sorted({*days, *before, *later})


def built_days(marts_root: Path, mart: str) -> list[date]:
    """The days of which the mart has been exported, in order."""
    files = (marts_root / mart).glob("dt=*/part-0.parquet")
    return sorted(date.fromisoformat(file.parent.name.removeprefix("dt=")) for file in files)


def read_mart(marts_root: Path, mart: str, days: Sequence[date], columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of these days, day by day, each in order of its key.

    Raises:
        LiveAlignError: a day was never exported.
    """
    tables = []
    for day in days:
        path = marts_root / mart / f"dt={day}" / PART
        if not path.exists():
            raise LiveAlignError(f"{path} is missing; build the warehouse for {day} first")
        # The file has its own `dt`; a reader that takes one from the folder's name too would see two types.
        tables.append(pq.read_table(path, columns=None if columns is None else list(columns), partitioning=None))
    if not tables:
        raise LiveAlignError(f"no days of {marts_root / mart} were asked for; name at least one")
    return pa.concat_tables(tables)


def _open(warehouse_file: Path, memory_limit: str, threads: int) -> duckdb.DuckDBPyConnection:
    if not warehouse_file.exists():
        raise LiveAlignError(f"{warehouse_file} is missing; build the warehouse first (dbt build)")
    try:
        connection = duckdb.connect(
            str(warehouse_file),
            read_only=True,
            config={"memory_limit": memory_limit, "threads": threads, "temp_directory": f"{warehouse_file}.export.tmp"},
        )
        connection.execute("set enable_progress_bar = false")  # a bar for each day would drown the caller's own
        return connection
    except duckdb.Error as error:
        raise LiveAlignError(
            f"{warehouse_file} cannot be read: it is being written, or damaged ({_first_line(error)}); wait for the writer "
            "to end, or remove the file and build the warehouse again"
        ) from error


def _mart_table(connection: duckdb.DuckDBPyConnection, warehouse_file: Path, mart: str) -> duckdb.DuckDBPyRelation:
    if mart not in MARTS:
        raise LiveAlignError(f"there is no mart '{mart}'; the marts are {', '.join(MARTS)}")
    try:
        return connection.table(f"marts.{mart}")
    except duckdb.CatalogException as error:
        raise LiveAlignError(f"{warehouse_file} has no mart '{mart}'; build the warehouse first (dbt build)") from error


def _replace(rows: duckdb.DuckDBPyRelation, path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}.{os.getpid()}")
    rows.write_parquet(str(temporary), compression="zstd")
    n_rows = pq.read_metadata(temporary).num_rows
    temporary.replace(path)
    return n_rows


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
