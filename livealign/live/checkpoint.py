"""Save and restore the live state as one file.

With a checkpoint, a start reads only the events after it and not the whole log. The file is an npz without pickle: NumPy
columns, and JSON for text. It is written completely or not at all, and carries checksums (zip). A file that cannot be read is
not used: the log has every event.
"""

import io
import json
import zipfile
from collections import deque
from collections.abc import Mapping, Sequence
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
from livealign.live.state.coded_windows import CodedWindow, CodedWindows, EncodeAuthors
from livealign.live.state.counts import RunningCounts
from livealign.live.state.room_texts import RoomText, RoomTexts
from livealign.live.state.rooms import ClosedWindow, LiveRoom, RoomContent, named_counts, ordered_counts
from livealign.live.state.sessions import Sessions
from livealign.live.state.state import LiveState
from livealign.live.state.users import Users
from livealign.live.state.windows import LiveFrame, OpenWindow, Utterance, newest
from livealign.llm.segment_text import WindowText

_FORMAT = "livealign-live-state-3"
_READ = (_FORMAT, "livealign-live-state-2")  # the older one knows a room's latest title and category only
_IDS = 200_000  # number of event ids that are saved; senders repeat events that are minutes old

# Columns whose names in the file are older than those in the code.
_FILE_NAMES = {
    "rooms.coded_row": "rooms.moment",
    "users.history_coded_row": "users.history_moment",
    "users.shown_coded_row": "users.shown_moment",
}
_CODE_NAMES = {old: new for new, old in _FILE_NAMES.items()}


class Checkpoint(NamedTuple):
    """A restored state, and what it was saved with."""

    state: LiveState
    release_id: str
    position: Position  # in the log; the state has every event up to it
    event_ids: list[str]


def checkpoint_arrays(state: LiveState, release_id: str, position: Position, event_ids: RecentIds) -> dict[str, NDArray]:
    """The state as arrays, copied under its lock; nothing is written yet."""
    with state.lock:
        rooms = sorted(state.rooms.values(), key=lambda room: room.row)
        since = state.clock - int(60_000 * state.config.seen_minutes)
        arrays = {
            **_named("moments", state.coded_windows.arrays()),
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
            "dim": state.coded_windows.dim,
            "levels": state.coded_windows.levels,
            "history_length": state.users.history_length,
            "plays": list(state.sessions.names),
            "user_counts": _counts_json(state.user_counts),
            "author_counts": _counts_json(state.author_counts),
            "outcomes": state.outcomes.to_plain(),
            "deleted": list(state.deleted.items()),
        }
        wishes, lists = state.wishes.to_plain(), state.list_outcomes.to_plain()
        room_rows = [_room_json(room) for room in rooms]
        contents, seen = [room.content for room in rooms], [room.seen for room in rooms]
        open_windows = [
            [number, room_id, _open_json(window)]
            for number, by_room in state.open.items()
            for room_id, window in by_room.items()
        ]
    arrays["contents"] = _vectors_of(contents)
    if any(content is not None for content in seen):
        arrays["seen"] = _vectors_of(seen)
    for name, values in (
        ("about", [about]),
        ("told", room_rows),
        ("open", open_windows),
        ("wishes", wishes),
        ("lists", lists),
        ("event_ids", event_ids.newest(_IDS)),
    ):
        arrays[f"json.{name}"] = _json_lines(values)
    return {_FILE_NAMES.get(name, name): values for name, values in arrays.items()}


def write_checkpoint(path: Path, arrays: Mapping[str, NDArray]) -> None:
    """Write the file in one step.

    Raises:
        OSError: the file cannot be written; the old file stays.
    """
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **arrays)
    replace_bytes(path, out.getvalue())


