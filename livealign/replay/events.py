"""A landed day as the events the platform would have sent.

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
OTHER_USER = MAX_ID  # stands for the users of the day before


class Timed(NamedTuple):
    """An event as an unvalidated item, with its time."""

    at: int  # epoch milliseconds
    item: dict[str, Any]


def landed_number(event: Event) -> int:
    """The landed id in an event id that `day_events` made."""
    return int(event.event_id.rpartition("-")[2])


def landed_rooms(landing: Path, day: date) -> dict[int, Row]:
    """The rooms that began on a day or the day before, by id; times in epoch milliseconds.

    The day before is left out if it was not landed.

    Raises:
        LandingError: the day has not been landed.
    """
    before = day - timedelta(days=1)
    days = [before, day] if partition(landing, "rooms", before).exists() else [day]
    return {row["room_id"]: row for rooms_day in days for row in landed_rows(landing, "rooms", rooms_day).to_pylist()}


def day_events(landing: Path, rooms: Mapping[int, Row], day: date, period: Period | None = None) -> list[Timed]:
    """All landed events of a day by time, with yesterday's of the rooms live at midnight.

    Impressions before midnight are shown to `OTHER_USER`: the windows then count as shown, and the users' clicks are in the
    day's first histories already.

    Args:
        rooms: the rooms of both days by id, times in epoch milliseconds; their starts and ends are always among the events.
        period: only events in rooms within it, but all changes of their titles and categories; None for all.

    Raises:
        LandingError: the day has not been landed.
    """
    first, last = midnight(day), end_of(day)
    over_midnight = _live_at(rooms, first)
    events = _events(landing, rooms, day, period)
    if over_midnight and (period is None or period[0] < first):
        yesterday = _events(landing, over_midnight, day - timedelta(days=1), period)
        events += [_without_list(event) for event in yesterday]
    changes = _changes(landing, day)
    for key, room in rooms.items():
        if key not in over_midnight and not first <= room["started_at"] < last:
            continue
        common = {"room_id": key, "author_id": room["author_id"]}
        for number, (at, texts) in enumerate(_texts(room, changes.get(key, ()))):
            name = f"change-{number}-{key}" if number else f"start-{key}"
            events.append(Timed(at, {"kind": "room_started", "event_id": name, "at": at, **common, **texts}))
        if room["ended_at"] is not None:
            ended = {"kind": "room_ended", "event_id": f"end-{key}", "at": room["ended_at"], **common}
            events.append(Timed(room["ended_at"], ended))
    return sorted(events, key=lambda event: (event.at, event.item["kind"] != "room_started", event.item["event_id"]))


def day_frames(landing: Path, rooms: Mapping[int, Row], day: date) -> list[Timed]:
    """The landed pictures of the rooms on the day by time.

    Those of the day before are among them for the rooms live at midnight. `path` is relative to the landing folder. A batch of
    events may hold none: each is sent by itself (`LiveCore.frame`).

    Raises:
        LandingError: the day has not been landed.
    """
    over_midnight, before = _live_at(rooms, midnight(day)), day - timedelta(days=1)
    wanted = [(day, rooms)]
    if over_midnight and partition(landing, "frames", before).exists():
        wanted.append((before, over_midnight))
    frames = [
        Timed(row["at"], {"kind": "frame", **row})
        for landed, known in wanted
        for row in landed_rows(landing, "frames", landed).to_pylist()
        if row["room_id"] in known
    ]
    return sorted(frames, key=lambda frame: (frame.at, frame.item["room_id"]))


def _live_at(rooms: Mapping[int, Row], at: int) -> dict[int, Row]:
    """The rooms that began before this time and ended after it, or not at all."""
    return {key: room for key, room in rooms.items() if room["started_at"] < at and (room["ended_at"] or at + 1) > at}


def _changes(landing: Path, day: date) -> dict[int, list[Row]]:
    """The landed changes of title and category of the day and the day before, by room in order of time."""
    days = [landed for landed in (day - timedelta(days=1), day) if partition(landing, "room_changes", landed).exists()]
    by_room = defaultdict(list)
    for row in (row for landed in days for row in landed_rows(landing, "room_changes", landed).to_pylist()):
        by_room[row["room_id"]].append(row)
    return {room_id: sorted(rows, key=lambda row: row["changed_at"]) for room_id, rows in by_room.items()}


def _texts(room: Row, changes: Sequence[Row]) -> list[tuple[int, dict[str, str]]]:
    """The room's names from its start on, then each later change, with its time; what stays as it is has no name."""
    start = {name: room[name] for name in ("title", "category", "language")}
    named = [(room["started_at"], start)]
    for change in changes:
        new = {name: change[name] for name in ("title", "category") if change[name] is not None}
        if change["changed_at"] <= room["started_at"]:
            start |= new
        else:
            named.append((change["changed_at"], new))
    return [(at, {name: text[:MAX_NAME] for name, text in texts.items() if text is not None}) for at, texts in named]


