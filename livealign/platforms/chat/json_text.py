"""JSON text read as a stream: arrays, objects or lines, plain or gzip, in bounded memory.

Bytes that are not UTF-8 become lone surrogates, so that they cost only the message that holds them.
"""

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from livealign.errors import ArchiveError, reason_of
from livealign.files import plain_file

MAX_CHAT_BYTES = 1 << 30  # of one chat after decompression
MAX_ELEMENT_CHARACTERS = 1 << 26  # of one message
PEEK_BYTES = 1 << 16

_CHUNK = 1 << 20
_SPACE = re.compile(r"[ \t\r\n]*")
_SEPARATORS = re.compile(r"[\s,]*")
_STRUCTURE = re.compile(r'["{}\[\]]')
_STRING_END = re.compile(r'["\\]')
_GZIP = b"\x1f\x8b"


class BrokenLine(str):
    """A line of a JSON Lines file that holds no JSON."""


class JsonText:
    """One JSON text with a position in it; `name` is what the text should be, for errors.

    Every method raises ArchiveError where the text ends early, is broken, too large, or cannot be decompressed.
    """

    def __init__(self, path: Path, name: str = "a JSON list of messages") -> None:
        self._path, self._name = path, name
        self._chunks = text_chunks(path)
        self._decoder = json.JSONDecoder(parse_int=_parse_int)
        self._buffer, self._position = "", 0
        while not self._buffer and (more := next(self._chunks, None)) is not None:
            self._buffer = more.lstrip("\ufeff \t\r\n")

    def next_character(self) -> str:
        """The next character that is not white space, not consumed; empty at the end of the text."""
        while True:
            found = _SPACE.match(self._buffer, self._position)
            self._position = found.end() if found else self._position
            if self._position < len(self._buffer):
                return self._buffer[self._position]
            if not self._more(1):
                return ""

    def elements(self) -> Iterator[Any]:
        """The elements of the array that begins here, one at a time."""
        self._expect("[")
        while True:
            separators = _SEPARATORS.match(self._buffer, self._position)
            self._position = separators.end() if separators else self._position
            if self._buffer.startswith("]", self._position):
                self._position += 1
                return
            yield self.value()

    def keys(self) -> Iterator[str]:
        """The keys of the object that begins here; the caller consumes each value in between."""
        self._expect("{")
        while True:
            separators = _SEPARATORS.match(self._buffer, self._position)
            self._position = separators.end() if separators else self._position
            if self._buffer.startswith("}", self._position):
                self._position += 1
                return
            key = self.value()
            if not isinstance(key, str) or self.next_character() != ":":
                raise self._broken()
            self._position += 1
            yield key

    def value(self) -> Any:
        """The whole value that begins here."""
        while True:
            start = _SPACE.match(self._buffer, self._position)
            at = start.end() if start else self._position
            try:
                value, end = self._decoder.raw_decode(self._buffer, at)
            except RecursionError:
                raise ArchiveError(f"{self._path} is nested too deeply for a chat; fetch it again") from None
            except ValueError:
                end = len(self._buffer)  # unfinished, or broken: then more text does not mend it
            if end < len(self._buffer):
                self._position = end
                return value
            waiting = len(self._buffer) - self._position
            if waiting > MAX_ELEMENT_CHARACTERS or not self._more(max(_CHUNK, waiting)):
                raise self._broken()

    def skip(self) -> None:
        """Pass the value that begins here without building it, however long it is."""
        if self.next_character() not in ('"', "{", "["):
            self.value()
            return
        depth, inside = 0, False
        while True:
            found = (_STRING_END if inside else _STRUCTURE).search(self._buffer, self._position)
            if found is None or (found[0] == "\\" and found.end() == len(self._buffer)):
                self._position = len(self._buffer) if found is None else found.start()
                if not self._more(_CHUNK):
                    raise self._broken()
                continue
            self._position = found.end() + (found[0] == "\\")
            if found[0] == '"':
                inside = not inside
            elif not inside:
                depth += 1 if found[0] in "{[" else -1
            if not inside and depth == 0:
                return

    def end(self) -> None:
        """Read to the end, where gzip checks its checksum; there must be nothing else."""
        if self._buffer[self._position :].strip() or "".join(self._chunks).strip():
            raise ArchiveError(f"{self._path} continues after its end as JSON; fetch it again")

    def _expect(self, character: str) -> None:
        if self.next_character() != character:
            raise ArchiveError(f"{self._path} is not {self._name}; fetch it again")
        self._position += 1

    def _more(self, characters: int) -> bool:
        """Append at least so much text, where there is any, and drop what was consumed."""
        parts = [self._buffer[self._position :]]
        total = 0
        for part in self._chunks:
            parts.append(part)
            total += len(part)
            if total >= characters:
                break
        self._buffer, self._position = "".join(parts), 0
        return total > 0

    def _broken(self) -> ArchiveError:
        near = self._buffer[self._position : self._position + 40]
        return ArchiveError(f"{self._path} stops being {self._name} near {near!r}; fetch it again")