def read_checkpoint(path: Path, config: LiveConfig, encode_authors: EncodeAuthors) -> Checkpoint:
    """Restore the state from a file.

    Raises:
        LiveAlignError: the file is damaged, or of another version.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = _by_code_name({name: file[name] for name in file.files})
        return _restored(arrays, config, encode_authors)
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise LiveAlignError(
            f"{path} cannot be read as a checkpoint ({error!r}); it is not used, and the log is read from its beginning"
        ) from error


def copied_state(arrays: Mapping[str, NDArray], config: LiveConfig, encode_authors: EncodeAuthors) -> LiveState:
    """Another state that is like the one that `checkpoint_arrays` read."""
    return _restored(_by_code_name(arrays), config, encode_authors).state


def _by_code_name(arrays: Mapping[str, NDArray]) -> dict[str, NDArray]:
    return {_CODE_NAMES.get(name, name): values for name, values in arrays.items()}


def _restored(arrays: Mapping[str, NDArray], config: LiveConfig, encode_authors: EncodeAuthors) -> Checkpoint:
    (about,) = _lines(arrays, "about")
    if about["format"] not in _READ:
        raise ValueError(f"it has format {about['format']!r}, and this code reads {', '.join(_READ)}")
    coded_windows = CodedWindows(about["dim"], about["levels"], encode_authors)
    coded_windows.restore(_part(arrays, "moments"))
    users = Users(about["history_length"], config.seen_rooms, config.max_users)
    users.restore(_part(arrays, "users"))
    sessions = Sessions(about["window_ms"], SESSION_CAP_MS, LONG_VIEW_MS)
    sessions.restore(_part(arrays, "sessions"), about["plays"])
    state = LiveState(
        config,
        coded_windows,
        users,
        sessions,
        _counts_of(about["user_counts"], len(USER_COUNTS)),
        _counts_of(about["author_counts"], len(AUTHOR_COUNTS)),
        about["window_ms"],
        about["clock"],
    )
    state.closed_until = about["closed_until"]
    state.outcomes = RoomOutcomes.from_plain(about["outcomes"])
    state.most_rooms = max(config.max_rooms, len(arrays["contents"]))  # none gives way, also where fewer are kept by now
    contents = arrays["contents"]
    for row, parts, seen in zip(_lines(arrays, "told"), contents, arrays.get("seen", contents), strict=True):
        _restore_room(state, row, parts, seen)
    state.most_rooms = config.max_rooms
    for name, column in _part(arrays, "rooms").items():
        state.table[name][:] = column
    for room in sorted(state.rooms.values(), key=lambda room: room.heard_at):
        state.hear(room, room.heard_at)  # the order of hearing, and a column that older files lack
    state.clock = about["clock"]
    for number, room_id, window in _lines(arrays, "open"):
        opened = state.open[number][room_id] = _open_of(window)
        if opened.frame is not None and room_id in state.rooms:
            state.rooms[room_id].show(opened.frame)
    state.deleted = dict(about.get("deleted", ()))
    if "json.wishes" in arrays:  # older files have none
        state.wishes.restore(_lines(arrays, "wishes"))
    if "json.lists" in arrays:
        state.list_outcomes.restore(_lines(arrays, "lists"))
    state.publish()
    return Checkpoint(state, about["release_id"], Position(*about["position"]), _lines(arrays, "event_ids"))


def _vectors_of(contents: Sequence[RoomContent | None]) -> NDArray[np.float32]:
    """Window, average and average before of each room's content: [rooms, 3, width], zeros where there is none."""
    width = next((len(content.vector) for content in contents if content is not None), 0)
    parts = np.zeros((len(contents), 3, width), dtype=np.float32)
    for row, content in enumerate(contents):
        if content is not None:
            parts[row, 0], parts[row, 1] = content.vector, content.average.average
            if content.before is not None:
                parts[row, 2] = content.before.average
    return parts


def _restore_room(state: LiveState, row: dict[str, Any], parts: NDArray[np.float32], seen: NDArray[np.float32]) -> None:
    room = state.start_room(*(row[name] for name in _ROOM))
    if "texts" in row:
        room.texts = RoomTexts([RoomText(*text) for text in row["texts"]])
    room.heard_at, room.shown_in = row["heard_at"], set(row["shown_in"])
    room.earlier = tuple(_text_of(text) for text in row["earlier"])
    room.look = row.get("look", "")
    room.waiting, room.encoded = _closed_of(row["waiting"]), _closed_of(row["encoded"])
    room.frame = newest(*(window.frame for window in (room.waiting, room.encoded) if window is not None))
    room.windows = deque(
        CodedWindow(segment_id, ended_at, text, codes, named_counts(counts))
        for segment_id, ended_at, text, codes, counts in row["windows"]
    )
    room.content, room.seen = _content_of(row["content"], parts), _content_of(row.get("seen"), seen)


