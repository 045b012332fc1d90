"""The event log: what was acknowledged is on disk, and stays readable whatever happens to the process.

    <folder>/events-00000007.open    the file that is written to
    <folder>/events-00000006.log     closed: nothing will be added
    <folder>/torn/                   bytes of a write that a crash cut short

A record is one line, `CRC-32 of the payload in 8 hex digits, space, payload`, and a payload is JSON without a line break. A
file is closed when it is full, when its hour of the clock is over, and when the process ends or is found to have ended.

    log = EventLog(folder)
    log.append([b'{"kind": "like"}'])    # returns after fsync

Calls of `append` from many threads share an fsync: while one thread waits for the disk, the others' records gather, and the
next write takes them all.
"""

import fcntl
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from livealign.errors import LiveAlignError
from livealign.files import replace_bytes, sync_directory

OPEN, CLOSED, TORN = ".open", ".log", "torn"
HOUR_SECONDS = 3_600
_NAME = re.compile(r"events-(\d{8})\.(?:open|log)")
_HEAD = 9  # bytes before the payload


class EventLogError(LiveAlignError):
    """The log cannot be written or read; nothing of the call was acknowledged."""


class Position(NamedTuple):
    """Where a record ends, and the next one begins. Positions are ordered as the records are."""

    file: int = 0
    offset: int = 0


START = Position()


class Line(NamedTuple):
    """One line of a file; `payload` is None where it is damaged."""

    number: int  # 1 is the first that was read
    end: int  # bytes
    payload: bytes | None


class Log(Protocol):
    """What the service needs of a log, wherever it is kept."""

    @property
    def shared(self) -> bool:
        """Whether others append to it too, so that whoever keeps a state has to read it as it grows."""

    def append(self, records: Sequence[bytes]) -> None:
        """Keep the records; they are durable when it returns."""

    def read(self, after: Position) -> Iterator[tuple[Position, bytes]]:
        """Every record after the position, in order."""

    def end(self) -> Position:
        """The position after the last record that there is."""

    def close(self) -> None:
        """Let go of the log."""


@dataclass(eq=False)
class _Write:
    """The records of one call, until the call knows what became of them."""

    data: bytes
    done: bool = False
    error: OSError | None = None


