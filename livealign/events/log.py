"""The durable event log: checksummed lines, one fsync for many callers.

An acknowledged record is on disk and stays readable whatever happens to the process. `log_files` describes the files. A file
is closed when it is full, when its hour of the clock is over, when the process ends, and at the next start after a crash.

    log = EventLog(folder)
    log.append([b'{"kind": "like"}'])    # returns after fsync

Calls of `append` from many threads share an fsync: while one thread waits for the disk, the records of the others
gather, and the next write takes them all.
"""

import fcntl
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from livealign.errors import EventLogError
from livealign.events.log_files import (
    CLOSED,
    FORMAT,
    OPEN,
    TORN,
    check_log,
    erase_records,
    file_number,
    log_files,
    read_lines,
    recover,
)
from livealign.files import sync_directory
from livealign.formats import mark_folder

HOUR_SECONDS = 3_600


class Position(NamedTuple):
    """The place where a record ends and the next begins; ordered as the records are."""

    file: int = 0
    offset: int = 0


START = Position()


class Log(Protocol):
    """An event log as the service uses it, on disk or in Redis."""

    @property
    def shared(self) -> bool:
        """Whether other processes append to it too, so that a live state must read it as it grows."""

    def append(self, records: Sequence[bytes]) -> None:
        """Append the records; they are durable when it returns."""

    def read(self, after: Position) -> Iterator[tuple[Position, bytes]]:
        """Every record after the position, in order."""

    def end(self) -> Position:
        """The position after the last record."""

    def erase(self, matches: Callable[[bytes], bool]) -> int:
        """Erase the records that match; returns how many. Positions stay as they are."""

    def close(self) -> None:
        """Close the log."""


@dataclass(eq=False)
class _Write:
    """The records of one call of `append`, and the outcome of their write."""

    data: bytes
    done: bool = False
    error: OSError | None = None


@dataclass
class EventLog:
    """The log of one process; opening its folder in a second process raises.

    Args:
        folder: created if it is missing.
        clock: seconds since 1970, as `time.time`.
        max_bytes: a file is closed when it is this large.
        max_seconds: a file is closed when the clock passes a multiple of this.

    Raises:
        EventLogError: another process has the log open, it cannot be recovered, or a newer version of LiveAlign wrote it.
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
        check_log(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise EventLogError(
                f"{self.folder} cannot hold an event log ({error}); choose a folder that can be written"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mark_folder(self.folder, FORMAT)
            for path in self.folder.glob(f"events-*{OPEN}"):
                recover(path)
        except BlockingIOError as error:
            os.close(self._lock)
            raise _held(self.folder) from error
        except OSError as error:
            os.close(self._lock)
            raise EventLogError(f"{self.folder} cannot be recovered ({error}); free some space and start again") from error
        # Files may be removed once they have landed, but a number is never used again: positions are ordered by it.
        last = os.pread(self._lock, 16, 0).strip()
        numbers = [file_number(path) for path in log_files(self.folder)]
        self._number = max([int(last) if last.isdigit() else 0, *numbers])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def append(self, records: Sequence[bytes]) -> None:
        """Append all of the records or none; they are on disk when it returns.

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
        """The files that are complete, oldest first; closes the open file if its time is over."""
        with self._writer:
            if self._file is not None and self._is_over():
                self._seal()
        return [path for path in log_files(self.folder) if path.suffix == CLOSED]

    def erase(self, matches: Callable[[bytes], bool]) -> int:
        """Erase the records that match from all files; returns how many.

        The open file is closed first. Bytes that a crash cut short are removed: whose they are cannot be known.

        Raises:
            EventLogError: a file could not be written. Erase again; what was erased stays so.
        """
        with self._writer:
            try:
                if self._file is not None:
                    self._seal()
                for torn in (self.folder / TORN).glob("*"):
                    torn.unlink()
                return sum(erase_records(path, matches) for path in log_files(self.folder))
            except OSError as error:
                raise EventLogError(f"{self.folder}: records could not be erased ({error}); try again") from error

    def close(self) -> None:
        """Close the open file and release the log's lock."""
        with self._writer:
            if self._file is not None:
                self._seal()
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1

    def _commit(self) -> None:
        """Write the waiting records; the calling thread holds `_writer`."""
        with self._gate:
            writes, self._waiting = self._waiting, []
        data = b"".join(write.data for write in writes)
        error: OSError | None = None
        try:
            file = self._writable()
            _write_all(file, data)
            os.fdatasync(file)
            self._size += len(data)
        except OSError as write_error:
            error = write_error
            try:
                self._abandon()
            except OSError as close_error:
                error = close_error
        for write in writes:
            write.done, write.error = True, error

    def _writable(self) -> int:
        """Descriptor of the open file; a file that is full or whose time is over is closed first."""
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
        """After a failed write: truncate the file to its acknowledged records and close it.

        The kernel may have dropped pages of a file whose fsync failed, so nothing more is written to it.
        """
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


def _write_all(file: int, data: bytes) -> None:
    """Write all of the data; a full disk takes a part of it and then raises."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def refuse_held_log(folder: Path, until: float) -> None:
    """Wait for another process to let go of the log in this folder; nothing is made.

    Args:
        until: on the clock of `time.monotonic`.

    Raises:
        EventLogError: another process holds it all the time.
    """
    try:
        lock = os.open(folder / "lock", os.O_RDWR)
    except OSError:  # there is no log yet, or opening it will say why not
        return
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise _held(folder) from error
                time.sleep(0.1)
    finally:
        os.close(lock)


def _held(folder: Path) -> EventLogError:
    return EventLogError(f"another process writes to {folder}; give this one a folder of its own")
