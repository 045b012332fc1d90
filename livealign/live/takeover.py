"""Switch a running state to another release: same rooms and users, other models.

Each coded window keeps its row and gets the new release's vector and codes: from the release's snapshot if that has the
segment, else from the author alone. The rooms of most value are encoded by the new encoder before the swap, the others in the
ticks after it.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np

from livealign.dataset.recent_content import RecentContent
from livealign.ids import segment_ids
from livealign.live.deletion import without_deleted
from livealign.live.refresh import rooms_of_value
from livealign.live.serving import Serving
from livealign.live.startup import Snapshot
from livealign.live.state.rooms import ClosedWindow, LiveRoom, RoomContent
from livealign.live.state.state import LiveState

Contents = dict[int, RoomContent]  # by room id
OwnRooms = Callable[[Sequence[LiveRoom]], list[LiveRoom]]


def take_over(
    state: LiveState, previous: Serving, fresh: Serving, now: int, swap: Callable[[], None], own: OwnRooms = list
) -> None:
    """Prepare the new release beside the running one, then swap under the state's lock.

    No refresh may run meanwhile.

    Args:
        now: epoch milliseconds. swap: puts `fresh` in service. own: those of the rooms that this process encodes.

    Raises:
        BundleError: the release's snapshot cannot be read.
    """
    snapshot = fresh.snapshot()
    with state.lock:
        coded_windows = state.coded_windows.recoded(snapshot.coded_windows, snapshot.of_segment)
    contents = _contents(state, previous, fresh, now, own)
    with state.lock:
        coded_windows.catch_up(state.coded_windows, snapshot.coded_windows, snapshot.of_segment)
        state.coded_windows = coded_windows
        _adopt(state, fresh, snapshot, contents, _of_one_space(previous, fresh))
        swap()
        state.publish()


def adopt(state: LiveState, fresh: Serving, snapshot: Snapshot) -> None:
    """The same for a state that is not in use yet: rooms are encoded in the first ticks."""
    state.coded_windows = state.coded_windows.recoded(snapshot.coded_windows, snapshot.of_segment)
    _adopt(state, fresh, snapshot, {}, of_one_space=False)
    state.publish()


def _of_one_space(previous: Serving, fresh: Serving) -> bool:
    """Whether vectors by the previous release's encoder are those of the new one."""
    if previous.refresher is None or fresh.refresher is None:
        return False
    return previous.refresher.encoder.space == fresh.refresher.encoder.space


def _contents(state: LiveState, previous: Serving, fresh: Serving, now: int, own: OwnRooms) -> Contents:
    """Contents of the rooms by the new encoder; those of most value, if time is short."""
    refresher = fresh.refresher
    if refresher is None:
        return {}
    if _of_one_space(previous, fresh):
        with state.lock:
            return {room.room_id: room.content for room in state.rooms.values() if room.content is not None}
    contents: Contents = {}
    deadline, config = time.perf_counter() + state.config.takeover_seconds, refresher.segments
    rooms = [(room, window) for room in own(rooms_of_value(state, now)) if (window := _newest(room)) is not None]
    step = max(1, state.config.encode_chunk // 2)
    for start in range(0, len(rooms), step):
        if time.perf_counter() > deadline:
            break
        chunk = rooms[start : start + step]
        windows = [window for _, window in chunk]
        frames = [
            frame for window in windows if (frame := window.seen_frame) is not None and refresher.encoder.llm_reads_pictures
        ]
        pictures_of = {frame.name: frame.picture for frame in frames}
        seen = dict(zip(pictures_of, refresher.see(list(pictures_of.values())), strict=True))
        inputs, pictures = refresher.read(windows, seen)
        vectors = refresher.encode([text for text, _ in inputs], pictures)
        for (room, window), (text, picture), vector in zip(chunk, inputs, vectors, strict=True):
            started_at = window.text.window * 1000 * config.window_seconds
            average = RecentContent.step(None, vector, started_at, 0)
            contents[room.room_id] = RoomContent(text, vector, None, average, picture)
    return contents


def _adopt(state: LiveState, fresh: Serving, snapshot: Snapshot, contents: Contents, of_one_space: bool) -> None:
    """Give rooms, histories and counts the new release's content; its coded windows are set."""
    coded_windows = state.coded_windows
    state.table["content_at"][:] = coded_windows["ended_at"][state.table["coded_row"]]
    encoded = [room for room in state.rooms.values() if room.room_id in contents]
    if encoded:
        authors = np.array([room.author_id for room in encoded], dtype=np.int64)
        averages = np.stack([contents[room.room_id].average.average for room in encoded])
        vectors, codes = fresh.recommender.aligned(authors, averages)
        ends = np.array([_started(contents[room.room_id]) + state.window_ms for room in encoded], dtype=np.int64)
        segments = segment_ids([room.room_id for room in encoded], (ends // state.window_ms - 1).tolist())
        rows = coded_windows.add(segments, authors, ends, vectors, codes)
        for room, row, end in zip(encoded, rows.tolist(), ends.tolist(), strict=True):
            state.table["coded_row"][room.row], state.table["content_at"][room.row] = row, end
    for room in state.rooms.values():
        room.content, room.seen = contents.get(room.room_id), room.seen if of_one_space else None
        room.windows.clear()
        if room.content is None and room.waiting is None:
            room.waiting = room.encoded
        state.table["waiting"][room.row] = room.content is None and room.waiting is not None
    _newer_histories(state, snapshot)
    state.user_counts.rebase(without_deleted(state, snapshot.user_counts), snapshot.day)
    state.author_counts.rebase(snapshot.author_counts, snapshot.day)


def _newer_histories(state: LiveState, snapshot: Snapshot) -> None:
    """Take the release's histories of the users whose last engagement the state does not have."""
    known = without_deleted(state, snapshot.histories)
    newer = {user: history for user, history in known.items() if history.at[0] > state.users.newest(user)}
    if not newer:
        return
    rows = np.unique(np.concatenate([history.coded_row for history in newer.values()]))
    source = snapshot.coded_windows
    columns = ("segment_id", "author_id", "ended_at", "vector", "codes")
    added = state.coded_windows.add(*(source[name][rows] for name in columns))
    for user, history in newer.items():
        state.users.replace_history(user, added[np.searchsorted(rows, history.coded_row)], history.at)


def _newest(room: LiveRoom) -> ClosedWindow | None:
    return room.waiting or room.encoded


def _started(content: RoomContent) -> int:
    return content.average.started_at