def landed_rows(landing: Path, table: str, day: date) -> pa.Table:
    """One landed partition with its times as epoch milliseconds.

    Raises:
        LandingError: the partition is missing.
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
    """The landed events of the rooms on the day, in any order."""
    requests: dict[int, str] = {}
    events: list[Timed] = []
    room_ids = pa.array(sorted(rooms), pa.int64())

    def within(rows: pa.Table, time: str) -> Sequence[Row]:
        chosen = pc.and_(pc.is_in(rows["room_id"], value_set=room_ids), pc.is_valid(rows[time]))
        if period is not None:
            chosen = pc.and_(chosen, pc.and_(pc.greater_equal(rows[time], period[0]), pc.less(rows[time], period[1])))
        return rows.filter(chosen).to_pylist()

    def add(table: str, kind: str, key: str, time: str, fields: Callable[[Row], Row], known_at: str = "") -> None:
        for row in within(landed_rows(landing, table, day), known_at or time):
            common = {name: row[name] for name in ("room_id", "author_id", "user_id") if name in row}
            item = {"kind": kind, "event_id": f"{kind}-{row[key]}", "at": row[time], **common, **fields(row)}
            events.append(Timed(row[known_at or time], item))

    def impression(row: Row) -> Row:
        name = row["request_id"] or f"i{row['impression_id']}"
        requests[row["impression_id"]] = name if len(name) <= 64 else f"h{hashed_id('request', name)}"
        # The position keeps impressions apart: a platform may show a room twice in one list.
        return {"request_id": requests[row["impression_id"]], "position": row["position"]}

    def play(row: Row) -> Row:
        source = None if row["source"] is None else row["source"][:MAX_NAME]
        return {"request_id": requests.get(row["impression_id"]), "source": source}

    add("impressions", "impression", "impression_id", "shown_at", impression)
    add("plays", "play_started", "play_id", "entered_at", play)
    for row in within(landed_rows(landing, "plays", day), "left_at"):
        common = {name: row[name] for name in ("room_id", "author_id", "user_id")}
        ends = {"kind": "play_ended", "event_id": f"left-{row['play_id']}", "at": row["left_at"], **common}
        events.append(Timed(row["left_at"], {**ends, "play_id": f"play_started-{row['play_id']}"}))
    add("comments", "comment", "comment_id", "sent_at", lambda row: {"text": _text(row), "is_bot": row["is_bot"]})
    # Speech is sent when it is over: it is not known in full before.
    add(
        "speech", "speech", "speech_id", "started_at", lambda row: {"text": _text(row), "ended_at": row["ended_at"]}, "ended_at"
    )
    add("likes", "like", "action_id", "at", lambda row: {"count": row["count"]})
    add("gifts", "gift", "action_id", "at", lambda row: {"count": row["count"], "value": row["value"]})
    add("shares", "share", "action_id", "at", lambda row: {})
    add("follows", "follow", "action_id", "at", lambda row: {})
    return events


def _text(row: Row) -> str:
    """The text as an event may hold it.

    The bound of an event is that of a window's text, of which the mart `segments` and the live state keep the last
    characters (dbt: segment_text_characters). So the end of a long text is kept, and both read the same. An empty text becomes
    a space, which adds nothing to the window's text either: the message still counts.
    """
    return row["text"][-MAX_TEXT:] or " "


def _without_list(event: Timed) -> Timed:
    """The event without its list; an impression becomes one of `OTHER_USER`."""
    item = event.item
    if item["kind"] == "impression":
        return event._replace(item={**item, "user_id": OTHER_USER, "request_id": None})
    return event._replace(item={**item, "request_id": None}) if item["kind"] == "play_started" else event
