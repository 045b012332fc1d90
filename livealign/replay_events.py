"""A landed day → the events that the platform would have sent, in the order of time."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from livealign.errors import LandingError
from livealign.ids import MAX_ID, hashed_id
from livealign.live_events import MAX_NAME, MAX_TEXT, Event

Row = Mapping[str, Any]
NOBODY = MAX_ID  # who is shown rooms on the day before: not the users of the day


class Timed(NamedTuple):
    """An event that is still to be checked, by its time."""

    at: int  # epoch milliseconds
    item: dict[str, Any]


def landed_number(event: Event) -> int:
    """The landed id that `day_events` made the event's id of."""
    return int(event.event_id.rpartition("-")[2])


def day_events(landing: Path, rooms: Mapping[int, Row], day: date) -> list[Timed]:
    """Everything that was landed of the day, and of the day before that of the rooms which went on over midnight.

    What was shown of those before midnight is shown to nobody in particular: their windows count as shown, and the histories
    that the day begins with know of the clicks already.

    Args:
        rooms: those of both days by id, times in epoch milliseconds.

    Raises:
        LandingError: the day has not been landed.
    """
    before = day - timedelta(days=1)
    midnight = _midnight(day)
    over = {
        key for key, room in rooms.items() if room["started_at"] < midnight and (room["ended_at"] or midnight + 1) > midnight
    }
    found = _events(landing, rooms, day, None)
    if over:
        found += _events(landing, {key: rooms[key] for key in over}, before, over)
    for key, room in rooms.items():
        if key not in over and not midnight <= room["started_at"] < midnight + 86_400_000:
            continue
        common = {"room_id": key, "author_id": room["author_id"]}
        texts = {name: None if room[name] is None else room[name][:MAX_NAME] for name in ("title", "category", "language")}
        started = {"kind": "room_started", "event_id": f"start-{key}", "at": room["started_at"], **common, **texts}
        found.append(Timed(room["started_at"], started))
        if room["ended_at"] is not None:
            ended = {"kind": "room_ended", "event_id": f"end-{key}", "at": room["ended_at"], **common}
            found.append(Timed(room["ended_at"], ended))
    return sorted(found, key=lambda one: (one.at, one.item["kind"] != "room_started", one.item["event_id"]))


def _events(landing: Path, rooms: Mapping[int, Row], day: date, only: set[int] | None) -> list[Timed]:
    requests: dict[int, str] = {}
    found: list[Timed] = []

    def add(table: str, kind: str, key: str, time: str, fields: Callable[[Row], dict[str, Any]]) -> None:
        for row in _rows(landing, table, day):
            if row["room_id"] in rooms:
                at = row[time]
                common = {name: row[name] for name in ("room_id", "author_id", "user_id") if name in row}
                item = {"kind": kind, "event_id": f"{kind}-{row[key]}", "at": at, **common, **fields(row)}
                found.append(Timed(at, item))

    def impression(row: Row) -> dict[str, Any]:
        name = row["request_id"] or f"i{row['impression_id']}"
        requests[row["impression_id"]] = name if len(name) <= 64 else f"h{hashed_id('request', name)}"
        # A place in a list for each impression: a platform may show a room twice in one.
        told = {"request_id": requests[row["impression_id"]], "position": row["position"]}
        return told if only is None else {**told, "user_id": NOBODY, "request_id": None}

    def play(row: Row) -> dict[str, Any]:
        return {"request_id": requests.get(row["impression_id"]) if only is None else None}

    add("impressions", "impression", "impression_id", "shown_at", impression)
    add("plays", "play_started", "play_id", "entered_at", play)
    for row in _rows(landing, "plays", day):
        if row["room_id"] in rooms and row["left_at"] is not None:
            common = {name: row[name] for name in ("room_id", "author_id", "user_id")}
            ends = {"kind": "play_ended", "event_id": f"left-{row['play_id']}", "at": row["left_at"], **common}
            found.append(Timed(row["left_at"], {**ends, "play_id": f"play_started-{row['play_id']}"}))
    add(
        "comments",
        "comment",
        "comment_id",
        "sent_at",
        lambda row: {"text": row["text"][-MAX_TEXT:] or " ", "is_bot": row["is_bot"]},
    )
    add(
        "speech",
        "speech",
        "speech_id",
        "started_at",
        lambda row: {"text": row["text"][-MAX_TEXT:] or " ", "ended_at": row["ended_at"]},
    )
    add("likes", "like", "action_id", "at", lambda row: {"count": row["count"]})
    add("gifts", "gift", "action_id", "at", lambda row: {"count": row["count"], "value": row["value"]})
    add("shares", "share", "action_id", "at", lambda row: {})
    add("follows", "follow", "action_id", "at", lambda row: {})
    # Speech is told when it is over.
    return [Timed(item["ended_at"], item) if item["kind"] == "speech" else Timed(at, item) for at, item in found]


def _end(row: Row) -> dict[str, Any]:
    return {"ended_at": row["ended_at"]}


def _rows(landing: Path, table: str, day: date) -> list[Row]:
    """Rows of one landed partition, times as epoch milliseconds."""
    path = landing / table / f"dt={day.isoformat()}" / "part-0.parquet"
    if not path.exists():
        raise LandingError(f"{path} is missing; land the day first: livealign land --days {day}")
    read = pq.ParquetFile(path).read()
    for place, column in enumerate(read.schema):
        if pa.types.is_timestamp(column.type):
            as_number = read[column.name].cast(pa.timestamp("ms")).cast(pa.int64())
            read = read.set_column(place, column.name, as_number)
    return read.to_pylist()


def _midnight(day: date) -> int:
    return (day - date(1970, 1, 1)).days * 86_400_000
