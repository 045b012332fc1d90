"""The files of an event log: names, checksummed lines, and recovery after a crash.

    <folder>/events-00000007.open    the file that is written to
    <folder>/events-00000006.log     closed: no record will be added
    <folder>/torn/                   bytes of a write that a crash cut short
    <folder>/format.json             the version of these files and of the records in them (`FORMAT`, livealign.formats)

    {"kind":"erased"}                a record that was erased: as long as it was, so that positions stay

A record is one line, `CRC-32 of the payload in 8 hex digits, space, payload`. A payload is JSON without a line break.
"""

import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from livealign.errors import EventLogError
from livealign.files import plain_file, replace_bytes, sync_directory
from livealign.formats import check_folder

FORMAT = 3  # 2: with the records `list_shown`, which the first cannot read; 3: with the context of a list in them
OPEN, CLOSED, TORN = ".open", ".log", "torn"
_NAME = re.compile(r"events-(\d{8})\.(?:open|log)")
_ERASED = b'{"kind":"erased"}'
_HEAD = 9  # bytes before the payload


class Line(NamedTuple):
    """One line of a file; `payload` is None if the line is damaged."""

    number: int  # 1 is the first line that was read
    end: int  # byte offset in the file
    payload: bytes | None


def check_log(folder: Path) -> None:
    """Refuse a log that a newer version of LiveAlign wrote.

    Raises:
        EventLogError: it did.
    """
    check_folder(folder, "choose another folder for the event log", EventLogError, FORMAT)


def log_files(folder: Path) -> list[Path]:
    """The files of a log, open and closed, oldest first.

    Raises:
        EventLogError: as `check_log`.
    """
    check_log(folder)
    return sorted((path for path in folder.glob("events-*") if _NAME.fullmatch(path.name)), key=file_number)


def file_number(path: Path) -> int:
    """The number of a file in its log.

    Raises:
        EventLogError: the file is not part of an event log.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise EventLogError(f"{path} is no file of an event log")
    return int(match[1])


def read_lines(path: Path, offset: int = 0) -> Iterator[Line]:
    """The lines of a file, from a byte offset on, without erased ones.

    A file that its writer closes (renames) meanwhile is still read to its end. A line without a line break counts as damaged.

    Raises:
        EventLogError: the file cannot be read, or it is a pipe or a device.
    """
    try:
        file = plain_file(path).open("rb")
    except FileNotFoundError:
        file = path.with_suffix(CLOSED).open("rb")
    except OSError as error:
        raise EventLogError(f"{path} cannot be read ({error.strerror}); move it away or mend it, then run again") from error
    with file:
        file.seek(offset)
        end = offset
        for number, line in enumerate(file, 1):
            end += len(line)
            payload = _payload(line)
            if payload is None or not payload.startswith(_ERASED):
                yield Line(number, end, payload)


def recover(path: Path) -> None:
    """Close a file that a crashed process left open.

    The bytes after its last complete record are moved to `torn/`.

    Raises:
        OSError: the file cannot be changed.
    """
    good = max((line.end for line in read_lines(path) if line.payload is not None), default=0)
    if good < path.stat().st_size:
        with path.open("r+b") as file:
            file.seek(good)
            replace_bytes(path.parent / TORN / f"{path.stem}.{good}", file.read())
            file.truncate(good)
            os.fsync(file.fileno())
    path.rename(path.with_suffix(CLOSED))
    sync_directory(path.parent)


def erase_records(path: Path, matches: Callable[[bytes], bool]) -> int:
    """Erase the records that match from a closed file; returns how many.

    The file is replaced in one step. The other records keep their places.

    Raises:
        OSError: the file cannot be written; it is as it was.
    """
    lines, erased = [], 0
    with path.open("rb") as file:
        for line in file:
            payload = _payload(line)
            if payload is not None and not payload.startswith(_ERASED) and matches(payload):
                payload, erased = _ERASED.ljust(len(payload)), erased + 1
                line = b"%08x %b\n" % (zlib.crc32(payload), payload)
            lines.append(line)
    if erased:
        replace_bytes(path, b"".join(lines))
    return erased


def _payload(line: bytes) -> bytes | None:
    payload = line[_HEAD:-1]
    return payload if line.endswith(b"\n") and line[:_HEAD] == b"%08x " % zlib.crc32(payload) else None
