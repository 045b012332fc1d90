"""Rejected rows as JSON, whatever values they have."""

import json
import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

MAX_VALUE_CHARACTERS = 500  # of one value
MAX_VALUES = 100  # of one row


def rows_json(rows: pa.Table) -> list[str]:
    """[n] each row as a JSON object."""
    columns = {name: _plain(rows.column(i)) for i, name in enumerate(rows.schema.names)}
    return [row_json(dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]


def row_json(row: Mapping[str, Any]) -> str:
    """One row as a JSON object; long values are cut, and nested ones become text."""
    items = list(row.items())[:MAX_VALUES]
    return json.dumps({as_utf8(str(name))[:MAX_VALUE_CHARACTERS]: _cut(value) for name, value in items}, ensure_ascii=False)


def _cut(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, bytes):
        text = value[: 4 * MAX_VALUE_CHARACTERS].decode("utf-8", "replace")
    elif isinstance(value, dict | list):
        text = json.dumps(value, ensure_ascii=False, default=str)
    else:
        text = str(value)
    return as_utf8(text if len(text) <= MAX_VALUE_CHARACTERS else f"{text[:MAX_VALUE_CHARACTERS]}…")


def as_utf8(text: str) -> str:
    """The text with its lone surrogates (bytes that are not UTF-8) replaced."""
    return text.encode("utf-8", "replace").decode()


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """Python values that any column gives: text may be no UTF-8 and stays bytes, times may lie beyond the calendar."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.cast(pa.large_binary()).to_pylist()
    if pa.types.is_timestamp(column.type):
        return pc.cast(pc.cast(column, pa.timestamp(column.type.unit)), pa.string()).to_pylist()
    return column.to_pylist()
