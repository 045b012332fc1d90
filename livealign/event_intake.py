"""Items from outside → events in the log, each once.

intake = EventIntake.open(log)
report = intake.ingest(items)        # what it accepts is on disk when it returns
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple

from pydantic_core import from_json

from livealign.event_log import START, Log
from livealign.live_events import Event, Rejection, TimeBounds, parse_events, record_of

REMEMBERED = 1_000_000  # event ids; the sender's retries come long before as many others


class IngestReport(NamedTuple):
    """What became of one batch; the three add up to its items."""

    accepted: list[Event]  # in the log, in the order of the batch
    duplicate: int  # were in the log already
    rejected: list[Rejection]


class RecentIds:
    """The last `size` ids, in order of arrival. Not for two threads at once."""

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._ids: dict[str, None] = {}

    def __contains__(self, one: str) -> bool:
        return one in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: Iterable[str]) -> None:
        """Remember them, and forget the oldest where there are too many."""
        self._ids.update(dict.fromkeys(ids))
        while len(self._ids) > self._size:
            del self._ids[next(iter(self._ids))]


@dataclass
class EventIntake:
    """Takes batches from any thread. A batch is judged beside the log; only duplicates and the write wait for each other."""

    log: Log
    clock: Callable[[], float] = time.time  # seconds since 1970
    bounds: TimeBounds = field(default_factory=TimeBounds)
    known: RecentIds = field(default_factory=RecentIds)
    _lock: Lock = field(default_factory=Lock, init=False)

    @classmethod
    def open(cls, log: Log, clock: Callable[[], float] = time.time, bounds: TimeBounds | None = None) -> "EventIntake":
        """An intake that knows the ids that the log holds."""
        intake = cls(log, clock, bounds or TimeBounds())
        intake.known.add(from_json(record)["event_id"] for _, record in log.read(START))
        return intake

    def ingest(self, items: Sequence[object]) -> IngestReport:
        """Keep the events among the items that are not known yet. An event that is counted as a duplicate is on disk too.

        Raises:
            EventLogError: the log could not be written; nothing of the batch was kept, and it may be sent again.
        """
        events, rejected = parse_events(items, int(self.clock() * 1000), self.bounds)
        with self._lock:
            fresh: dict[str, Event] = {}
            for event in events:
                if event.event_id not in self.known:
                    fresh.setdefault(event.event_id, event)
            new = list(fresh.values())
            self.log.append([record_of(event) for event in new])
            self.known.add(event.event_id for event in new)
        return IngestReport(new, len(events) - len(new), rejected)
