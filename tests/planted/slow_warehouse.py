"""The marts computed row by row, the slow and obvious way, to compare the SQL with."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from livealign.ids import segment_id

Row = Mapping[str, Any]
WINDOW = timedelta(seconds=30)
CAP = timedelta(hours=6)
FOREVER = datetime(9999, 1, 1)


def window_of(time: datetime) -> int:
    """The window of a time: Unix seconds // 30."""
    return int(time.replace(tzinfo=UTC).timestamp() // 30)


def start_of(window: int) -> datetime:
    """The start of a window."""
    return datetime.fromtimestamp(window * 30, UTC).replace(tzinfo=None)


def session_end(play: Row, room: Row | None) -> tuple[datetime | None, datetime]:
    """The known end of a session, if any, and the end that it is taken to have."""
    ends = [end for end in (play["left_at"], room and room["ended_at"]) if end is not None]
    capped = play["entered_at"] + CAP
    stayed = max(play["entered_at"], min([*ends, capped]))
    return (None if play["left_at"] is None else stayed), stayed


def segments(rows: Mapping[str, Sequence[Row]], horizon: datetime) -> dict[tuple[int, int], dict[str, Any]]:
    """The counts of the segments mart by (room, window)."""
    made: dict[tuple[int, int], dict[str, Any]] = {}
    for room in rows["rooms"]:
        room_id, start, end = room["room_id"], room["started_at"], room["ended_at"] or FOREVER
        plays = []
        for play in rows["plays"]:
            _, stayed = session_end(play, room)
            if play["room_id"] == room_id and stayed >= start and play["entered_at"] < end:
                begin = max(play["entered_at"], start)
                plays.append((play["user_id"], begin, max(stayed, begin + timedelta(milliseconds=1))))
        likes = [row for row in rows["likes"] if row["room_id"] == room_id]
        chat = [row for row in rows["comments"] if row["room_id"] == room_id]
        speech = [row for row in rows["speech"] if row["room_id"] == room_id]
        gifts = [row for row in rows["gifts"] if row["room_id"] == room_id]
        changes = [row for row in rows["room_changes"] if row["room_id"] == room_id]
        last_instant = min(end, horizon) - timedelta(milliseconds=1)
        for window in range(window_of(start), window_of(last_instant) + 1):
            begins, ends = start_of(window), start_of(window + 1)
            present = {user for user, entered, left in plays if entered < ends and left > begins}
            at_start = {user for user, entered, left in plays if entered <= begins < left}
            at_end = {user for user, entered, left in plays if entered <= ends < left}
            here = {
                "n_viewers": len(present),
                "retention": len(at_start & at_end) / len(at_start) if at_start else None,
                "n_entered": sum(begins <= entered < ends for _, entered, _ in plays),
                "n_left": sum(begins < left <= ends for _, _, left in plays),
                "n_likes": sum(row["count"] for row in likes if begins <= row["at"] < ends),
                "n_gifts": sum(row["count"] for row in gifts if begins <= row["at"] < ends),
                "n_comments": sum(begins <= row["sent_at"] < ends and not row["is_bot"] for row in chat),
                "n_bot_comments": sum(begins <= row["sent_at"] < ends and row["is_bot"] for row in chat),
                "n_speech": sum(
                    begins <= max(row["ended_at"] - timedelta(milliseconds=1), row["started_at"]) < ends for row in speech
                ),
            }
            if any(value for name, value in here.items() if name != "retention"):
                texts = {name: _text_before(ends, room, changes, name) for name in ("title", "category")}
                made[room_id, window] = here | texts
    return made


def _text_before(time: datetime, room: Row, changes: Sequence[Row], name: str) -> str | None:
    known = [change for change in changes if change["changed_at"] < time and change.get(name) is not None]
    return max(known, key=lambda change: change["changed_at"])[name] if known else room.get(name)


def interactions(rows: Mapping[str, Sequence[Row]], horizon: datetime) -> dict[int, dict[str, Any]]:
    """Segment and labels by impression, each label with the time from which it may be known."""
    rooms = {row["room_id"]: row for row in rows["rooms"]}
    windows = defaultdict(list)
    for room_id, window in segments(rows, horizon):
        windows[room_id].append(window)
    sessions = _attributed(rows)
    made = {}
    for shown in rows["impressions"]:
        at, who = shown["shown_at"], (shown["user_id"], shown["room_id"])
        ended = [w for w in windows[shown["room_id"]] if start_of(w + 1) <= at and at - start_of(w + 1) <= CAP]
        row = {"segment_id": segment_id(shown["room_id"], max(ended)) if ended else None}
        play = sessions.get(shown["impression_id"])
        labels: dict[str, tuple[float, datetime | None]] = {}
        minute_later = at + timedelta(seconds=60)
        if play is None:
            labels = dict.fromkeys(("click", "watch_seconds", "long_view", "like", "comment", "gift"), (0, minute_later))
        else:
            entered = play["entered_at"]
            left, stayed = session_end(play, rooms.get(shown["room_id"]))
            closes = min(stayed, entered + timedelta(minutes=10))
            labels["click"] = (1, entered)
            labels["watch_seconds"] = ((stayed - entered).total_seconds(), left)
            long, minute_in = stayed - entered >= timedelta(seconds=60), entered + timedelta(seconds=60)
            known = left is not None or stayed >= horizon or not long
            labels["long_view"] = (long, minute_in if known else None)
            for name, table, time in (("like", "likes", "at"), ("comment", "comments", "sent_at"), ("gift", "gifts", "at")):
                times = [
                    action[time]
                    for action in rows[table]
                    if (action["user_id"], action["room_id"]) == who
                    and entered <= action[time] <= closes
                    and not action.get("is_bot")
                ]
                labels[name] = (1, min(times)) if times else (0, closes)
        for name, (value, known_at) in labels.items():
            observable = known_at is not None and known_at < horizon
            row[name] = value if observable else None
            row[f"{name}_known_at"] = known_at if observable else None
        made[shown["impression_id"]] = row
    return made


def vectors(rows: Mapping[str, Sequence[Row]], windows: Iterable[tuple[int, int]]) -> dict[tuple[int, int, str], list[float]]:
    """The latest vector that had ended with the window, by (room, window, source).

    Vectors of the window's day and the day before count.
    """
    made: dict[tuple[int, int, str], list[float]] = {}
    for room_id, window in windows:
        earliest = start_of(window).replace(hour=0, minute=0, second=0) - timedelta(days=1)
        ended = [
            row
            for row in rows["content_vectors"]
            if row["room_id"] == room_id and earliest <= row["ended_at"] <= start_of(window + 1)
        ]
        for row in sorted(ended, key=lambda row: row["ended_at"]):
            made[room_id, window, row["source"]] = row["vector"]
    return made


def _attributed(rows: Mapping[str, Sequence[Row]]) -> dict[int, Row]:
    """The first session of each impression."""
    first: dict[int, Row] = {}
    for play in sorted(rows["plays"], key=lambda play: (play["entered_at"], play["play_id"])):
        candidates = [
            shown
            for shown in rows["impressions"]
            if (shown["user_id"], shown["room_id"]) == (play["user_id"], play["room_id"])
            and play.get("impression_id") in (None, shown["impression_id"])
            and timedelta(0) <= play["entered_at"] - shown["shown_at"] <= timedelta(seconds=60)
        ]
        if candidates:
            nearest = max(candidates, key=lambda shown: (shown["shown_at"], -shown["impression_id"]))
            first.setdefault(nearest["impression_id"], play)
    return first
