"""Parquet files read row group by row group: rows in bounded batches, and their days.

A damaged file gives the rows before the damage. Timestamps of the old 96-bit kind are read in milliseconds, so that none
runs over; a zone in the file only decides how it prints, the instant is stored in UTC.
"""

import json
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from livealign.days import DAY_MS
from livealign.errors import ArchiveError
from livealign.landing.rules import UNKNOWN_DAY, check_rows
from livealign.landing.schema import Table
from livealign.landing.times import YEAR_2000_MS

BATCH_ROWS = 131_072
BATCH_BYTES = 32 << 20  # of one batch, about
MAX_ROW_GROUP_BYTES = 4 << 30  # of one row group when unpacked
_TICKS_A_MS = {"milliseconds": 1, "microseconds": 1_000, "nanoseconds": 1_000_000}
_ERRORS = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError)


class RowReader:
    """An open Parquet file of a landing table; use it as a context manager.

    Raises:
        ArchiveError: the file is no Parquet, or damaged in its footer.
    """

    def __init__(self, path: Path, table: Table) -> None:
        self._table = table
        try:
            self._file = pq.ParquetFile(path, buffer_size=4 << 20, pre_buffer=False, coerce_int96_timestamp_unit="ms")
            self.names = list(self._file.schema_arrow.names)  # damaged names show only here
        except _ERRORS as error:
            raise ArchiveError(str(error)[:300]) from error
        self._metadata = self._file.metadata

    def __enter__(self) -> "RowReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def batches(self, wanted: Collection[int] | None = None) -> Iterator[tuple[int, pa.Table]]:
        """Batches of the contract's columns in order, each with the line of its first row (from 1).

        Args:
            wanted: days since 1970; row groups whose statistics show that they have no row of these days are left out.

        Raises:
            ArchiveError: the file cannot be read from here on.
        """
        known = [name for name in dict.fromkeys(self.names) if name in self._table.schema.names]
        twice = len(set(self.names)) < len(self.names)
        line = 1
        for group in range(self._metadata.num_row_groups):
            rows = self._metadata.row_group(group).num_rows
            if wanted is None or self._may_have(group, wanted):
                at = line
                for part in self._group(group, None if twice else known or self.names[:1]):
                    yield at, part
                    at += len(part)
            line += rows

    def days(self, now: datetime) -> set[int]:
        """All days in range (since 1970) of the time column.

        They come from the statistics of a row group where it is of one day, else from its values. Damage ends the search;
        what was found before counts.
        """
        found: set[int] = set()
        time = self._table.time_column
        if self.names.count(time) != 1:
            return found
        latest = (now - datetime(1970, 1, 1)) // timedelta(milliseconds=1)
        for group in range(self._metadata.num_row_groups):
            span = self._span(group)
            if span and span[0] // DAY_MS == span[1] // DAY_MS and YEAR_2000_MS <= span[0] <= span[1] <= latest:
                found.add(span[0] // DAY_MS)
                continue
            try:
                for part in self._group(group, [time]):
                    found.update(np.unique(check_rows(self._table, part, now).day).tolist())
            except ArchiveError:
                break
        return found - {UNKNOWN_DAY}

    def _group(self, group: int, columns: list[str] | None) -> Iterator[pa.Table]:
        description = self._metadata.row_group(group)
        if description.total_byte_size > MAX_ROW_GROUP_BYTES:
            raise ArchiveError(f"row group {group} has {description.total_byte_size} bytes; write groups of a million rows")
        row_bytes = max(1, description.total_byte_size // max(1, description.num_rows))
        size = max(1, min(BATCH_ROWS, BATCH_BYTES // row_bytes))
        try:
            for part in self._file.iter_batches(size, row_groups=[group], columns=columns, use_threads=False):
                yield pa.Table.from_batches([part])
        except _ERRORS as error:
            raise ArchiveError(str(error)[:300]) from error

    def _may_have(self, group: int, wanted: Collection[int]) -> bool:
        """Whether rows of these days, or rows without a time, may be in the group."""
        span = self._span(group)
        return span is None or any(span[0] // DAY_MS <= day <= span[1] // DAY_MS for day in wanted)

    def _span(self, group: int) -> tuple[int, int] | None:
        """First and last time of a group in Unix milliseconds, if its statistics cover every row."""
        description = self._metadata.row_group(group)
        try:
            for i in range(description.num_columns):
                column = description.column(i)
                if column.path_in_schema != self._table.time_column:
                    continue
                kind = json.loads(self._file.schema.column(i).logical_type.to_json())
                statistics = column.statistics
                if kind.get("Type") != "Timestamp" or statistics is None or not statistics.has_min_max:
                    return None
                if not statistics.has_null_count or statistics.null_count:
                    return None
                ticks = _TICKS_A_MS[kind["timeUnit"]]
                return int(statistics.min_raw) // ticks, int(statistics.max_raw) // ticks
        except (*_ERRORS, KeyError, TypeError):
            return None
        return None
