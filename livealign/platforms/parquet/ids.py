"""Ids of Parquet logs as numbers of 63 bits: numbers stay, text (a UUID, a login) is hashed.

People's ids are hashed with the secret key where one is set. Text that spells a number stays as it is, for a number in one
table may be text in another; the landing rules judge it. Hashes are written as text of digits, so that a column holds both.
"""

import re
import uuid
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from livealign import ids
from livealign.landing.rules import convert
from livealign.landing.schema import Table

NULLS = frozenset({"", "NULL", "null", "None", "none", "NaN", "nan", "\\N"})
PEOPLE = frozenset({"user_id", "author_id"})
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*|\s*[+-]?(inf|infinity)\s*", re.IGNORECASE)


class ParquetIds:
    """The ids of one run; the same text in columns of one name is the same id in every table."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._secret = ids.secret_key()

    def of(self, table: Table, rows: pa.Table) -> pa.Table:
        """The rows with every id column in a form that the landing rules read."""
        for place, name in enumerate(rows.schema.names):
            if name.endswith("_id") and name in table.schema.names and table.schema.field(name).type == pa.int64():
                column = self._column(name, rows.column(place))
                rows = rows.set_column(place, name, column)
        return rows

    def _column(self, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
        hidden = name in PEOPLE and self._secret is not None
        if not _is_written(column.type) and not (hidden and _is_number(column.type)):
            return column
        return pa.chunked_array([self._array(name, chunk, hidden) for chunk in column.chunks], pa.string())

    def _array(self, name: str, array: pa.Array, hidden: bool) -> pa.Array:
        """One chunk; each distinct value is looked at once."""
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        uuids = pa.types.is_fixed_size_binary(array.type) and array.type.byte_width == 16
        encoded = (array if _is_written(array.type) else _digits(array)).cast(pa.large_binary()).dictionary_encode()
        texts = [str(uuid.UUID(bytes=value)) if uuids else _decoded(value) for value in encoded.dictionary.to_pylist()]
        return pa.array([self._text(name, text, hidden) for text in texts], pa.string()).take(encoded.indices)

    def _text(self, name: str, text: str, hidden: bool) -> str | None:
        if text in NULLS:
            return None
        if hidden:
            return str(ids.person_id(f"{self._namespace}_{name}", text.strip(), self._secret))
        return text if _NUMBER.fullmatch(text) else str(ids.hashed_id(f"{self._namespace}_{name}", text))


def filled(table: Table, rows: pa.Table, values: Mapping[str, str | None]) -> pa.Table:
    """The rows with the columns that only the path holds, for engines leave them out of files."""
    for name, text in values.items():
        if name in table.schema.names and name not in rows.schema.names:
            rows = rows.append_column(name, pa.array([text] * len(rows), pa.string()))
    return rows


def plain(rows: pa.Table) -> pa.Table:
    """The rows with extension types (UUID, JSON) as what they are stored as."""
    for place, column in enumerate(rows.schema):
        if isinstance(column.type, pa.BaseExtensionType):
            storage = pa.chunked_array([chunk.storage for chunk in rows.column(place).chunks], column.type.storage_type)
            rows = rows.set_column(place, column.name, storage)
    return rows


def _is_written(type_: pa.DataType) -> bool:
    value = type_.value_type if pa.types.is_dictionary(type_) else type_
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(value) for test in tests) or pa.types.is_fixed_size_binary(value)


def _is_number(type_: pa.DataType) -> bool:
    return pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_)


def _digits(numbers: pa.Array) -> pa.Array:
    """Whole numbers as text; fractions and more than 64 bits as they print."""
    whole, broken = convert(numbers, pa.int64())
    text = pc.cast(whole, pa.string())
    return pc.if_else(pa.array(broken), pc.cast(numbers, pa.string()), text) if broken.any() else text


def _decoded(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
