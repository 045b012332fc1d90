"""A landed day as the events the platform would have sent, in the order of time.

events = day_events(home.landing, landed_rooms(home.landing, day), day)
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from livealign.days import end_of, midnight, partition
from livealign.errors import LandingError
from livealign.events.models import MAX_NAME, MAX_TEXT, Event
from livealign.ids import MAX_ID, hashed_id

Row = Mapping[str, Any]
Period = tuple[int, int]  # epoch milliseconds: from the first on, before the second
NOBODY = MAX_ID  # who is shown rooms on the day before: not the users of the day


class Timed(NamedTuple):
    """An event that is still to be checked, by its time."""

    at: int  # epoch milliseconds
    item: dict[str, Any]


def landed_number(event: Event) -> int:
    """The landed id that `day_events` made the event's id of."""
    return int(event.event_id.rpartition("-")[2])


def landed_rooms(landing: Path, day: date) -> dict[int, Row]:
    """The rooms that began on the day or, where it is landed, on the day before, by id; times in epoch milliseconds.

    Raises:
        LandingError: the day has not been landed.
    """
    before = day - timedelta(days=1)
    days = [before, day] if partition(landing, "rooms", before).exists() else [day]
    return {row["room_id"]: row for one in days for row in landed_rows(landing, "rooms", one).to_pylist()}


def day_events(landing: Path, rooms: Mapping[int, Row], day: date, period: Period | None = None) -> list[Timed]:
    """Everything that was landed of the day, and of the day before that of the rooms which went on over midnight.

    What was shown of those before midnight is shown to nobody in particular: their windows count as shown, and the histories
    that the day begins with know of the clicks already.

    Args:
        rooms: those of both days by id, times in epoch milliseconds; their beginnings and ends are always among the events.
        period: only what happened in rooms within it, but all changes of their titles and categories; None for all.

    Raises:
        LandingError: the day has not been landed.
    """
    first, last = midnight(day), end_of(day)
    over = {key for key, room in rooms.items() if room["started_at"] < first and (room["ended_at"] or first + 1) > first}
    found = _events(landing, rooms, day, period)
    if over and (period is None or period[0] < first):
        found += [
            _of_nobody(one) for one in _events(landing, {key: rooms[key] for key in over}, day - timedelta(days=1), period)
        ]
    changes = _changes(landing, day)
    for key, room in rooms.items():
        if key not in over and not first <= room["started_at"] < last:
            continue
        common = {"room_id": key, "author_id": room["author_id"]}
        for number, (at, texts) in enumerate(_texts(room, changes.get(key, ()))):
            name = f"change-{number}-{key}" if number else f"start-{key}"
            found.append(Timed(at, {"kind": "room_started", "event_id": name, "at": at, **common, **texts}))
        if room["ended_at"] is not None:
            ended = {"kind": "room_ended", "event_id": f"end-{key}", "at": room["ended_at"], **common}
            found.append(Timed(room["ended_at"], ended))
    return sorted(found, key=lambda one: (one.at, one.item["kind"] != "room_started", one.item["event_id"]))


def _changes(landing: Path, day: date) -> dict[int, list[Row]]:
    """The changes of title and category of the day and the day before, by room in order of time, where they have landed."""
    days = [one for one in (day - timedelta(days=1), day) if partition(landing, "room_changes", one).exists()]
    found = defaultdict(list)
    for row in (row for one in days for row in landed_rows(landing, "room_changes", one).to_pylist()):
        found[row["room_id"]].append(row)
    return {room_id: sorted(rows, key=lambda row: row["changed_at"]) for room_id, rows in found.items()}


def _texts(room: Row, changes: Sequence[Row]) -> list[tuple[int, dict[str, str]]]:
    """What the room was called from its start on, then each later change, with its time; what stays as it is has no name."""
    start = {name: room[name] for name in ("title", "category", "language")}
    told = [(room["started_at"], start)]
    for change in changes:
        new = {name: change[name] for name in ("title", "category") if change[name] is not None}
        if change["changed_at"] <= room["started_at"]:
            start |= new
        else:
            told.append((change["changed_at"], new))
    return [(at, {name: text[:MAX_NAME] for name, text in texts.items() if text is not None}) for at, texts in told]


