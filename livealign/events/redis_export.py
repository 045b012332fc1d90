"""Export the Redis log to closed files that can be landed.

    export = RedisExport.open(log, folder)
    export.step()        # again and again, by one process

The files are those of `livealign.events.log.EventLog`, closed by size and by hour; platform `served` lands them. Each record is
written once, and then the stream is trimmed. `exported.json` records how far the stream has been written. It is updated after
the records are written: if an export dies between the two, the next start compares records to find those already written, and
continues after them.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from livealign.errors import EventLogError
from livealign.events.log import START, EventLog, Position
from livealign.events.redis_log import RedisLog
from livealign.files import read_json, replace_json

STATE = "exported.json"
BATCH = 2_000  # records of one write
KEEP_SECONDS = 24 * 3_600  # of the stream, from which a starting service restores its rooms and histories


class Step(NamedTuple):
    """The counts of one step."""

    written: int
    trimmed: int
    closed_files: int  # in the folder now


@dataclass(eq=False)
class RedisExport:
    """Exports one stream to one folder; the lock of the files keeps a second exporter out."""

    log: RedisLog
    files: EventLog
    keep_seconds: float = KEEP_SECONDS
    stream: Position = START  # the last record that is in the files
    file: Position = START  # where that record ends in the files

    @classmethod
    def open(
        cls, log: RedisLog, folder: Path, keep_seconds: float = KEEP_SECONDS, clock: Callable[[], float] = time.time
    ) -> "RedisExport":
        """Lock the folder, recover its files, and find where the last export stopped.

        Raises:
            EventLogError: another process exports to the folder, or files and stream do not belong together.
        """
        export = cls(log, EventLog(folder, clock), keep_seconds)
        try:
            export._resume()
        except BaseException:
            export.files.close()
            raise
        return export

    def step(self) -> Step:
        """Write the new records, record the progress, and trim old written records.

        Raises:
            EventLogError: the server or the disk fails; the next step continues where this one stopped.
        """
        written = 0
        while batch := list(islice(self.log.read(self.stream), BATCH)):
            self.files.append([record for _, record in batch])
            self._save_progress(batch[-1][0], _end_of(self.files, self.file))
            written += len(batch)
        closed = len(self.files.closed_files())
        return Step(written, self._trim(), closed)

    def close(self) -> None:
        """Close the open file, so that it can be landed, and release the folder."""
        self.files.close()

    def _resume(self) -> None:
        state = self.files.folder / STATE
        if state.exists():
            progress = read_json(state)
            self.stream, self.file = Position(*progress["stream"]), Position(*progress["file"])
        elif self.log.trimmed() != START:
            raise EventLogError(
                f"{self.files.folder} has no {STATE}, and the stream was trimmed by an export to another folder; "
                "name that folder, or clear the stream"
            )
        # Records that are in the files but not in exported.json: the last export died between the two writes.
        in_stream: Iterator[tuple[Position, bytes]] = self.log.read(self.stream)
        for place, record in self.files.read(self.file):
            position, expected = next(in_stream, (START, b""))
            if record != expected:
                raise EventLogError(
                    f"{self.files.folder} holds a record that the stream does not have there; keep one exporter"
                )
            self._save_progress(position, place)

    def _save_progress(self, stream: Position, file: Position) -> None:
        self.stream, self.file = stream, file
        try:
            replace_json(self.files.folder / STATE, {"stream": list(stream), "file": list(file)}, version=1)
        except OSError as error:
            raise EventLogError(f"{self.files.folder / STATE} cannot be written ({error.strerror}); free some space") from error

    def _trim(self) -> int:
        oldest_ms = self.log.now_ms() - int(self.keep_seconds * 1000)
        before = min(self.stream, Position(oldest_ms, 0))
        return self.log.trim(before) if before > self.log.trimmed() else 0


def _end_of(files: EventLog, after: Position) -> Position:
    """The position where the last record of the files ends."""
    for position, _ in files.read(after):
        after = position
    return after
