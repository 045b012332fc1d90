"""A landed day, played into a running service as if it happened now: what `make demo` shows on the wall.

    python -m bentos feed --day 2025-06-09 --speed 4

Every room, comment, gift … of the day becomes the event it once was, its time moved to now and, at `--speed` above 1, drawn
together. Rooms get new ids, so that a day can be played many times; users and authors stay who they are, for the models
know them.
"""

import http.client
import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb

from livealign.errors import LiveAlignError
from livealign.ids import hashed_id
from livealign.live_events import MAX_NAME, MAX_TEXT

BATCH = 500  # events of one call
TURN_SECONDS = 0.5  # between calls
PATIENCE_SECONDS = 60.0  # that the service may be away or busy
LEAD_MS = 50 * 60_000  # a room that was on already is told to have begun at most so long ago

# kind → table, time, and what else the event takes; the ids are those of the landing contract
_SOURCES = {
    "speech": ("speech", "speech_id", "started_at", "text, epoch_ms(ended_at) as ended_at"),
    "comment": ("comments", "comment_id", "sent_at", "user_id, text, is_bot"),
    "like": ("likes", "action_id", "at", "user_id, count"),
    "gift": ("gifts", "action_id", "at", "user_id, count, value"),
    "share": ("shares", "action_id", "at", "user_id"),
    "follow": ("follows", "action_id", "at", "user_id"),
    "play_started": ("plays", "play_id", "entered_at", "user_id, source"),
}

Event = dict[str, Any]


@dataclass(frozen=True)
class Clock:
    """The day's time → the time it is told as."""

    from_ms: int  # of the day
    start_ms: int  # of now
    speed: float

    def told(self, milliseconds: int) -> int:
        return self.start_ms + round((milliseconds - self.from_ms) / self.speed)


@dataclass(frozen=True)
class FeedReport:
    """What became of what was sent."""

    sent: int
    accepted: int
    rejected: int


def busiest(landing: Path, day: date) -> datetime:
    """The quarter of an hour of the day in which most was said, less five minutes: rooms are there and more begin.

    Raises:
        LiveAlignError: the day is not landed.
    """
    found = _rows(
        landing,
        "comments",
        day,
        "select time_bucket(interval 15 minute, sent_at) as quarter, count(*) as n from {table} "
        "where sent_at >= $start group by 1 order by 2 desc, 1 limit 1",
        {"start": datetime(day.year, day.month, day.day)},
    )
    quarter: datetime = found[0][0] if found else datetime(day.year, day.month, day.day, 20)
    return quarter.replace(tzinfo=UTC) - timedelta(minutes=5)


def day_events(landing: Path, day: date, clock: Clock, minutes: float, run: str) -> list[Event]:
    """The events of `minutes` of the day from `clock.from_ms` on, in the order of their new times.

    Args:
        run: makes event and room ids of this playing its own.

    Raises:
        LiveAlignError: the day is not landed.
    """
    first, last = clock.from_ms, clock.from_ms + round(minutes * 60_000)
    events: list[Event] = []
    rooms = _rows(
        landing,
        "rooms",
        day,
        "select room_id, author_id, title, category, language, epoch_ms(started_at), epoch_ms(ended_at) from {table} "
        "where epoch_ms(started_at) < $last and (ended_at is null or epoch_ms(ended_at) > $first)",
        {"first": first, "last": last},
    )
    known = {}
    for room_id, author_id, title, category, language, started, ended in rooms:
        known[room_id] = new = hashed_id("feed", f"{run}-{room_id}")
        about = {"room_id": new, "author_id": author_id}
        at = max(clock.told(started), clock.start_ms - LEAD_MS)
        given = {"title": title, "category": category, "language": language}
        names = {name: value[:MAX_NAME] for name, value in given.items() if value is not None}
        events.append({"kind": "room_started", "event_id": f"{run}-r{room_id}", "at": at, **about, **names})
        if ended is not None and ended < last:
            events.append({"kind": "room_ended", "event_id": f"{run}-e{room_id}", "at": clock.told(ended), **about})
    for kind, (table, key, time_column, fields) in _SOURCES.items():
        columns = f'{key} as id, room_id, author_id, epoch_ms("{time_column}") as "at", {fields}'
        query = f'select {columns} from {{table}} where epoch_ms("{time_column}") between $first and $last'  # noqa: S608  constants
        for row in _dicts(landing, table, day, query, {"first": first, "last": last - 1}):
            if row["room_id"] not in known:
                continue
            event = {name: value for name, value in row.items() if name != "id" and value is not None}
            event |= {"kind": kind, "event_id": f"{run}-{kind}-{row['id']}", "room_id": known[row["room_id"]]}
            event["at"] = clock.told(row["at"])
            if "ended_at" in event:
                event["ended_at"] = clock.told(event["ended_at"])
            if "text" in event:
                event["text"] = event["text"][:MAX_TEXT]
            if event.get("text") != "":
                events.append(event)
    left = 'select play_id, room_id, author_id, user_id, epoch_ms(left_at) as "at" from {table} where left_at is not null'
    for row in _dicts(landing, "plays", day, left, {}):
        if row["room_id"] in known and first <= row["at"] < last:
            about = {"room_id": known[row["room_id"]], "author_id": row["author_id"], "user_id": row["user_id"]}
            ids = {"event_id": f"{run}-left-{row['play_id']}", "play_id": f"{run}-play_started-{row['play_id']}"}
            events.append({"kind": "play_ended", "at": clock.told(row["at"]), **ids, **about})
    return sorted(events, key=lambda event: event["at"])


