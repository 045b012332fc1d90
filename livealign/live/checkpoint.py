"""The live state as one file, so that a start reads the events after it and not the whole log.

An npz without pickle: numpy columns, and JSON for what is text. It is written whole or not at all and carries checksums
(zip); a file that cannot be read is not used, for the log can give everything again.
"""

import io
import json
import zipfile
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.config import LiveConfig
from livealign.dataset.features import AUTHOR_COUNTS, USER_COUNTS
from livealign.dataset.recent_content import RecentContent
from livealign.dataset.room_outcomes import RoomOutcomes
from livealign.errors import LiveAlignError
from livealign.events.intake import RecentIds
from livealign.events.log import Position
from livealign.files import replace_bytes
from livealign.live.startup import LONG_VIEW_MS, SESSION_CAP_MS
from livealign.live.state.counts import RunningCounts
from livealign.live.state.moments import AuthorMoments, Moments
from livealign.live.state.room_texts import RoomText, RoomTexts
from livealign.live.state.sessions import Sessions
from livealign.live.state.state import ClosedWindow, CodedMoment, LiveRoom, LiveState, RoomContent
from livealign.live.state.users import Users
from livealign.live.state.windows import OpenWindow, Said
from livealign.llm.segment_text import Moment

_FORMAT = "livealign-live-state-3"
_IDS = 200_000  # newest event ids that are kept; senders repeat what is minutes old


class Kept(NamedTuple):
    """A state as it was."""

    state: LiveState
    release_id: str
    position: Position  # of the log, up to which everything is in the state
    event_ids: list[str]


def snapshot_of(state: LiveState, release_id: str, position: Position, known: RecentIds) -> dict[str, NDArray]:
    """The state as arrays. Held still while it is copied; nothing is written yet."""
    with state.lock:
        rooms = sorted(state.rooms.values(), key=lambda room: room.row)
        since = state.clock - int(60_000 * state.config.seen_minutes)
        arrays = {
            **_named("moments", state.moments.arrays()),
            **_named("users", state.users.arrays(since)),
            **_named("sessions", state.sessions.table.arrays()),
            **_named("rooms", state.table.arrays()),
        }
        about: dict[str, Any] = {
            "format": _FORMAT,
            "release_id": release_id,
            "position": list(position),
            "window_ms": state.window_ms,
            "closed_until": state.closed_until,
            "clock": state.clock,
            "dim": state.moments.dim,
            "levels": state.moments.levels,
            "history_length": state.users.history_length,
            "plays": list(state.sessions.names),
            "user_counts": _counts_told(state.user_counts),
            "author_counts": _counts_told(state.author_counts),
            "outcomes": state.outcomes.told(),
        }
        told_rooms = [_room_told(room) for room in rooms]
        contents = [room.content for room in rooms]
        open_windows = [
            [window, room_id, _open_told(one)] for window, by_room in state.open.items() for room_id, one in by_room.items()
        ]
    hidden = next((len(one.vector) for one in contents if one is not None), 0)
    parts = np.zeros((len(contents), 3, hidden), dtype=np.float32)
    for row, content in enumerate(contents):
        if content is not None:
            parts[row, 0], parts[row, 1] = content.vector, content.average.average
            if content.before is not None:
                parts[row, 2] = content.before.average
    arrays["contents"] = parts
    for name, values in (
        ("about", [about]),
        ("told", told_rooms),
        ("open", open_windows),
        ("event_ids", known.newest(_IDS)),
    ):
        arrays[f"json.{name}"] = _json_lines(values)
    return arrays


def write_checkpoint(path: Path, arrays: Mapping[str, NDArray]) -> None:
    """Write the file whole.

    Raises:
        OSError: the disk does not let it; the old file stays.
    """
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **arrays)
    replace_bytes(path, out.getvalue())


