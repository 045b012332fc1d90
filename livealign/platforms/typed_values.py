"""Columns of a published file as typed values, and the rows in which one does not convert.

Reasons: `wrong_type` (not a number, not a time, more than 64 bits), `not_finite` (NaN or infinite where a whole number is
due), `invalid_utf8` (text that is not UTF-8).
"""

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from livealign.landing.rejects import rows_json
from livealign.landing.rules import convert
from livealign.landing.schema import TIMESTAMP

NULLS = ["", "NULL", "null", "None", "\\N"]
_WHOLE_NUMBER = r"^\s*[+-]?\d{1,19}(\.0*)?\s*$"  # pandas writes 12.0 where a column of whole numbers had a gap
_NOT_FINITE = r"(?i)^\s*[+-]?(nan|inf|infinity)\s*$"


class Kind(Enum):
    """The kind of a column's values, and the Arrow type that a batch has them in."""

    INTEGER = "integer"  # int64
    NUMBER = "number"  # float64, may be NaN
    TIME = "time"  # written out ("2025-05-05 12:34:56.789"); int64, milliseconds of whatever clock the file uses
    TEXT = "text"  # string
    VECTOR = "vector"  # list<float32>


BATCH_TYPES = {
    Kind.INTEGER: pa.int64(),
    Kind.NUMBER: pa.float64(),
    Kind.TIME: pa.int64(),
    Kind.TEXT: pa.string(),
    Kind.VECTOR: pa.list_(pa.float32()),
}


class BadRow(NamedTuple):
    """One row that does not fit. Line 0 is the file as a whole."""

    line: int
    reason: str
    detail: str
    values: dict[str, Any]  # what is known of the row, as it stands in the file


class Batch(NamedTuple):
    """n good rows by the names asked for, their row numbers from 1, and the bad rows."""

    rows: pa.Table
    lines: npt.NDArray[np.int64]
    bad: list[BadRow]


def judge(rows: pa.Table, lines: npt.NDArray[np.int64], kinds: Mapping[str, Kind]) -> Batch:
    """Every column as its batch type; rows in which a value does not convert become bad rows."""
    columns: dict[str, pa.Array] = {}
    faults: list[tuple[npt.NDArray[np.bool_], str, str]] = []
    for name, kind in kinds.items():
        source = rows.column(name)
        column = source.chunk(0) if source.num_chunks == 1 else pa.concat_arrays(source.chunks) if source.num_chunks else None
        if column is None:
            column = pa.nulls(0, source.type)
        columns[name], broken, wild = _as_kind(column, kind)
        if wild.any():
            faults.append((wild, "not_finite", f"{name} is not a finite number"))
        if broken.any():
            reason = "invalid_utf8" if kind is Kind.TEXT else "wrong_type"
            faults.append(
                (broken & ~wild, reason, f"{name} is not {'UTF-8 text' if kind is Kind.TEXT else f'of type {kind.value}'}")
            )
    table = pa.table(columns)
    if not faults:
        return Batch(table, lines, [])
    fault = np.full(len(lines), -1)
    for i, (hit, _, _) in reversed(list(enumerate(faults))):
        fault[hit] = i
    where = np.flatnonzero(fault >= 0)
    texts = _as_text(rows.take(where))
    bad = [BadRow(int(lines[i]), faults[fault[i]][1], faults[fault[i]][2], row) for i, row in zip(where, texts, strict=True)]
    good = fault < 0
    return Batch(table.filter(pa.array(good)), lines[good], bad)


def _as_kind(column: pa.Array, kind: Kind) -> tuple[pa.Array, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """The column as its batch type, which values are no such thing, and which of them are NaN or infinite."""
    none = np.zeros(len(column), np.bool_)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    written = any(
        test(column.type)
        for test in (pa.types.is_binary, pa.types.is_string, pa.types.is_large_string, pa.types.is_large_binary)
    )
    if kind is Kind.TIME:
        return _as_milliseconds(column, written)
    if kind is Kind.INTEGER and written:
        column = column.cast(pa.binary())
        wild = _true(pc.match_substring_regex(column, _NOT_FINITE))
        column = _null_words(column)
        whole = _true(pc.match_substring_regex(column, _WHOLE_NUMBER)) | _true(pc.is_null(column))
        digits = pc.replace_substring_regex(pc.if_else(pa.array(whole), column, None), r"^\s*\+?|\.0*\s*$|\s+$", "")
        numbers, broken = convert(digits, pa.int64())
        return numbers, broken | ~whole, wild
    if kind is Kind.INTEGER and pa.types.is_floating(column.type):
        wild = _true(pc.invert(pc.is_finite(column)))
        numbers, broken = convert(pc.if_else(pa.array(wild), None, column), pa.int64())
        return numbers, broken | wild, wild
    if kind is Kind.NUMBER and written:
        column = _null_words(column.cast(pa.binary()))
    converted, broken = convert(column, BATCH_TYPES[kind])
    if kind is Kind.TEXT:
        converted = pc.if_else(pc.equal(converted, ""), None, converted)
    return converted, broken, none


def _as_milliseconds(column: pa.Array, written: bool) -> tuple[pa.Array, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    none = np.zeros(len(column), np.bool_)
    broken = none
    if written:
        column, not_text = convert(column, pa.string())
        to_milliseconds = pc.replace_substring_regex(column, r"(\.\d{3})\d+\s*$", r"\1")
        column, no_time = convert(_null_words(to_milliseconds), TIMESTAMP)
        broken = not_text | no_time
    if pa.types.is_timestamp(column.type):
        # A zone in the file only decides how it prints: the instant is stored in UTC.
        units = {"s": (1, 1_000), "ms": (1, 1), "us": (1_000, 1), "ns": (1_000_000, 1)}
        divisor, factor = units[column.type.unit]
        valid = pc.is_valid(column)
        values = pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
        values = values // divisor * factor  # floor, as a clock does
        return pa.array(values, mask=~valid.to_numpy(zero_copy_only=False)), broken, none
    numbers, odd = convert(column, pa.int64())
    return numbers, broken | odd, none


def _null_words(column: pa.Array) -> pa.Array:
    nulls = pa.array(NULLS, pa.string()).cast(column.type)
    return pc.if_else(pc.is_in(column, value_set=nulls), None, column)


def _as_text(rows: pa.Table) -> list[dict[str, Any]]:
    return [json.loads(text) for text in rows_json(rows)]


def no_rows(kinds: Mapping[str, Kind]) -> pa.Table:
    """A table of these columns without a row."""
    return pa.table({name: pa.array([], BATCH_TYPES[kind]) for name, kind in kinds.items()})


def _true(mask: pa.Array) -> npt.NDArray[np.bool_]:
    return pc.fill_null(mask, False).to_numpy(zero_copy_only=False)