def feed(
    url: str, key: str, landing: Path, day: date, *, speed: float = 1.0, minutes: float = 60.0, lists_per_second: float = 2.0
) -> FeedReport:
    """Play the day into the service at `url`, and ask for lists of its users meanwhile.

    Raises:
        LiveAlignError: the day is not landed, the service is not there, or it refuses the key.
    """
    caller, run = _Caller(url, key), secrets.token_hex(4)
    start = busiest(landing, day)
    clock = Clock(int(start.timestamp() * 1000), int(time.time() * 1000), speed)
    events = day_events(landing, day, clock, minutes, run)
    users = sorted({event["user_id"] for event in events if "user_id" in event})
    print(
        f"{len(events):,} events of {start:%Y-%m-%d %H:%M} and {minutes:g} min, {speed:g} times as fast, to {url}", flush=True
    )
    sent, accepted, rejected, asked, spoke = 0, 0, 0, 0, time.monotonic()
    while sent < len(events):
        now = int(time.time() * 1000)
        due = next((place for place in range(sent, len(events)) if events[place]["at"] > now), len(events))
        for place in range(sent, due, BATCH):
            answer = caller.post("/events", {"events": events[place : min(place + BATCH, due)]})
            accepted, rejected = accepted + answer.get("accepted", 0), rejected + answer.get("rejected", 0)
        sent = max(sent, due)
        for _ in range(round(lists_per_second * TURN_SECONDS) if users else 0):
            caller.post("/recommend", {"user_id": users[asked * 7919 % len(users)], "k": 10, "surface": "feed"})
            asked += 1
        if time.monotonic() - spoke > 10:
            spoke = time.monotonic()
            print(f"{sent:,} of {len(events):,} events sent, {rejected:,} not taken, {asked:,} lists", flush=True)
        time.sleep(TURN_SECONDS)
    return FeedReport(sent, accepted, rejected)


class _Caller:
    """One connection that is made again when it breaks."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise LiveAlignError(f"{url} is no address of a service; write e.g. http://127.0.0.1:3000")
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=30)
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        self._url = url

    def post(self, path: str, body: object) -> dict[str, Any]:
        """The answer, also where nothing of a batch was taken; tries again while the service is away or busy."""
        payload, until = json.dumps(body), time.monotonic() + PATIENCE_SECONDS
        for wait in self._waits():
            try:
                self._connection.request("POST", path, payload, self._headers)
                response = self._connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                if time.monotonic() > until:
                    raise LiveAlignError(f"{self._url} does not answer ({error!r}); is the service running?") from error
            else:
                if response.status in (200, 422):
                    answer: dict[str, Any] = json.loads(content)
                    return answer
                if response.status not in (429, 503) or time.monotonic() > until:
                    said = content[:300].decode(errors="replace")
                    raise LiveAlignError(f"{self._url}{path} answered {response.status}: {said}")
            time.sleep(wait)
        raise AssertionError("waits never end")

    @staticmethod
    def _waits() -> Iterator[float]:
        wait = 0.2
        while True:
            yield wait
            wait = min(5.0, wait * 2)


def _rows(landing: Path, table: str, day: date, query: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in _dicts(landing, table, day, query, parameters)]


def _dicts(landing: Path, table: str, day: date, query: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the day's partition and the one before, which holds the rooms that began there; none where there is no table."""
    if not (files := _files(landing, table, day)):
        return []
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.read_parquet(files).create_view("source")
        found = connection.execute(query.format(table="source"), parameters)
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _files(landing: Path, table: str, day: date) -> list[str]:
    days = (day - timedelta(days=1), day)
    files = [str(file) for one in days for file in sorted((landing / table / f"dt={one}").glob("*.parquet"))]
    if not files and table == "rooms":
        raise LiveAlignError(f"{landing / table} has no day {day}; land it first, or choose another with --day")
    return files
