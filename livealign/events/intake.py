"""Validate and deduplicate a batch of events, then append it to the log.

intake = EventIntake(log)
report = intake.ingest(items)        # accepted events are on disk when it returns
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from threading import Lock
from typing import NamedTuple, Protocol

from pydantic_core import from_json

from livealign.events.log import START, Log
from livealign.events.models import Event, record_of
from livealign.events.parsing import PlacedEvent, Rejection, TimeBounds, in_bounds, parse_events

REMEMBERED = 1_000_000  # event ids; a sender retries long before that many newer events have come


class IngestReport(NamedTuple):
    """The outcome of one batch; accepted, duplicate and rejected add up to its items."""

    accepted: list[Event]  # in the log, in the order of the batch
    duplicate: int  # events that the log had already
    rejected: list[Rejection]
    late: int = 0  # of the accepted: they change no room, because their windows were closed


class Receiver(Protocol):
    """Keeps a state from the events; called by one thread at a time, in the order of the log."""

    def rejections(self, events: Sequence[PlacedEvent]) -> list[Rejection]:
        """The events of a batch that the state cannot use and the log must not keep."""

    def receive(self, events: Sequence[Event]) -> int:
        """Apply events that have just been appended to the log.

        Returns:
            How many came after their windows were closed.
        """


class _NoReceiver:
    def rejections(self, events: Sequence[PlacedEvent]) -> list[Rejection]:
        return []

    def receive(self, events: Sequence[Event]) -> int:
        return 0


class RecentIds:
    """The last `size` ids, in order of arrival; not thread-safe.

    Adding an id takes the same time for ever. (A dict that is emptied from its front does not: the search for its first key
    passes all deleted ones.)
    """

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._ids: set[str] = set()
        self._order: deque[str] = deque()  # oldest first

    def __contains__(self, event_id: str) -> bool:
        return event_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: Iterable[str]) -> None:
        """Add ids, and drop the oldest beyond `size`."""
        for event_id in ids:
            if event_id in self._ids:
                continue
            self._ids.add(event_id)
            self._order.append(event_id)
            if len(self._order) > self._size:
                self._ids.remove(self._order.popleft())

    def newest(self, count: int) -> list[str]:
        """The last `count` ids, oldest first."""
        return list(islice(self._order, max(0, len(self._order) - count), None))


@dataclass
class EventIntake:
    """Takes batches of items from any thread.

    A batch is parsed without the lock. Deduplication, the write and the receiver run under `lock`: while it is held, the
    receiver has exactly the events that the log has.
    """

    log: Log
    clock: Callable[[], float] = time.time  # seconds since 1970
    bounds: TimeBounds = field(default_factory=TimeBounds)
    recent_ids: RecentIds = field(default_factory=RecentIds)
    receiver: Receiver = field(default_factory=_NoReceiver)
    lock: Lock = field(default_factory=Lock, init=False)

    @classmethod
    def open(cls, log: Log, clock: Callable[[], float] = time.time, bounds: TimeBounds | None = None) -> "EventIntake":
        """An intake that has read the event ids of the log."""
        intake = cls(log, clock, bounds or TimeBounds())
        intake.recent_ids.add(from_json(record)["event_id"] for _, record in log.read(START))
        return intake

    def ingest(self, items: Sequence[object]) -> IngestReport:
        """Append the new events among the items to the log.

        A duplicate is on disk too when this returns.

        Raises:
            EventLogError: the log could not be written; no event of the batch was kept, and it may be sent again.
        """
        return self._take(*parse_events(items, int(self.clock() * 1000), self.bounds))

    def take(self, event: Event) -> IngestReport:
        """Append an event that the service has made itself.

        A duplicate, or one out of the bounds of time, is not appended.

        Raises:
            EventLogError: the log could not be written; the event was not kept.
        """
        return self._take(*in_bounds([(0, event)], int(self.clock() * 1000), self.bounds))

    def _take(self, events: list[PlacedEvent], rejected: list[Rejection]) -> IngestReport:
        with self.lock:
            fresh: dict[str, PlacedEvent] = {}
            for placed in events:
                if placed.event.event_id not in self.recent_ids:
                    fresh.setdefault(placed.event.event_id, placed)
            duplicate = len(events) - len(fresh)
            if unusable := self.receiver.rejections(list(fresh.values())):
                places = {rejection.place for rejection in unusable}
                fresh = {event_id: placed for event_id, placed in fresh.items() if placed.place not in places}
                rejected = sorted([*rejected, *unusable])
            new = [placed.event for placed in fresh.values()]
            self.log.append([record_of(event) for event in new])
            self.recent_ids.add(fresh)
            late = self.receiver.receive(new)
        return IngestReport(new, duplicate, rejected, late)