@dataclass
class EventLog:
    """One process's log; a second process that opens the same folder is refused.

    Args:
        folder: made if there is none.
        clock: seconds since 1970, as `time.time`.
        max_bytes: a file is closed when it is this large.
        max_seconds: and when the clock passes a multiple of this.

    Raises:
        EventLogError: another process has the log, or it cannot be recovered.
    """

    folder: Path
    clock: Callable[[], float] = time.time
    max_bytes: int = 64 << 20
    max_seconds: int = HOUR_SECONDS
    _lock: int = field(default=-1, init=False)  # descriptor of the file whose lock is held
    _file: int | None = field(default=None, init=False)  # descriptor of the open file
    _number: int = field(default=0, init=False)
    _size: int = field(default=0, init=False)  # bytes of it that are acknowledged
    _period: int = field(default=0, init=False)
    _writer: Lock = field(default_factory=Lock, init=False)
    _gate: Lock = field(default_factory=Lock, init=False)
    _waiting: list[_Write] = field(default_factory=list, init=False)

    shared = False

    def __post_init__(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise EventLogError(
                f"{self.folder} cannot hold an event log ({error}); choose a folder that can be written"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for path in self.folder.glob(f"events-*{OPEN}"):
                recover(path)
        except BlockingIOError as error:
            os.close(self._lock)
            raise EventLogError(f"another process writes to {self.folder}; give this one a folder of its own") from error
        except OSError as error:
            os.close(self._lock)
            raise EventLogError(f"{self.folder} cannot be recovered ({error}); free some space and start again") from error
        # Files may be removed once they have landed, but a number never comes again: positions are ordered by it.
        last = os.pread(self._lock, 16, 0).strip()
        numbers = [file_number(path) for path in log_files(self.folder)]
        self._number = max([int(last) if last.isdigit() else 0, *numbers])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def append(self, records: Sequence[bytes]) -> None:
        """Keep the records, all of them or none; when it returns they are on disk.

        Raises:
            EventLogError: they could not be written: the disk is full or broken, or a record has a line break.
        """
        if not records:
            return
        if any(b"\n" in record for record in records):
            raise EventLogError("a record has a line break; give JSON without line breaks")
        write = _Write(b"".join(b"%08x %b\n" % (zlib.crc32(record), record) for record in records))
        with self._gate:
            self._waiting.append(write)
        with self._writer:
            if not write.done:
                self._commit()
        if not write.done:
            raise EventLogError(f"{self.folder}: the write was interrupted; send the {len(records)} events again")
        if write.error is not None:
            raise EventLogError(f"{self.folder}: nothing was kept of {len(records)} events ({write.error})") from write.error

    def read(self, after: Position = START) -> Iterator[tuple[Position, bytes]]:
        """Every acknowledged record after the position, oldest first; damaged lines are left out."""
        with self._writer:
            number, size = (self._number, self._size) if self._file is not None else (0, 0)
        for path in log_files(self.folder):
            file = file_number(path)
            if file < after.file or (number and file > number):
                continue
            for line in read_lines(path, after.offset if file == after.file else 0):
                if file == number and line.end > size:
                    break
                if line.payload is not None:
                    yield Position(file, line.end), line.payload

    def end(self) -> Position:
        """The position after the last acknowledged record."""
        with self._writer:
            return Position(self._number, self._size) if self._file is not None else Position(self._number + 1)

    def closed_files(self) -> list[Path]:
        """The files to which nothing will be added, oldest first; closes the open one where its time is over."""
        with self._writer:
            if self._file is not None and self._is_over():
                self._seal()
        return [path for path in log_files(self.folder) if path.suffix == CLOSED]

    def close(self) -> None:
        """Close the open file and let another process have the log."""
        with self._writer:
            if self._file is not None:
                self._seal()
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1

    def _commit(self) -> None:
        """Write what waits, by the thread that holds `_writer`."""
        with self._gate:
            writes, self._waiting = self._waiting, []
        data = b"".join(write.data for write in writes)
        error: OSError | None = None
        try:
            file = self._writable()
            _write_all(file, data)
            os.fdatasync(file)
            self._size += len(data)
        except OSError as failure:
            error = failure
            try:
                self._abandon()
            except OSError as another:
                error = another
        for write in writes:
            write.done, write.error = True, error

    def _writable(self) -> int:
        """The descriptor of the open file, after closing a full one or one whose time is over."""
        if self._lock < 0:
            raise OSError("the log is closed")
        if self._file is not None and (self._size >= self.max_bytes or self._is_over()):
            self._seal()
        if self._file is None:
            path = self._path(self._number + 1)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            self._number, self._size, self._period = self._number + 1, 0, self._now()
            os.pwrite(self._lock, b"%16d" % self._number, 0)
            sync_directory(self.folder)
        return self._file

    def _abandon(self) -> None:
        """After a failed write: cut the file to what is acknowledged and close it. The kernel may have dropped pages of a file
        whose fsync failed, so nothing more is written to it."""
        if self._file is None:
            return
        try:
            os.ftruncate(self._file, self._size)
        finally:
            if self._size:
                self._seal()
            else:  # a full disk must not fill with empty files
                os.close(self._file)
                self._file = None
                self._path(self._number).unlink()
                self._number -= 1

    def _seal(self) -> None:
        assert self._file is not None
        os.close(self._file)
        self._file = None
        path = self._path(self._number)
        path.rename(path.with_suffix(CLOSED))
        sync_directory(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"events-{number:08d}{OPEN}"

    def _now(self) -> int:
        return int(self.clock() // self.max_seconds)

    def _is_over(self) -> bool:
        return self._now() != self._period


@dataclass(frozen=True)
class FollowedLog:
    """The log of another process on this machine, read as it grows. What this process has to tell goes to a log of its own.

    Args:
        folder: the other's log.
        own: where `append` goes; None refuses it.
    """

    folder: Path
    own: Log | None = None

    shared = True

    def append(self, records: Sequence[bytes]) -> None:
        """Keep the records in the log of this process.

        Raises:
            EventLogError: it has none, or it cannot be written.
        """
        if self.own is None:
            raise EventLogError(f"this process only follows {self.folder}; send events to the process that writes it")
        self.own.append(records)

    def read(self, after: Position = START) -> Iterator[tuple[Position, bytes]]:
        """Every whole record after the position, oldest first; a line that is still being written is left for the next time."""
        for path in log_files(self.folder):
            file = file_number(path)
            if file < after.file:
                continue
            for line in read_lines(path, after.offset if file == after.file else 0):
                if line.payload is not None:
                    yield Position(file, line.end), line.payload

    def end(self) -> Position:
        """The position after the last whole record."""
        for path in reversed(log_files(self.folder)):
            ends = [line.end for line in read_lines(path) if line.payload is not None]
            if ends:
                return Position(file_number(path), ends[-1])
        return START

    def close(self) -> None:
        """Close the log of this process."""
        if self.own is not None:
            self.own.close()


def log_files(folder: Path) -> list[Path]:
    """The files of a log, open and closed, oldest first."""
    return sorted((path for path in folder.glob("events-*") if _NAME.fullmatch(path.name)), key=file_number)


def file_number(path: Path) -> int:
    """The place of a file in its log."""
    found = _NAME.fullmatch(path.name)
    if found is None:
        raise EventLogError(f"{path} is no file of an event log")
    return int(found[1])


def read_lines(path: Path, offset: int = 0) -> Iterator[Line]:
    """The lines of a file from a byte on. A file that is closed meanwhile is read on; a line without an end is damaged."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        file = path.with_suffix(CLOSED).open("rb")
    with file:
        file.seek(offset)
        end = offset
        for number, line in enumerate(file, 1):
            end += len(line)
            yield Line(number, end, _payload(line))


def recover(path: Path) -> None:
    """Close a file that a process left open; what follows its last whole record is set aside in `torn/`.

    Raises:
        OSError: the disk does not let it.
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


def _payload(line: bytes) -> bytes | None:
    payload = line[_HEAD:-1]
    return payload if line.endswith(b"\n") and line[:_HEAD] == b"%08x " % zlib.crc32(payload) else None


def _write_all(file: int, data: bytes) -> None:
    """A full disk takes a part and then raises."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
