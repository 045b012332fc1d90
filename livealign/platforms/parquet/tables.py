"""Parquet logs → landing tables: the reader that platforms `parquet` and `simulator` share.

Nothing in the files is trusted. What is rejected here, beside what `livealign.landing.rules` rejects:

    unreadable_file   Parquet that is truncated or damaged; the rows before the damage land (line 0)
    wrong_day         a row whose time is not of the day that its partition names
    table_format      a folder of Delta Lake, Hudi or Iceberg: which of its files count, only its own log knows (line 0)

A picture of `frames` is in `bytes`, or in the file of the archive that `path` names.

The time column decides when a row was, not the path. A column that is only in the path, because the engine left it out of
the files, is filled from there; a host's or viewer's state without a time is dated to the start of the day that is named.
"""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa

from livealign.days import EPOCH, midnight
from livealign.errors import ArchiveError
from livealign.landing.pictures import TABLE as FRAMES
from livealign.landing.rejects import rows_json
from livealign.landing.rules import UNKNOWN_DAY, check_rows
from livealign.landing.run import LandingRun, Progress
from livealign.landing.schema import TABLES, TIMESTAMP, Table
from livealign.platforms.parquet.files import RowReader
from livealign.platforms.parquet.ids import ParquetIds, filled, plain
from livealign.platforms.parquet.layout import Layout, LogFile
from livealign.platforms.picture_files import with_pictures

FETCH_AGAIN = "fetch the file again"
STATES = frozenset({"authors", "users"})  # a row is somebody's state on a day, so the day is time enough


def days_of(layout: Layout) -> list[date]:
    """All days, sorted: as partitions name them, or from time columns where they name none."""
    now = datetime.now(UTC).replace(tzinfo=None)
    days = {log.day for log in layout.files if log.day is not None}
    for log in layout.files:
        if log.day is None:
            days.update(EPOCH + timedelta(days=number) for number in _days_of_times(log, now))
    return sorted(days)


def land_files(
    layout: Layout,
    run: LandingRun,
    days: Sequence[date],
    progress: Progress | None = None,
    ids: ParquetIds | None = None,
    remedy: str = FETCH_AGAIN,
) -> None:
    """Hand the rows of these days to the run; files of other days are not opened.

    Args:
        layout: the archive's files.
        run: where to land.
        days: the UTC days asked for.
        progress: called with the files done.
        ids: makes numbers of text ids; without it ids are numbers already.
        remedy: what to do about a damaged file.
    """
    for file in layout.companions:
        run.used(file)
    for managed in layout.managed:
        for file in managed.files:
            run.used(file)
        run.reject(managed.table, managed.folder, 0, "table_format", _export_it(managed.format))
    wanted = set(days)
    for done, log in enumerate(layout.files):
        if progress:
            progress(done, len(layout.files))
        run.used(log.file)
        if log.day is None or log.day in wanted:
            _land_file(log, run, wanted, ids, remedy)
    if progress:
        progress(len(layout.files), len(layout.files))


def _land_file(log: LogFile, run: LandingRun, wanted: set[date], ids: ParquetIds | None, remedy: str) -> None:
    table = TABLES[log.table]
    line = 1
    try:
        with RowReader(log.path, table) as reader:
            for name in dict.fromkeys(reader.names):
                if name not in table.schema.names and name not in log.values:
                    run.reject(log.table, log.file, 0, "unknown_field", name, day=log.day)
            numbers = None if log.day is not None else {(day - EPOCH).days for day in wanted}
            for line, rows in reader.batches(numbers):
                rows = _dated(table, filled(table, plain(rows), log.values), log.day)
                rows = ids.of(table, rows) if ids else rows
                if table.name != FRAMES:
                    _land_batch(rows, log, line, run)
                else:
                    archive = log.path.parents[log.file.count("/")]
                    for place, batch in with_pictures(rows, archive, run):
                        _land_batch(batch, log, line + place, run)
                line += len(rows)
    except ArchiveError as error:
        run.reject(log.table, log.file, 0, "unreadable_file", f"after {line - 1} rows: {error}; {remedy}"[:500], day=log.day)


def _land_batch(rows: pa.Table, log: LogFile, first_line: int, run: LandingRun) -> None:
    """Rows of other days than the named one are rejected here; the run judges everything else."""
    if log.day is None:
        run.add(log.table, rows, log.file, first_line=first_line)
        return
    table = TABLES[log.table]
    times = rows.select([i for i, column in enumerate(rows.schema.names) if column == table.time_column])
    found = check_rows(table, times, run.now).day
    stray = (found != UNKNOWN_DAY) & (found != (log.day - EPOCH).days)
    if not stray.any():
        run.add(log.table, rows, log.file, first_line=first_line, file_day=log.day)
        return
    lines = first_line + np.arange(len(rows))
    strays = np.flatnonzero(stray)
    detail = f"{table.time_column} is not of {log.day} (UTC), the day that its folder names"
    for i, row in zip(strays, rows_json(rows.take(strays)), strict=True):
        run.reject(log.table, log.file, int(lines[i]), "wrong_day", detail, row=json.loads(row), day=log.day)
    run.add(log.table, rows.filter(pa.array(~stray)), log.file, lines=lines[~stray], file_day=log.day)


def _days_of_times(log: LogFile, now: datetime) -> set[int]:
    try:
        with RowReader(log.path, TABLES[log.table]) as reader:
            return reader.days(now)
    except ArchiveError:  # landing reports the file
        return set()


def _dated(table: Table, rows: pa.Table, day: date | None) -> pa.Table:
    """The rows, with a time where only the folder has one and a day is all that the table needs."""
    if table.name not in STATES or day is None or table.time_column in rows.schema.names:
        return rows
    times = pa.array(np.full(len(rows), midnight(day)), pa.int64()).cast(TIMESTAMP)
    return rows.append_column(table.time_column, times)


def _export_it(table_format: str) -> str:
    return (
        f"a {table_format} table: its folder also holds files that are no longer part of it; "
        "export its rows with the engine that wrote it, as docs/bring-your-own-platform.md shows"
    )
