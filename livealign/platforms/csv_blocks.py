"""Bytes of a CSV file as blocks of whole rows, plain or gzipped, in bounded memory.

Quotes count where RFC 4180 says: one that opens a field opens a quotation, in which newlines are text. What cannot be a
row is set apart and loses no other row:

    unclosed_quote   a quotation that does not end within MAX_ROW_BYTES; reading continues in the next line
    row_too_long     a line of more than MAX_ROW_BYTES

A gzip file may grow to MAX_EXPANSION times its size (text never does so much, a zip bomb does).
"""

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from livealign.errors import ArchiveError, reason_of

BLOCK_BYTES = 16 << 20
MAX_ROW_BYTES = 32 << 20
MAX_EXPANSION = 200  # decompressed bytes for each compressed one
FREE_BYTES = 64 << 20  # that may always come out of a gzip file
SHOWN_BYTES = 500  # of a line that is no row

_NEWLINE, _QUOTE = b"\n", b'"'
_BEFORE_FIELD = frozenset(b",\n\r")


class UnreadableFileError(ArchiveError):
    """A file cannot be read, or not to its end; `reason` is the code for the rejects."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Rows(NamedTuple):
    """Bytes that hold whole rows."""

    data: bytes


class BadLine(NamedTuple):
    """One line that is no row, and how it begins."""

    reason: str
    start: bytes


def read_blocks(path: Path, advance: Callable[[int], None] | None = None) -> Iterator[Rows | BadLine]:
    """The file in pieces, in order; the first begins with the header.

    A last line without a newline is a row too.

    Args:
        path: plain, or gzipped where the name ends in .gz.
        advance: called with how many more bytes of the file (compressed, where it is) have been read.

    Raises:
        UnreadableFileError: the file cannot be read to its end: missing, truncated or damaged gzip, or larger when
            unpacked than any text would be. What came before has been yielded by then.
    """
    rest, skipping = b"", False
    for chunk in _chunks(path, advance):
        if skipping:
            _, found, chunk = chunk.partition(_NEWLINE)
            skipping = not found
        rest += chunk
        while rest:
            cut, _ = _last_row_end(rest)
            if cut:
                yield Rows(rest[:cut])
                rest = rest[cut:]
            if len(rest) <= MAX_ROW_BYTES:
                break
            start, newline, after = rest[:SHOWN_BYTES], _NEWLINE in rest, rest.partition(_NEWLINE)[2]
            yield BadLine("unclosed_quote" if newline else "row_too_long", start)
            rest, skipping = after, not newline
    while rest:
        cut, quoted = _last_row_end(rest)
        if not quoted:
            yield Rows(rest)
            return
        if cut:
            yield Rows(rest[:cut])
        yield BadLine("unclosed_quote", rest[cut : cut + SHOWN_BYTES])
        rest = rest[cut:].partition(_NEWLINE)[2]


def _last_row_end(data: bytes) -> tuple[int, bool]:
    """The end of the last whole row (0: none), and whether the data ends inside a quotation."""
    if _QUOTE not in data:
        return data.rfind(_NEWLINE) + 1, False
    characters = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(characters == _QUOTE[0])
    if not _only_around_fields(characters, quotes):
        return _last_row_end_quote_by_quote(data, quotes)
    end = len(data)
    while True:
        newline = data.rfind(_NEWLINE, 0, end)
        before = int(np.searchsorted(quotes, newline))
        if newline < 0 or before % 2 == 0:
            return newline + 1, len(quotes) % 2 == 1
        end = int(quotes[before - 1])


def _only_around_fields(characters: npt.NDArray[np.uint8], quotes: npt.NDArray[np.int64]) -> bool:
    """Whether every second quote, from the first, opens a field or follows on a quote.

    Then the data is inside a quotation exactly after an odd number of quotes: a doubled quote ends one and begins the next.
    """
    opening = quotes[::2]
    before = characters[opening[opening > 0] - 1]
    return bool(np.isin(before, [*_BEFORE_FIELD, _QUOTE[0]]).all())


def _last_row_end_quote_by_quote(data: bytes, quotes: npt.NDArray[np.int64]) -> tuple[int, bool]:
    """The same where quotes stand in the middle of fields too, which is text."""
    opened, closed, quoted = _quotations(data, quotes.tolist())
    end = opened.pop() if quoted else len(data)
    while True:
        newline = data.rfind(_NEWLINE, 0, end)
        while opened and newline < opened[-1]:
            opened.pop()
            closed.pop()
        if newline < 0 or not opened or newline > closed[-1]:
            return newline + 1, quoted
        end = opened[-1]


def _quotations(data: bytes, quotes: list[int]) -> tuple[list[int], list[int], bool]:
    """The places where quotations open and close, and whether the last one is still open."""
    opened: list[int] = []
    closed: list[int] = []
    inside, i = False, 0
    while i < len(quotes):
        here = quotes[i]
        i += 1
        if not inside:
            inside = here == 0 or data[here - 1] in _BEFORE_FIELD
            if inside:
                opened.append(here)
        elif i < len(quotes) and quotes[i] == here + 1:
            i += 1  # a doubled quote is text
        else:
            inside = False
            closed.append(here)
    return opened, closed, inside


def _chunks(path: Path, advance: Callable[[int], None] | None) -> Iterator[bytes]:
    """The file's bytes in blocks; of a damaged file everything before the damage."""
    read = unpacked = 0
    block = bytearray()
    try:
        with path.open("rb") as raw:
            stream = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
            while chunk := stream.read1(BLOCK_BYTES - len(block)):  # a longer read comes back from damage with nothing
                unpacked += len(chunk)
                if unpacked > FREE_BYTES + MAX_EXPANSION * raw.tell():
                    raise UnreadableFileError(
                        "too_large",
                        f"{path} grows beyond {MAX_EXPANSION} times its size when unpacked; it is no published file",
                    )
                block += chunk
                if len(block) < BLOCK_BYTES:
                    continue
                if advance:
                    advance(raw.tell() - read)
                    read = raw.tell()
                yield bytes(block)
                block.clear()
            if advance:
                advance(raw.tell() - read)
    except (OSError, EOFError, zlib.error) as error:
        if block:
            yield bytes(block)
        raise UnreadableFileError("unreadable_file", f"{path} cannot be read ({reason_of(error)}); fetch it again") from error
    if block:
        yield bytes(block)
