"""Items from outside → events in the log, each once.

intake = EventIntake(log)
report = intake.ingest(items)        # what it accepts is on disk when it returns
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple, Protocol

from pydantic_core import from_json

from livealign.events.log import START, Log
from livealign.events.models import Event, Placed, Rejection, TimeBounds, parse_events, record_of

REMEMBERED = 1_000_000  # event ids; the sender's retries come long before as many others


class IngestReport(NamedTuple):
    """What became of one batch; the three add up to its items."""

    accepted: list[Event]  # in the log, in the order of the batch
    duplicate: int  # were in the log already
    rejected: list[Rejection]


class Receiver(Protocol):
    """Whoever keeps a state from the events. Called by one thread at a time, in the order of the log."""

    def refused(self, events: Sequence[Placed]) -> list[Rejection]:
        """Those of the batch that say nothing to the state and shall not be kept."""

    def receive(self, events: Sequence[Event]) -> None:
        """These are in the log now."""


class _Nobody:
    def refused(self, events: Sequence[Placed]) -> list[Rejection]:
        return []

    def receive(self, events: Sequence[Event]) -> None: ...


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

    def newest(self, count: int) -> list[str]:
        """The last `count` of them, oldest first."""
        return list(self._ids)[-count:]


@dataclass
class EventIntake:
    """Takes batches from any thread. A batch is judged beside the log; only duplicates, the write and the receiver wait for
    each other: while `lock` is held, the receiver knows exactly what the log holds."""

    log: Log
    clock: Callable[[], float] = time.time  # seconds since 1970
    bounds: TimeBounds = field(default_factory=TimeBounds)
    known: RecentIds = field(default_factory=RecentIds)
    receiver: Receiver = field(default_factory=_Nobody)
    lock: Lock = field(default_factory=Lock, init=False)

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
        with self.lock:
            fresh: dict[str, Placed] = {}
            for one in events:
                if one.event.event_id not in self.known:
                    fresh.setdefault(one.event.event_id, one)
            duplicate = len(events) - len(fresh)
            if refused := self.receiver.refused(list(fresh.values())):
                places = {one.place for one in refused}
                fresh = {name: one for name, one in fresh.items() if one.place not in places}
                rejected = sorted([*rejected, *refused])
            new = [one.event for one in fresh.values()]
            self.log.append([record_of(event) for event in new])
            self.known.add(fresh)
            self.receiver.receive(new)
        return IngestReport(new, duplicate, rejected)