_ROOM = ("room_id", "author_id", "started_at", "title", "category", "language")


def _room_json(room: LiveRoom) -> dict[str, Any]:
    return {
        **{name: getattr(room, name) for name in (*_ROOM, "heard_at")},
        **({"look": room.look} if room.look else {}),
        "texts": room.texts.changes,
        "shown_in": sorted(room.shown_in),
        "earlier": room.earlier,
        "waiting": _closed_json(room.waiting),
        "encoded": _closed_json(room.encoded),
        "windows": [(*window[:4], ordered_counts(window.counts)) for window in room.windows],
        "content": _content_json(room.content),
        **({} if room.seen is None else {"seen": _content_json(room.seen)}),
    }


def _content_json(content: RoomContent | None) -> dict[str, Any] | None:
    if content is None:
        return None
    return {
        "text": content.text,
        **({"picture": content.picture} if content.picture else {}),
        "average": content.average[1:],
        "before": None if content.before is None else content.before[1:],
    }


def _content_of(columns: dict[str, Any] | None, vectors: NDArray[np.float32]) -> RoomContent | None:
    if columns is None:
        return None
    before = None if columns["before"] is None else RecentContent(vectors[2], *columns["before"])
    average = RecentContent(vectors[1], *columns["average"])
    return RoomContent(columns["text"], vectors[0], before, average, columns.get("picture", ""))


def _closed_json(window: ClosedWindow | None) -> list[Any] | None:
    if window is None:
        return None
    return [window.text, window.earlier, window.counts, window.shown_before, window.frame, window.still]


def _closed_of(columns: list[Any] | None) -> ClosedWindow | None:
    if columns is None:
        return None
    columns = [*columns, *(None, False)[len(columns) - 4 :]]  # a file of an earlier version has no pictures, or no `still`
    text, earlier, counts, shown_before, frame, still = columns
    texts = tuple(_text_of(older) for older in earlier)
    return ClosedWindow(_text_of(text), texts, tuple(counts), shown_before, _frame_of(frame), still)


def _frame_of(columns: list[Any] | None) -> LiveFrame | None:
    return None if columns is None else LiveFrame(*columns)


def _text_of(columns: list[Any]) -> WindowText:
    window, age, title, category, speech, chat = columns
    return WindowText(window, age, title, category, speech, tuple(chat))


def _open_json(window: OpenWindow) -> dict[str, Any]:
    return {**asdict(window), "commenters": sorted(window.commenters)}


def _open_of(columns: dict[str, Any]) -> OpenWindow:
    utterances = {name: [Utterance(*utterance) for utterance in columns[name]] for name in ("chat", "speech")}
    return OpenWindow(
        **{**columns, **utterances, "commenters": set(columns["commenters"]), "frame": _frame_of(columns.get("frame"))}
    )


def _counts_json(counts: RunningCounts) -> dict[str, Any]:
    return {
        "known": list(counts.from_release.items()),
        "known_day": counts.release_day,
        "by_day": [
            [day, [(person, tuple(values)) for person, values in people.items()]] for day, people in counts.by_day.items()
        ],
    }


def _counts_of(columns: dict[str, Any], width: int) -> RunningCounts:
    counts = RunningCounts(width, {person: tuple(values) for person, values in columns["known"]}, columns["known_day"])
    for day, people in columns["by_day"]:
        counts.by_day[day] = dict(people)
    return counts


def _named(part: str, arrays: Mapping[str, NDArray]) -> dict[str, NDArray]:
    return {f"{part}.{name}": values for name, values in arrays.items()}


def _part(arrays: Mapping[str, NDArray], part: str) -> dict[str, NDArray]:
    return {name[len(part) + 1 :]: values for name, values in arrays.items() if name.startswith(f"{part}.")}


def _json_lines(values: list[Any]) -> NDArray[np.uint8]:
    """One value a line; dumped one by one, so that other threads run in between."""
    return np.frombuffer(b"\n".join(json.dumps(value).encode() for value in values), dtype=np.uint8)


def _lines(arrays: Mapping[str, NDArray], name: str) -> list[Any]:
    text = arrays[f"json.{name}"].tobytes()
    return [json.loads(line) for line in text.split(b"\n")] if text else []
