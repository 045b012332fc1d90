"""The event log of the service (`livealign.events.log`) → landing tables.

    <archive>/events-00000001.log …      closed files only

An event lands under the day of its own time, whichever file it lies in: the end of a room or a play is often in a later one. A
play belongs to the impression of its request, room and user. A room that is sent to start again, later, has changed: its title
and category are a row of `room_changes`. A list that the service showed is a row of `lists`; the country of its request's
context is that of the viewer. Ids of rooms and people are as
they were sent: the service speaks the ids of the landed data already, keyed hashes where a key was set. Ids of events are
hashes of the sender's.

Rejected here: `damaged_record` (the checksum does not fit), `unknown_event` (a record that is no event of
`livealign.events.models`) and `deleted_user` (an event of a user before their tombstone).
"""

from base64 import b64decode
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from livealign.days import DAY_MS, EPOCH
from livealign.errors import ArchiveError
from livealign.events.log_files import CLOSED, OPEN, log_files, read_lines
from livealign.events.models import (
    Event,
    Frame,
    ImpressionShown,
    ListShown,
    PlayEnded,
    PlayStarted,
    Record,
    RoomEnded,
    RoomHidden,
    RoomStarted,
    RoomUnhidden,
    Speech,
    UserDeleted,
    deleted_key,
    event_of,
)
from livealign.formats import FOLDER_FORMAT
from livealign.ids import hashed_id
from livealign.landing.run import LandingRun, Progress
from livealign.platforms.picture_files import BATCH_PICTURES

BATCH_ROWS = 131_072

# kind → table, the name that the table has for `event_id` and for `at`, and the fields that it takes as they are
_ACTIONS = {
    "comment": ("comments", "comment_id", "sent_at", ("user_id", "text", "is_bot")),
    "like": ("likes", "action_id", "at", ("user_id", "count")),
    "gift": ("gifts", "action_id", "at", ("user_id", "count", "value")),
    "share": ("shares", "action_id", "at", ("user_id",)),
    "follow": ("follows", "action_id", "at", ("user_id",)),
    "speech": ("speech", "speech_id", "started_at", ("ended_at", "text")),
    "impression": (
        "impressions",
        "impression_id",
        "shown_at",
        ("user_id", "position", "surface", "request_id", "score", "model_version"),
    ),
    "play_started": ("plays", "play_id", "entered_at", ("user_id", "source")),
}
_OF_A_LIST = (
    "user_id",
    "request_id",
    "release",
    "experiment",
    "challenger",
    "share",
    "rooms",
    "propensities",
    "language",
    "country",
)
_TABLE_OF = {"list_shown": "lists"} | {kind: table for kind, (table, *_) in _ACTIONS.items()}  # of a rejected event


class EventCount(NamedTuple):
    """The events, damaged lines and days of the closed files."""

    events: int
    damaged: int  # lines that are no event
    days: list[date]  # of the events, sorted


class _Read(NamedTuple):
    """One line of the log; `event` is None where it cannot be read, for `reason`."""

    file: str
    line: int
    event: Record | None
    reason: str


@dataclass
class _Rows:
    """Rows of one table, with the file and line of each."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    places: list[tuple[str, int]] = field(default_factory=list)


_People = dict[tuple[str, int, int], dict[str, Any]]  # the row of each person: (table, id, day) → row


@dataclass
class _Ends:
    """The facts that other events add to a room or a play."""

    starts: dict[int, int] = field(default_factory=dict)  # by room; a later start is a change
    of_room: dict[int, int] = field(default_factory=dict)
    of_play: dict[str, int] = field(default_factory=dict)  # by the event id of its start
    impressions: dict[tuple[str, int, int], int] = field(default_factory=dict)  # (request, room, user) → impression


def recognises(archive: Path) -> bool:
    """Whether there is a file of an event log."""
    return any(archive.glob("events-*.log"))


def notes(archive: Path) -> list[str]:
    """The notes that a user should read before landing."""
    return ["what the service received and what it showed; the file that it still writes to is not read"]


def ignored(archive: Path, relative_path: str) -> bool:
    """Whether a file is the log's own: its lock, its open file, the progress of an export."""
    return relative_path in ("lock", "exported.json") or relative_path.endswith(OPEN)