def landed_rows(landing: Path, table: str, day: date) -> pa.Table:
    """One landed partition, its times as epoch milliseconds.

    Raises:
        LandingError: it is missing.
    """
    path = partition(landing, table, day)
    if not path.exists():
        raise LandingError(f"{path} is missing; land the day first: livealign land --days {day}")
    rows = pq.ParquetFile(path).read()
    for place, column in enumerate(rows.schema):
        if pa.types.is_timestamp(column.type):
            as_number = rows[column.name].cast(pa.timestamp("ms")).cast(pa.int64())
            rows = rows.set_column(place, column.name, as_number)
    return rows


def _events(landing: Path, rooms: Mapping[int, Row], day: date, period: Period | None) -> list[Timed]:
    """What happened in the rooms on the day, in any order."""
    requests: dict[int, str] = {}
    found: list[Timed] = []
    room_ids = pa.array(sorted(rooms), pa.int64())

    def within(rows: pa.Table, time: str) -> Sequence[Row]:
        chosen = pc.and_(pc.is_in(rows["room_id"], value_set=room_ids), pc.is_valid(rows[time]))
        if period is not None:
            chosen = pc.and_(chosen, pc.and_(pc.greater_equal(rows[time], period[0]), pc.less(rows[time], period[1])))
        return rows.filter(chosen).to_pylist()

    def add(table: str, kind: str, key: str, time: str, fields: Callable[[Row], Row], known: str = "") -> None:
        for row in within(landed_rows(landing, table, day), known or time):
            common = {name: row[name] for name in ("room_id", "author_id", "user_id") if name in row}
            item = {"kind": kind, "event_id": f"{kind}-{row[key]}", "at": row[time], **common, **fields(row)}
            found.append(Timed(row[known or time], item))

    def impression(row: Row) -> Row:
        name = row["request_id"] or f"i{row['impression_id']}"
        requests[row["impression_id"]] = name if len(name) <= 64 else f"h{hashed_id('request', name)}"
        # A place in a list for each impression: a platform may show a room twice in one.
        return {"request_id": requests[row["impression_id"]], "position": row["position"]}

    def play(row: Row) -> Row:
        source = None if row["source"] is None else row["source"][:MAX_NAME]
        return {"request_id": requests.get(row["impression_id"]), "source": source}

    add("impressions", "impression", "impression_id", "shown_at", impression)
    add("plays", "play_started", "play_id", "entered_at", play)
    for row in within(landed_rows(landing, "plays", day), "left_at"):
        common = {name: row[name] for name in ("room_id", "author_id", "user_id")}
        ends = {"kind": "play_ended", "event_id": f"left-{row['play_id']}", "at": row["left_at"], **common}
        found.append(Timed(row["left_at"], {**ends, "play_id": f"play_started-{row['play_id']}"}))
    add("comments", "comment", "comment_id", "sent_at", lambda row: {"text": _text(row), "is_bot": row["is_bot"]})
    # Speech is sent when it is over: before that nobody knows it whole.
    add(
        "speech", "speech", "speech_id", "started_at", lambda row: {"text": _text(row), "ended_at": row["ended_at"]}, "ended_at"
    )
    add("likes", "like", "action_id", "at", lambda row: {"count": row["count"]})
    add("gifts", "gift", "action_id", "at", lambda row: {"count": row["count"], "value": row["value"]})
    add("shares", "share", "action_id", "at", lambda row: {})
    add("follows", "follow", "action_id", "at", lambda row: {})
    return found


def _text(row: Row) -> str:
    """The text as an event may hold it.

    The bound of an event is that of a window's text, of which the mart `segments` and the live state keep the last
    characters (dbt: segment_text_characters): so the end of a long text is kept, and both read the same. An empty text
    becomes a space, which no text is made of either: the message still counts.
    """
    return row["text"][-MAX_TEXT:] or " "


def _of_nobody(event: Timed) -> Timed:
    """The same event without the list that it belongs to; what was shown was shown to nobody in particular."""
    item = event.item
    if item["kind"] == "impression":
        return event._replace(item={**item, "user_id": NOBODY, "request_id": None})
    return event._replace(item={**item, "request_id": None}) if item["kind"] == "play_started" else event
