"""The shared log in Redis → the checksummed files that platform `served` lands, each record once; then the stream is trimmed.

    export = RedisExport.open(log, folder)
    export.step()        # again and again, by one process

The files are those of `event_log.EventLog`, closed by size and by hour. How far the stream has been written is kept in
`exported.json`, after the records themselves: an export that dies between the two finds on its next start which records it had
written already, by comparing, and goes on behind them.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from livealign.events.log import START, EventLog, EventLogError, Position
from livealign.events.redis_log import RedisLog
from livealign.files import read_json, replace_json

STATE = "exported.json"
BATCH = 2_000  # records of one write
KEEP_SECONDS = 24 * 3_600  # of the stream: what a service that starts restores its rooms and histories from


class Step(NamedTuple):
    """What one step did."""

    written: int
    trimmed: int
    closed_files: int  # there are now


@dataclass(eq=False)
class RedisExport:
    """One exporter; a second one on the same folder is refused by the files' own lock."""

    log: RedisLog
    files: EventLog
    keep_seconds: float = KEEP_SECONDS
    stream: Position = START  # the last record that is in the files
    file: Position = START  # and where it ends there

    @classmethod
    def open(
        cls, log: RedisLog, folder: Path, keep_seconds: float = KEEP_SECONDS, clock: Callable[[], float] = time.time
    ) -> "RedisExport":
        """Lock the folder, recover its files, and find the place in the stream where the last export stopped.

        Raises:
            EventLogError: another process exports into it, or files and stream do not belong together.
        """
        export = cls(log, EventLog(folder, clock), keep_seconds)
        try:
            export._resume()
        except BaseException:
            export.files.close()
            raise
        return export

    def step(self) -> Step:
        """Write what is new, note it, trim what is old and written.

        Raises:
            EventLogError: the server or the disk fails; the next step goes on where this one stopped.
        """
        written = 0
        while batch := list(islice(self.log.read(self.stream), BATCH)):
            self.files.append([record for _, record in batch])
            self._note(batch[-1][0], _end_of(self.files, self.file))
            written += len(batch)
        closed = len(self.files.closed_files())
        return Step(written, self._trim(), closed)

    def close(self) -> None:
        """Close the open file, so that it can be landed, and let go of the folder."""
        self.files.close()

    def _resume(self) -> None:
        state = self.files.folder / STATE
        if state.exists():
            known = read_json(state)
            self.stream, self.file = Position(*known["stream"]), Position(*known["file"])
        elif self.log.trimmed() != START:
            raise EventLogError(
                f"{self.files.folder} has no {STATE}, and the stream was trimmed by an export to another folder; "
                "name that folder, or clear the stream"
            )
        # Records that are in the files and not noted: the last export died between the two.
        in_stream: Iterator[tuple[Position, bytes]] = self.log.read(self.stream)
        for place, record in self.files.read(self.file):
            position, expected = next(in_stream, (START, b""))
            if record != expected:
                raise EventLogError(
                    f"{self.files.folder} holds a record that the stream does not have there; keep one exporter"
                )
            self._note(position, place)

    def _note(self, stream: Position, file: Position) -> None:
        self.stream, self.file = stream, file
        replace_json(self.files.folder / STATE, {"stream": list(stream), "file": list(file)})

    def _trim(self) -> int:
        oldest_ms = self.log.now_ms() - int(self.keep_seconds * 1000)
        before = min(self.stream, Position(oldest_ms, 0))
        return self.log.trim(before) if before > self.log.trimmed() else 0


def _end_of(files: EventLog, after: Position) -> Position:
    """Where the last record of the files ends."""
    for position, _ in files.read(after):
        after = position
    return after