def stream_array(path: Path) -> Iterator[Any]:
    """The elements of a JSON array, one at a time.

    Raises:
        ArchiveError: the file as a whole cannot be read: truncated, no JSON array, too large, or a gzip file that does
            not decompress.
        FileNotFoundError: there is no such file.
    """
    text = JsonText(path)
    yield from text.elements()
    text.end()


def stream_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """(line, value) of a JSON Lines file; a line that holds no JSON is a `BrokenLine`.

    Raises:
        ArchiveError: the file as a whole cannot be read, or it is empty, or its last line is cut short.
        FileNotFoundError: there is no such file.
    """
    decoder = json.JSONDecoder(parse_int=_parse_int)
    broken: tuple[int, str] | None = None
    line = 0
    for line, text in text_lines(path):
        if broken is not None:
            yield broken[0], BrokenLine(broken[1])
            broken = None
        try:
            value = decoder.decode(text.strip("\ufeff \t\r\n"))
        except (ValueError, RecursionError):
            broken = line, text
            continue
        yield line, value
    if broken is not None:
        raise ArchiveError(f"{path} is cut short in line {broken[0]}; fetch it again")
    if not line:
        raise ArchiveError(f"{path} is empty; fetch it again")


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every line that is not blank, without its end; 1 is the first line.

    Raises:
        ArchiveError: the file as a whole cannot be read, or one line is longer than any message.
        FileNotFoundError: there is no such file.
    """
    line, rest = 0, ""
    for chunk in text_chunks(path):
        if len(rest) > MAX_ELEMENT_CHARACTERS:
            raise ArchiveError(f"{path} has a line of more than {MAX_ELEMENT_CHARACTERS:,} characters; look at what it is")
        *whole, rest = (rest + chunk).split("\n")
        for text in whole:
            line += 1
            if text and not text.isspace():
                yield line, text
    if rest and not rest.isspace():
        yield line + 1, rest


def text_chunks(path: Path) -> Iterator[str]:
    """The text of a file, decompressed where it is gzip by its name or its first bytes.

    Raises:
        ArchiveError: it does not decompress, or is larger than `MAX_CHAT_BYTES`.
        FileNotFoundError: there is no such file.
    """
    decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
    for chunk in byte_chunks(path):
        yield decode(chunk)
    yield decode(b"", True)


def byte_chunks(path: Path) -> Iterator[bytes]:
    """The bytes of a file, as `text_chunks`."""
    total = 0
    try:
        with plain_file(path).open("rb") as raw:
            packed = raw.read(2) == _GZIP or path.suffix == ".gz"
        with gzip.open(path) if packed else path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                total += len(chunk)
                if total > MAX_CHAT_BYTES:
                    raise ArchiveError(
                        f"{path} is larger than {MAX_CHAT_BYTES:,} bytes when decompressed, which no chat is; "
                        "look at what it is and remove it from the archive"
                    )
                yield chunk
    except FileNotFoundError:
        raise
    except (EOFError, OSError, zlib.error) as error:
        raise ArchiveError(f"{path} cannot be decompressed ({reason_of(error)}); fetch it again") from error


def peek(path: Path) -> str:
    """The first `PEEK_BYTES` of a file as text; empty where they cannot be read."""
    try:
        with plain_file(path).open("rb") as raw:
            packed = raw.read(2) == _GZIP
        with gzip.open(path) if packed else path.open("rb") as file:
            return file.read(PEEK_BYTES).decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    except (EOFError, OSError, zlib.error):
        return ""


def read_object(path: Path, limit: int) -> Any:
    """A small JSON file as a whole.

    Raises:
        ValueError: it is larger than `limit` bytes, or no JSON.
        OSError: it cannot be read.
    """
    if path.stat().st_size > limit:
        raise ValueError(f"larger than {limit:,} bytes")
    try:
        return json.loads(plain_file(path).read_bytes(), parse_int=_parse_int)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _parse_int(digits: str) -> int | float:
    """Numbers beyond 19 digits become floats: Python would refuse the longest ones and with them the file."""
    return int(digits) if len(digits) < 20 else float(digits)
