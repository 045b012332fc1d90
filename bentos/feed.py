"""Play a landed day into a running service as if it happened now; `make demo` does.

    python -m bentos feed --day 2025-06-09 --speed 4

Every room, comment, gift … of the day is sent as an event. Its time is moved to now and, at a `--speed` above 1, compressed.
Rooms get new ids, so that a day can be played many times; users and authors keep theirs, because the models know them.
"""

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np

from livealign.client import Client, ClientError
from livealign.client_types import SentEvent
from livealign.days import midnight
from livealign.ids import hashed_id
from livealign.replay.events import Timed, day_events, landed_rooms, landed_rows

BATCH = 500  # events of one call
TURN_SECONDS = 0.5  # between calls
PATIENCE_SECONDS = 60.0  # how long the service may be down or busy
QUARTER_MS = 15 * 60_000
EVENING_MS = 20 * 60 * 60_000  # the start for a day without comments
LEAD_MS = 50 * 60_000  # a room that was live already is sent as begun at most this long ago


@dataclass(frozen=True)
class Clock:
    """The change from the day's times to the times of this replay."""

    from_ms: int  # start of the replayed part, in the day's time
    start_ms: int  # start of the replay, in real time
    speed: float

    def replayed_at(self, milliseconds: int) -> int:
        """The time of the replay for a time of the day, both in epoch milliseconds."""
        return self.start_ms + round((milliseconds - self.from_ms) / self.speed)


@dataclass(frozen=True)
class FeedReport:
    """The numbers of events that were sent, accepted and rejected."""

    sent: int
    accepted: int
    rejected: int


def busiest_quarter(landing: Path, day: date) -> datetime:
    """The day's quarter of an hour with the most comments, less five minutes.

    At that time there are rooms, and more begin.

    Raises:
        LandingError: the day is not landed.
    """
    sent_at = landed_rows(landing, "comments", day)["sent_at"].to_numpy()
    quarters, messages = np.unique(sent_at // QUARTER_MS, return_counts=True)
    start = int(quarters[messages.argmax()]) * QUARTER_MS if len(quarters) else midnight(day) + EVENING_MS
    return datetime.fromtimestamp(start / 1000, UTC) - timedelta(minutes=5)


def feed_events(landing: Path, day: date, clock: Clock, minutes: float, run: str) -> list[Timed]:
    """The events of `minutes` of the day from `clock.from_ms` on, by their new times.

    Impressions are left out: the service makes its own lists.

    Args:
        run: prefix that makes the event and room ids of this replay unique.

    Raises:
        LandingError: the day is not landed.
    """
    first, last = clock.from_ms, clock.from_ms + round(minutes * 60_000)
    rooms = {
        room_id: room
        for room_id, room in landed_rooms(landing, day).items()
        if room["started_at"] < last and (room["ended_at"] is None or room["ended_at"] > first)
    }
    events = []
    for at, item in day_events(landing, rooms, day, (first, last)):
        if item["kind"] == "impression" or at >= last:
            continue
        replayed_at = max(clock.replayed_at(at), clock.start_ms - LEAD_MS)  # only a room's beginning lies before `first`
        events.append(Timed(replayed_at, _replayed(item, clock, run)))
    return sorted(events, key=lambda event: event.at)


def _replayed(item: dict[str, Any], clock: Clock, run: str) -> dict[str, Any]:
    """A landed event with the times and ids of this replay; users and authors stay."""
    new = {name: value for name, value in item.items() if value is not None and name != "request_id"}
    new["room_id"] = hashed_id("feed", f"{run}-{item['room_id']}")
    new |= {name: f"{run}-{item[name]}" for name in ("event_id", "play_id") if name in item}
    earliest, times = clock.start_ms - LEAD_MS, [name for name in ("at", "ended_at") if name in item]
    return new | {name: max(clock.replayed_at(item[name]), earliest) for name in times}


def feed(
    url: str, key: str, landing: Path, day: date, *, speed: float = 1.0, minutes: float = 60.0, lists_per_second: float = 2.0
) -> FeedReport:
    """Play the day into the service at `url`, and ask for lists of its users meanwhile.

    Raises:
        LiveAlignError: the day is not landed, the service does not answer, or it refuses the key.
    """
    client, run = Client(url, key, timeout=30.0, patience=PATIENCE_SECONDS), secrets.token_hex(4)
    start = busiest_quarter(landing, day)
    clock = Clock(int(start.timestamp() * 1000), int(time.time() * 1000), speed)
    events = feed_events(landing, day, clock, minutes, run)
    users = sorted({event.item["user_id"] for event in events if "user_id" in event.item})
    print(
        f"{len(events):,} events of {start:%Y-%m-%d %H:%M} and {minutes:g} min, {speed:g} times as fast, to {url}", flush=True
    )
    sent, accepted, rejected, lists, printed_at = 0, 0, 0, 0, time.monotonic()
    while sent < len(events):
        now = int(time.time() * 1000)
        due = next((place for place in range(sent, len(events)) if events[place].at > now), len(events))
        for place in range(sent, due, BATCH):
            batch = [event.item for event in events[place : min(place + BATCH, due)]]
            answer = client.events(cast(list[SentEvent], batch))
            accepted, rejected = accepted + answer["accepted"], rejected + answer["rejected"]
        sent = max(sent, due)
        for _ in range(round(lists_per_second * TURN_SECONDS) if users else 0):
            try:
                client.recommend(users[lists * 7919 % len(users)], k=10, surface="feed")
            except ClientError as error:
                if error.status:
                    raise
                print(f"a list was lost: {error}", flush=True)  # a service that stays away ends the next batch of events
            lists += 1
        if time.monotonic() - printed_at > 10:
            printed_at = time.monotonic()
            print(f"{sent:,} of {len(events):,} events sent, {rejected:,} rejected, {lists:,} lists", flush=True)
        time.sleep(TURN_SECONDS)
    return FeedReport(sent, accepted, rejected)
