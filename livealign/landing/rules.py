"""The checks that a row must pass to land, columnar and without side effects.

A row is rejected for the first of these that it breaks, column by column in the order of the schema:

    missing_column     a required column is not in the batch (every row of the batch)
    duplicate_column   a column is in the batch twice (every row of the batch)
    not_finite         NaN or infinite, in a number or inside a vector
    wrong_type         the value does not convert to the column's type without loss
    missing_value      null in a required column, or inside a vector
    text_too_long      a text of more than MAX_TEXT_BYTES
    id_out_of_range    a negative id (ids have 63 bits)
    wrong_time_unit    seconds, micro- or nanoseconds where milliseconds are due
    time_before_2000, time_in_future
    negative_duration  the end is before the start
    not_positive       a count below 1
    negative_value     a gift's value below 0

(`livealign.landing.run` adds `duplicate_key`, `linked_row_rejected`, and `unknown_field` as a warning; adapters add reasons
of their own.) Text that spells a number is converted; times are read by the rules of `livealign.landing.times`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from livealign.days import DAY_MS
from livealign.landing.schema import TIMESTAMP, Table
from livealign.landing.times import YEAR_2000_MS, unit_of, utc_text, wrong_unit

MAX_TEXT_BYTES = 1 << 20  # of one text value
UNKNOWN_DAY = -1  # of a row whose time is missing or out of range

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RejectReason:
    """The reason of rejected rows: a code to count by, and the fault with its column."""

    reason: str
    detail: str


@dataclass(frozen=True)
class CheckedRows:
    """The verdict on n rows.

    `rows` has the table's schema by type (rejected rows may hold nulls); `reason_index` is [n], -1 for a good row, else an
    index into `reasons`; `day` is [n], days since 1970-01-01 UTC, or UNKNOWN_DAY.
    """

    rows: pa.Table
    reason_index: npt.NDArray[np.int32]
    reasons: list[RejectReason]
    day: npt.NDArray[np.int64]


def check_rows(table: Table, data: pa.Table, now: datetime) -> CheckedRows:
    """Convert a batch to the table's types and check every row; `now` is naive UTC."""
    verdict = _Verdict(data.num_rows)
    columns = {field.name: _check_column(field, data, verdict) for field in table.schema}
    in_range = np.ones(data.num_rows, np.bool_)
    for name in table.time_columns:
        early, late = _time_bounds(columns[name], now)
        for unit, hit in unit_of(pc.fill_null(columns[name].cast(pa.int64()), 0).to_numpy(zero_copy_only=False), now):
            verdict.blame(hit, "wrong_time_unit", wrong_unit(name, unit))
        verdict.blame(early, "time_before_2000", f"{name} is before 2000-01-01")
        verdict.blame(late, "time_in_future", f"{name} is after {now.isoformat(sep=' ', timespec='seconds')} UTC")
        if name == table.time_column:
            in_range = ~early & ~late & _true(pc.is_valid(columns[name]))
    for start, end in pairwise(table.time_columns):
        ends_early = pc.less(columns[end], columns[start])
        verdict.blame(_true(ends_early), "negative_duration", f"{end} is before {start}")
    if "count" in columns:
        verdict.blame(_true(pc.less(columns["count"], 1)), "not_positive", "count is below 1")
    if "value" in columns:
        verdict.blame(_true(pc.less(columns["value"], 0.0)), "negative_value", "value is below 0")
    milliseconds = pc.fill_null(columns[table.time_column].cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    day = np.where(in_range, milliseconds // DAY_MS, UNKNOWN_DAY)
    return CheckedRows(pa.table(columns), verdict.reason_index, verdict.reasons, day)


def convert(column: pa.Array, to: pa.DataType) -> tuple[pa.Array, Mask]:
    """The column as type `to`, and the mask of values that do not convert; they become null."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = _readable_text(column)
    if not _convertible(column.type, to):
        return pa.nulls(len(column), to), _true(pc.is_valid(column))
    if to == TIMESTAMP and pa.types.is_floating(column.type):  # integers that met a null on their way through pandas
        column, broken = convert(column, pa.int64())
        return column.cast(to), broken
    if to == TIMESTAMP and _is_text(column.type):
        return _times_of_text(column)
    pieces: list[pa.Array] = []
    broken = np.zeros(len(column), np.bool_)
    _convert_pieces(column, to, 0, pieces, broken)
    return pa.concat_arrays(pieces) if pieces else pa.nulls(0, to), broken


def _times_of_text(column: pa.Array) -> tuple[pa.Array, Mask]:
    """Each row as it is written: a number, an instant with its zone, or a time in UTC."""
    text, broken = convert(column, pa.string())
    numbers, zoned, plain = utc_text(text)
    found = None
    for part, kind in ((numbers, pa.int64()), (zoned, pa.timestamp("ms", "UTC")), (plain, TIMESTAMP)):
        pieces: list[pa.Array] = []
        _convert_pieces(part, kind, 0, pieces, broken)
        times = (pa.concat_arrays(pieces) if pieces else pa.nulls(0, kind)).cast(TIMESTAMP)
        found = times if found is None else pc.coalesce(found, times)
    return found, broken


class _Verdict:
    """The first reason to reject each row."""

    def __init__(self, rows: int) -> None:
        self.reason_index = np.full(rows, -1, np.int32)
        self.reasons: list[RejectReason] = []

    def blame(self, rows: Mask, reason: str, detail: str) -> None:
        fresh = rows & (self.reason_index < 0)
        if fresh.any():
            self.reason_index[fresh] = len(self.reasons)
            self.reasons.append(RejectReason(reason, detail))


def _check_column(field: pa.Field, data: pa.Table, verdict: _Verdict) -> pa.Array:
    everything = np.ones(data.num_rows, np.bool_)
    found = data.schema.get_all_field_indices(field.name)
    if not found:
        if not field.nullable:
            verdict.blame(everything, "missing_column", f"there is no column {field.name}")
        return pa.nulls(data.num_rows, field.type)
    if len(found) > 1:
        verdict.blame(everything, "duplicate_column", f"there are {len(found)} columns {field.name}")
    source = _one_array(data.column(found[0]))
    wild = _not_finite(source)
    if wild.any():
        verdict.blame(wild, "not_finite", f"{field.name} is not a finite number")
        source = pc.if_else(pa.array(wild), pa.scalar(None, source.type), source)
    column, broken = convert(source, field.type)
    verdict.blame(broken, "wrong_type", f"{field.name} is not {field.type}")
    verdict.blame(_not_finite(column), "not_finite", f"{field.name} is not a finite number")
    if not field.nullable:
        verdict.blame(_true(pc.is_null(column)), "missing_value", f"{field.name} is null")
    if pa.types.is_list(field.type):
        verdict.blame(_any_inside(column, pc.is_null), "missing_value", f"{field.name} has a null inside")
    if pa.types.is_string(field.type):
        too_long = _true(pc.greater(pc.binary_length(column), MAX_TEXT_BYTES))
        verdict.blame(too_long, "text_too_long", f"{field.name} is longer than {MAX_TEXT_BYTES} bytes")
    if field.name.endswith("_id") and field.type == pa.int64():
        verdict.blame(_true(pc.less(column, 0)), "id_out_of_range", f"{field.name} is negative")
    return column


def _time_bounds(column: pa.Array, now: datetime) -> tuple[Mask, Mask]:
    milliseconds = column.cast(pa.int64())
    latest = pa.scalar(now, TIMESTAMP).cast(pa.int64())
    return _true(pc.less(milliseconds, YEAR_2000_MS)), _true(pc.greater(milliseconds, latest))


def _convert_pieces(column: pa.Array, to: pa.DataType, start: int, pieces: list[pa.Array], broken: Mask) -> None:
    """Convert what converts: a slice that fails is halved until the failing rows stand alone."""
    try:
        pieces.append(pc.cast(column, options=pc.CastOptions(to, allow_time_truncate=True)))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        if len(column) == 1:
            broken[start] = True
            pieces.append(pa.nulls(1, to))
            return
        half = len(column) // 2
        _convert_pieces(column[:half], to, start, pieces, broken)
        _convert_pieces(column[half:], to, start + half, pieces, broken)


def _convertible(source: pa.DataType, to: pa.DataType) -> bool:
    """Whether Arrow's conversion means what a reader would expect: a flag is no id, a time is no count."""
    is_ = pa.types
    if is_.is_null(source) or source == to:
        return True
    text = _is_text(source)
    number = is_.is_integer(source) or is_.is_floating(source) or is_.is_decimal(source)
    if is_.is_integer(to) or is_.is_floating(to):
        return number or text
    if to == TIMESTAMP:
        return is_.is_timestamp(source) or is_.is_integer(source) or is_.is_floating(source) or text
    if is_.is_string(to):
        return text or number
    if is_.is_boolean(to) or is_.is_binary(to):
        return text
    if is_.is_list(to):
        return is_.is_list(source) or is_.is_large_list(source) or is_.is_fixed_size_list(source)
    return False


def _is_text(type_: pa.DataType) -> bool:
    is_ = pa.types
    return is_.is_string(type_) or is_.is_large_string(type_) or is_.is_binary(type_) or is_.is_large_binary(type_)


def _readable_text(column: pa.Array) -> pa.Array:
    """The text, or its bytes where some of it is not UTF-8 (Parquet files do not guarantee it)."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return column.cast(pa.large_binary() if pa.types.is_large_string(column.type) else pa.binary())
    return column


def _not_finite(column: pa.Array) -> Mask:
    if pa.types.is_floating(column.type):
        return _true(pc.invert(pc.is_finite(column)))
    if _is_any_list(column.type) and pa.types.is_floating(column.type.value_type):
        return _any_inside(column, lambda values: pc.invert(pc.is_finite(values)))
    return np.zeros(len(column), np.bool_)


def _any_inside(column: pa.Array, test: Callable[[pa.Array], pa.Array]) -> Mask:
    """The lists that hold a value that passes the test."""
    hit = np.zeros(len(column), np.bool_)
    parents = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
    hit[parents[_true(test(pc.list_flatten(column)))]] = True
    return hit


def _is_any_list(type_: pa.DataType) -> bool:
    return pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_)


def _true(mask: pa.Array) -> Mask:
    """A boolean Arrow array as numpy, where null is false."""
    return pc.fill_null(mask, False).to_numpy(zero_copy_only=False)


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0, column.type)
