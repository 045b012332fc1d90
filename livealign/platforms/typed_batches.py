"""Rows of published CSV and Parquet files in typed batches, bad rows apart.

A file's columns are asked for by name and `Kind`. Blocks of a CSV file are parsed straight to these types; only a block
in which something does not fit is read again as text and judged value by value. Reasons of rejected rows:

    malformed_row    a CSV row with too many or too few fields
    unclosed_quote, row_too_long   see `livealign.platforms.csv_blocks`
    wrong_type       not a number, not a time, more than 64 bits
    not_finite       NaN or infinite where a whole number is due
    invalid_utf8     text that is not UTF-8
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from livealign.platforms.csv_blocks import BadLine, Rows, UnreadableFileError, read_blocks
from livealign.platforms.typed_values import BATCH_TYPES, NULLS, BadRow, Batch, Kind, judge, no_rows

INNER_BLOCK_BYTES = 1 << 20  # parsed at once where rows are short: it stays in the processor's cache
PARQUET_ROWS = 131_072
VECTOR_ROWS = 16_384  # of 512 bytes each
MAX_ROW_GROUP_BYTES = 4 << 30  # of one Parquet row group when unpacked

_CSV_TYPES = {**BATCH_TYPES, Kind.TIME: pa.timestamp("ns"), Kind.TEXT: pa.binary()}
_PARQUET_ERRORS = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError)


def column_names(path: Path) -> list[str]:
    """The names of a file's columns; empty if it has none.

    Raises:
        UnreadableFileError: it is no CSV or Parquet file that can be read.
    """
    if path.suffix == ".parquet":
        with _parquet(path) as file:
            return file.schema_arrow.names
    return _header(next(read_blocks(path), Rows(b"")))[0]


def read_batches(
    path: Path,
    kinds: Mapping[str, Kind],
    advance: Callable[[int], None] | None = None,
    names: Sequence[str] | None = None,
) -> Iterator[Batch]:
    """All rows of a file, in order.

    Args:
        path: .csv, .csv.gz or .parquet; every column of `kinds` is in it once.
        kinds: the columns to read.
        advance: called with how many more bytes of the file have been worked through.
        names: of the columns of a CSV file that has no header.

    Raises:
        UnreadableFileError: the file cannot be read to its end; what came before has been yielded by then.
    """
    if path.suffix == ".parquet":
        return _parquet_batches(path, kinds, advance)
    return _csv_batches(path, kinds, advance, names)


def _csv_batches(
    path: Path, kinds: Mapping[str, Kind], advance: Callable[[int], None] | None, given: Sequence[str] | None
) -> Iterator[Batch]:
    blocks = read_blocks(path, advance)
    names, first = (list(given), b"") if given else _header(next(blocks, Rows(b"")))
    line = 1
    for block in chain([Rows(first)] if first else [], blocks):
        if isinstance(block, BadLine):
            text = block.start.decode("utf-8", "replace")
            batch = Batch(no_rows(kinds), np.zeros(0, np.int64), [BadRow(line, block.reason, "", {"line": text})])
        else:
            batch = _parse(block.data, names, kinds, line)
        line += len(batch.lines) + len(batch.bad)
        yield batch


def _header(block: Rows | BadLine) -> tuple[list[str], bytes]:
    """The column names, and the rows behind them. (No published header has quoted newlines.)"""
    if isinstance(block, BadLine):
        raise UnreadableFileError("unreadable_file", "the first line is no header; fetch the file again")
    head, _, rows = block.data.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    try:
        fields = next(csv.reader(io.StringIO(head.decode("utf-8", "replace").strip("\r"), newline="")), [])
    except csv.Error as error:
        raise UnreadableFileError("unreadable_file", f"the first line is no header ({error}); fetch the file again") from error
    return [name.strip() for name in fields], rows


def _parse(data: bytes, names: list[str], kinds: Mapping[str, Kind], first_line: int) -> Batch:
    """A block of whole rows: straight to types, else as text. Bytes that are not UTF-8 go the way of Latin-1 and back,
    because Arrow cannot report a bad row that holds some."""
    if _is_utf8(data):
        try:
            rows, bad = _attempt(data, names, {name: _CSV_TYPES[kind] for name, kind in kinds.items()}, "utf8")
        except pa.ArrowInvalid:
            rows, bad = _attempt(data, names, dict.fromkeys(kinds, pa.binary()), "utf8")
    else:
        rows, bad = _attempt(data, names, dict.fromkeys(kinds, pa.binary()), "latin1")
        rows = pa.table({name: _from_latin1(rows.column(name)) for name in kinds})
        bad = [row._replace(values={"line": _readable(str(row.values["line"]))}) for row in bad]
    good = np.ones(rows.num_rows + len(bad), np.bool_)
    good[[row.line - 1 for row in bad]] = False
    batch = judge(rows.combine_chunks(), np.flatnonzero(good) + first_line, kinds)
    return Batch(batch.rows, batch.lines, sorted([*(row._replace(line=row.line + first_line - 1) for row in bad), *batch.bad]))


def _attempt(data: bytes, names: list[str], types: Mapping[str, pa.DataType], encoding: str) -> tuple[pa.Table, list[BadRow]]:
    """The rows with the right number of fields, and the others (line 1 is the block's first)."""
    bad: list[BadRow] = []

    def set_apart(row: pacsv.InvalidRow) -> str:
        detail = f"{row.actual_columns} fields instead of {row.expected_columns}"
        bad.append(BadRow(row.number, "malformed_row", detail, {"line": row.text}))
        return "skip"

    numbers = {name: str(names.index(name)) for name in types}  # names may be empty, or twice there
    rows = pacsv.read_csv(
        pa.BufferReader(data),
        read_options=pacsv.ReadOptions(
            column_names=[str(i) for i in range(len(names))],
            use_threads=False,
            block_size=_inner_block(data),
            encoding=encoding,
        ),
        parse_options=pacsv.ParseOptions(
            newlines_in_values=b'"' in data,
            ignore_empty_lines=len(names) > 1,  # where there is one column, an empty line is a row with nothing in it
            invalid_row_handler=set_apart,
        ),
        convert_options=pacsv.ConvertOptions(
            column_types={numbers[name]: type_ for name, type_ in types.items()},
            include_columns=list(numbers.values()),
            null_values=NULLS,
            check_utf8=False,
        ),
    )
    return rows.rename_columns(list(types)), bad


def _is_utf8(data: bytes) -> bool:
    try:
        return data.isascii() or bool(data.decode())
    except UnicodeDecodeError:
        return False


def _from_latin1(column: pa.ChunkedArray) -> pa.Array:
    """The bytes as they stand in the file."""
    return pa.array([None if value is None else value.decode().encode("latin-1") for value in column.to_pylist()], pa.binary())


def _readable(text: str) -> str:
    return text.encode("latin-1").decode("utf-8", "replace")


def _inner_block(data: bytes) -> int:
    """A parser block that surely holds the longest row, even if bytes double on the way through Latin-1: small where that is
    easy to see, else all of the data."""
    if b'"' in data:
        return 2 * len(data) + 1
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    longest = int(np.diff(ends, prepend=-1, append=len(data)).max())
    return min(2 * len(data) + 1, max(INNER_BLOCK_BYTES, 4 * longest))


def _parquet_batches(path: Path, kinds: Mapping[str, Kind], advance: Callable[[int], None] | None) -> Iterator[Batch]:
    line, reported = 1, 0
    size = path.stat().st_size if path.is_file() else 0
    batch_rows = VECTOR_ROWS if Kind.VECTOR in kinds.values() else PARQUET_ROWS
    with _parquet(path) as file:
        groups = [file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)]
        if max(groups, default=0) > MAX_ROW_GROUP_BYTES:
            raise UnreadableFileError(
                "too_large", f"{path} has a row group of {max(groups)} bytes; write it again in groups of a million rows"
            )
        batches = file.iter_batches(batch_size=batch_rows, columns=list(kinds), use_threads=False)
        while True:
            try:
                part = next(batches, None)
            except _PARQUET_ERRORS as error:
                detail = f"{path} cannot be read after row {line - 1} ({error}); fetch it again"
                raise UnreadableFileError("unreadable_file", detail) from error
            if part is None:
                return
            rows = pa.Table.from_batches([part]).select(list(kinds))
            yield judge(rows, np.arange(line, line + len(rows)), kinds)
            line += len(rows)
            if advance:
                now = size * (line - 1) // max(1, file.metadata.num_rows)
                advance(now - reported)
                reported = now


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path, buffer_size=4 << 20, pre_buffer=False)  # row groups need not fit in memory
        _ = file.schema_arrow.names  # damaged names show only here
        return file
    except _PARQUET_ERRORS as error:
        raise UnreadableFileError("unreadable_file", f"{path} cannot be read ({str(error)[:200]}); fetch it again") from error