def count_events(archive: Path) -> EventCount:
    """Read every closed file once.

    Raises:
        ArchiveError: there is none.
    """
    events, damaged, days = 0, 0, set[int]()
    for record in _read(archive):
        if record.event is None:
            damaged += 1
        else:
            events += 1
            days.add(record.event.at // DAY_MS)
    return EventCount(events, damaged, _days(days))


def archive_days(archive: Path) -> list[date]:
    """All days of which the closed files hold an event, sorted.

    Raises:
        ArchiveError: there is none.
    """
    return count_events(archive).days


def days_of_file(path: Path) -> list[date]:
    """All days of which one closed file holds an event, sorted."""
    return _days({record.event.at // DAY_MS for record in _read_file(path) if record.event is not None})


def land_days(archive: Path, run: LandingRun, days: Sequence[date], progress: Progress | None = None) -> None:
    """Hand every event of the days to the run.

    Raises:
        ArchiveError: there is no closed file.
    """
    wanted = {(day - EPOCH).days for day in days}
    tables: dict[str, _Rows] = defaultdict(_Rows)
    people: _People = {}
    ends, day, deleted = _Ends(), None, _deletions(archive)
    total, done, file = len(closed_files(archive)), 0, ""
    run.used(FOLDER_FORMAT)
    for record in _read(archive):
        if record.file != file:
            file = record.file
            run.used(file)
            if progress:
                progress(done, total)
            done += 1
        if record.event is None:
            run.reject("comments", record.file, record.line, record.reason, "what table it is of cannot be known", day=day)
            continue
        event, number = record.event, record.event.at // DAY_MS
        if isinstance(event, UserDeleted):
            continue
        day = EPOCH + timedelta(days=number)
        if _is_deleted(event, deleted):
            if number in wanted:
                table = _TABLE_OF.get(event.kind, "plays")
                run.reject(table, record.file, record.line, "deleted_user", "the user was deleted later", day=day)
            continue
        _note_end(event, ends)
        if number not in wanted:
            continue
        _add_people(event, number, record, people, tables)
        name, row = _row(event)
        if name is not None:
            _add(tables[name], row, record.file, record.line)
            # Rooms and plays wait for their ends, viewers for their country.
            most = BATCH_PICTURES if name == "frames" else BATCH_ROWS
            if name not in ("rooms", "plays", "users") and len(tables[name].rows) >= most:
                _flush(name, tables.pop(name), run)
    _join(tables, ends)
    for name, rows in tables.items():
        _flush(name, rows, run)
    if progress:
        progress(total, total)


def _deletions(archive: Path) -> dict[int, int]:
    """The tombstones of the closed files: hashed key of a user → the latest deletion."""
    deleted: dict[int, int] = {}
    for path in closed_files(archive):
        for line in read_lines(path):
            if line.payload is not None and b'"user_deleted"' in line.payload:
                record = event_of(line.payload)
                if isinstance(record, UserDeleted):
                    deleted[record.user_key] = max(record.at, deleted.get(record.user_key, 0))
    return deleted


def _is_deleted(event: Event | ListShown, deleted: dict[int, int]) -> bool:
    """Whether an event is of a user who was deleted after it."""
    user_id = getattr(event, "user_id", None) if deleted else None
    return user_id is not None and event.at <= deleted.get(deleted_key(user_id), -1)


def _note_end(event: Event | ListShown, ends: _Ends) -> None:
    match event:
        case RoomStarted():
            ends.starts[event.room_id] = min(event.at, ends.starts.get(event.room_id, event.at))
        case RoomEnded():
            ends.of_room.setdefault(event.room_id, event.at)
        case PlayEnded():
            ends.of_play.setdefault(event.play_id, event.at)
        case ImpressionShown(request_id=str(request)):
            key = (request, event.room_id, event.user_id)
            ends.impressions.setdefault(key, hashed_id("impression", event.event_id))


def _add_people(event: Event | ListShown, day: int, record: _Read, people: _People, tables: dict[str, _Rows]) -> None:
    """The first sight of a person on a day is a row of that person.

    A viewer's country is that of the day's last list whose request gave it.
    """
    found = [] if isinstance(event, ListShown) else [("authors", "author_id", event.author_id)]
    if not isinstance(event, RoomStarted | RoomEnded | Speech | RoomHidden | RoomUnhidden | Frame):
        found.append(("users", "user_id", event.user_id))
    for name, key, person in found:
        if (name, person, day) not in people:
            of_viewer = {"country": None} if name == "users" else {}
            people[name, person, day] = {key: person, "observed_at": event.at, **of_viewer}
            _add(tables[name], people[name, person, day], record.file, record.line)
    if isinstance(event, ListShown) and event.country is not None:
        people["users", event.user_id, day]["country"] = event.country


def _row(event: Event | ListShown) -> tuple[str | None, dict[str, Any]]:
    """The table and row that an event becomes; the ends of rooms and plays are no rows."""
    if isinstance(event, RoomStarted):
        names = ("room_id", "author_id", "title", "category", "language")
        return "rooms", {**{name: getattr(event, name) for name in names}, "started_at": event.at}
    if isinstance(event, Frame):
        return "frames", {"room_id": event.room_id, "at": event.at, "path": None, "bytes": b64decode(event.picture)}
    if isinstance(event, ListShown):
        row = {name: getattr(event, name) for name in _OF_A_LIST}
        return "lists", row | {"list_id": hashed_id("list", event.event_id), "shown_at": event.at}
    if event.kind not in _ACTIONS:
        return None, {}
    table, key, time, fields = _ACTIONS[event.kind]
    row = {name: getattr(event, name) for name in ("room_id", "author_id", *fields)}
    row |= {key: hashed_id(event.kind, event.event_id), time: event.at}
    if isinstance(event, PlayStarted):  # replaced by what `_join` finds
        row |= {"left_at": event.event_id, "impression_id": (event.request_id, event.room_id, event.user_id)}
    return table, row


def _join(tables: dict[str, _Rows], ends: _Ends) -> None:
    started = tables.pop("rooms", _Rows())
    for row, (file, line) in zip(started.rows, started.places, strict=True):
        if row["started_at"] <= ends.starts[row["room_id"]]:
            _add(tables["rooms"], row, file, line)
        elif row["title"] is not None or row["category"] is not None:
            change = {name: row[name] for name in ("room_id", "title", "category")}
            _add(tables["room_changes"], change | {"changed_at": row["started_at"]}, file, line)
    for row in tables["rooms"].rows:
        row["ended_at"] = ends.of_room.get(row["room_id"])
    for row in tables["plays"].rows:
        # A play whose end was not sent lasts until the room's end; an end before the entry is ignored.
        left = ends.of_play.get(row["left_at"], ends.of_room.get(row["room_id"]))
        row["left_at"] = left if left is not None and left >= row["entered_at"] else None
        row["impression_id"] = ends.impressions.get(row["impression_id"])


def _add(rows: _Rows, row: dict[str, Any], file: str, line: int) -> None:
    rows.rows.append(row)
    rows.places.append((file, line))


def _flush(name: str, rows: _Rows, run: LandingRun) -> None:
    """Hand the rows on, file by file."""
    start = 0
    while start < len(rows.rows):
        file = rows.places[start][0]
        end = next((i for i in range(start, len(rows.rows)) if rows.places[i][0] != file), len(rows.rows))
        lines = [line for _, line in rows.places[start:end]]
        run.add(name, pa.Table.from_pylist(rows.rows[start:end]), file, lines=lines)
        start = end


def _days(epoch_days: set[int]) -> list[date]:
    return [EPOCH + timedelta(days=day) for day in sorted(epoch_days)]


def _read(archive: Path) -> Iterator[_Read]:
    for path in closed_files(archive):
        yield from _read_file(path)


def _read_file(path: Path) -> Iterator[_Read]:
    for line in read_lines(path):
        if line.payload is None:
            yield _Read(path.name, line.number, None, "damaged_record")
            continue
        try:
            yield _Read(path.name, line.number, event_of(line.payload), "")
        except ValueError:
            yield _Read(path.name, line.number, None, "unknown_event")


def closed_files(archive: Path) -> list[Path]:
    """The closed files of a log, oldest first.

    Raises:
        ArchiveError: there is none.
    """
    files = [path for path in log_files(archive) if path.suffix == CLOSED]
    if not files:
        raise ArchiveError(f"{archive} holds no closed file of an event log (events-*{CLOSED}); give the service's log folder")
    return files
