"""The event log of another process on this machine, read as it grows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from livealign.errors import EventLogError
from livealign.events.log import START, Log, Position
from livealign.events.log_files import file_number, log_files, read_lines


@dataclass(frozen=True)
class FollowedLog:
    """The log of another process, to read; `append` writes to this process's own log.

    Args:
        folder: folder of the other process's log.
        own: the log that `append` writes to; None makes `append` raise.
    """

    folder: Path
    own: Log | None = None

    shared = True

    def append(self, records: Sequence[bytes]) -> None:
        """Append the records to the log of this process.

        Raises:
            EventLogError: this process has no log, or it cannot be written.
        """
        if self.own is None:
            raise EventLogError(f"this process only follows {self.folder}; send events to the process that writes it")
        self.own.append(records)

    def read(self, after: Position = START) -> Iterator[tuple[Position, bytes]]:
        """Every complete record after the position, oldest first.

        A line that is still being written is left for the next call.
        """
        for path in log_files(self.folder):
            file = file_number(path)
            if file < after.file:
                continue
            for line in read_lines(path, after.offset if file == after.file else 0):
                if line.payload is not None:
                    yield Position(file, line.end), line.payload

    def end(self) -> Position:
        """The position after the last complete record."""
        for path in reversed(log_files(self.folder)):
            ends = [line.end for line in read_lines(path) if line.payload is not None]
            if ends:
                return Position(file_number(path), ends[-1])
        return START

    def erase(self, matches: Callable[[bytes], bool]) -> int:
        """Erase nothing: the other process writes the log.

        Raises:
            EventLogError: always.
        """
        raise EventLogError(f"this process only follows {self.folder}; delete users at the process that writes it")

    def close(self) -> None:
        """Close this process's own log."""
        if self.own is not None:
            self.own.close()