def read_checkpoint(path: Path, config: LiveConfig, author_moments: AuthorMoments) -> Kept:
    """The state that the file holds.

    Raises:
        LiveAlignError: the file is damaged, or of another version.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return _restored(arrays, config, author_moments)
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise LiveAlignError(
            f"{path} is no checkpoint that can be read ({error!r}); it is not used, and the log is read from its beginning"
        ) from error


def _restored(arrays: Mapping[str, NDArray], config: LiveConfig, author_moments: AuthorMoments) -> Kept:
    (about,) = _lines(arrays, "about")
    if about["format"] != _FORMAT:
        raise ValueError(f"format {about['format']!r}")
    moments = Moments(about["dim"], about["levels"], author_moments)
    moments.restore(_part(arrays, "moments"))
    users = Users(about["history_length"], config.seen_rooms, config.max_users)
    users.restore(_part(arrays, "users"))
    sessions = Sessions(about["window_ms"], SESSION_CAP_MS, LONG_VIEW_MS)
    sessions.restore(_part(arrays, "sessions"), about["plays"])
    state = LiveState(
        config,
        moments,
        users,
        sessions,
        _counts_of(about["user_counts"], len(USER_COUNTS)),
        _counts_of(about["author_counts"], len(AUTHOR_COUNTS)),
        about["window_ms"],
        about["clock"],
    )
    state.closed_until = about["closed_until"]
    state.outcomes = RoomOutcomes.of(about["outcomes"])
    for told, parts in zip(_lines(arrays, "told"), arrays["contents"], strict=True):
        _restore_room(state, told, parts)
    for name, column in _part(arrays, "rooms").items():
        state.table[name][:] = column
    for window, room_id, one in _lines(arrays, "open"):
        state.open[window][room_id] = _open_of(one)
    state.publish()
    return Kept(state, about["release_id"], Position(*about["position"]), _lines(arrays, "event_ids"))


def _restore_room(state: LiveState, told: dict[str, Any], parts: NDArray[np.float32]) -> None:
    room = state.start_room(*(told[name] for name in _ROOM))
    room.texts = RoomTexts([RoomText(*one) for one in told["texts"]])
    room.heard_at, room.shown_in = told["heard_at"], set(told["shown_in"])
    room.earlier = tuple(_moment_of(one) for one in told["earlier"])
    room.waiting, room.encoded = _closed_of(told["waiting"]), _closed_of(told["encoded"])
    room.windows = deque(CodedMoment(*one) for one in told["windows"])
    if (content := told["content"]) is not None:
        before = None if content["before"] is None else RecentContent(parts[2], *content["before"])
        room.content = RoomContent(content["text"], parts[0], before, RecentContent(parts[1], *content["average"]))


_ROOM = ("room_id", "author_id", "started_at", "title", "category", "language")


def _room_told(room: LiveRoom) -> dict[str, Any]:
    content = room.content
    return {
        **{name: getattr(room, name) for name in (*_ROOM, "heard_at")},
        "texts": room.texts.changes,
        "shown_in": sorted(room.shown_in),
        "earlier": room.earlier,
        "waiting": _closed_told(room.waiting),
        "encoded": _closed_told(room.encoded),
        "windows": list(room.windows),
        "content": None
        if content is None
        else {
            "text": content.text,
            "average": content.average[1:],
            "before": None if content.before is None else content.before[1:],
        },
    }


def _closed_told(window: ClosedWindow | None) -> list[Any] | None:
    return None if window is None else [window.moment, window.earlier, window.counts, window.shown_before]


def _closed_of(told: list[Any] | None) -> ClosedWindow | None:
    if told is None:
        return None
    moment, earlier, counts, shown_before = told
    return ClosedWindow(_moment_of(moment), tuple(_moment_of(one) for one in earlier), tuple(counts), shown_before)


def _moment_of(told: list[Any]) -> Moment:
    window, age, title, category, speech, chat = told
    return Moment(window, age, title, category, speech, tuple(chat))


def _open_told(window: OpenWindow) -> dict[str, Any]:
    return {**asdict(window), "commenters": sorted(window.commenters)}


def _open_of(told: dict[str, Any]) -> OpenWindow:
    said = {name: [Said(*one) for one in told[name]] for name in ("chat", "speech")}
    return OpenWindow(**{**told, **said, "commenters": set(told["commenters"])})


def _counts_told(counts: RunningCounts) -> dict[str, Any]:
    return {
        "known": list(counts.known.items()),
        "known_day": counts.known_day,
        "by_day": [
            [day, [(person, tuple(values)) for person, values in people.items()]] for day, people in counts.by_day.items()
        ],
    }


def _counts_of(told: dict[str, Any], width: int) -> RunningCounts:
    counts = RunningCounts(width, {person: tuple(values) for person, values in told["known"]}, told["known_day"])
    for day, people in told["by_day"]:
        counts.by_day[day] = dict(people)
    return counts


def _named(part: str, arrays: Mapping[str, NDArray]) -> dict[str, NDArray]:
    return {f"{part}.{name}": values for name, values in arrays.items()}


def _part(arrays: Mapping[str, NDArray], part: str) -> dict[str, NDArray]:
    return {name[len(part) + 1 :]: values for name, values in arrays.items() if name.startswith(f"{part}.")}


def _json_lines(values: list[Any]) -> NDArray[np.uint8]:
    """One value a line, dumped one by one, so that other threads have their turn in between."""
    return np.frombuffer(b"\n".join(json.dumps(value).encode() for value in values), dtype=np.uint8)


def _lines(arrays: Mapping[str, NDArray], name: str) -> list[Any]:
    text = arrays[f"json.{name}"].tobytes()
    return [json.loads(line) for line in text.split(b"\n")] if text else []
