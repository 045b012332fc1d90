"""Another release takes over a running state: the same rooms and users, seen by other models.

What rooms and histories point to keeps its row and gets the new release's vectors and codes: from the release's own snapshot
where that knows the segment, else from the author alone. Rooms of most value are read again by the new encoder before the swap,
the others in the ticks after it.
"""

import time
from collections.abc import Callable

import numpy as np

from livealign.dataset.recent_content import RecentContent
from livealign.ids import segment_ids
from livealign.live.refresh import rooms_of_value
from livealign.live.serving import Serving
from livealign.live.startup import Snapshot
from livealign.live.state.state import ClosedWindow, LiveRoom, LiveState, RoomContent
from livealign.llm.segment_text import compose_text

Contents = dict[int, RoomContent]  # by room id


def take_over(state: LiveState, before: Serving, fresh: Serving, now: int, swap: Callable[[], None]) -> None:
    """Prepare beside the running release, then swap under the state's lock. No refresh runs meanwhile.

    Args:
        now: epoch milliseconds. swap: puts `fresh` in service.

    Raises:
        BundleError: the release's snapshot cannot be read.
    """
    snapshot = fresh.snapshot()
    with state.lock:
        moments = state.moments.retold(snapshot.moments, snapshot.of_segment)
    contents = _contents(state, before, fresh, now)
    with state.lock:
        moments.catch_up(state.moments, snapshot.moments, snapshot.of_segment)
        state.moments = moments
        _adopt(state, fresh, snapshot, contents)
        swap()
        state.publish()


def adopt(state: LiveState, fresh: Serving, snapshot: Snapshot) -> None:
    """The same for a state that nobody uses yet: rooms are read again in the first ticks."""
    state.moments = state.moments.retold(snapshot.moments, snapshot.of_segment)
    _adopt(state, fresh, snapshot, {})
    state.publish()


def _contents(state: LiveState, before: Serving, fresh: Serving, now: int) -> Contents:
    """What the new encoder makes of the rooms; of very many, of those of most value."""
    refresher = fresh.refresher
    if refresher is None:
        return {}
    if before.refresher is not None and before.refresher.encoder.version(True) == refresher.encoder.version(True):
        with state.lock:
            return {room.room_id: room.content for room in state.rooms.values() if room.content is not None}
    contents: Contents = {}
    deadline, config = time.perf_counter() + state.config.takeover_seconds, refresher.segments
    rooms = [(room, window) for room in rooms_of_value(state, now) if (window := _newest(room)) is not None]
    step = max(1, state.config.encode_chunk // 2)
    for start in range(0, len(rooms), step):
        if time.perf_counter() > deadline:
            break
        chunk = rooms[start : start + step]
        texts = [compose_text(window.moment, window.earlier, config) for _, window in chunk]
        for (room, window), text, vector in zip(chunk, texts, refresher.encode(texts), strict=True):
            started_at = window.moment.window * 1000 * config.window_seconds
            contents[room.room_id] = RoomContent(text, vector, None, RecentContent.step(None, vector, started_at, 0))
    return contents


def _adopt(state: LiveState, fresh: Serving, snapshot: Snapshot, contents: Contents) -> None:
    """The state's table of moments is the new one already."""
    moments = state.moments
    state.table["content_at"][:] = moments["ended_at"][state.table["moment"]]
    told = [room for room in state.rooms.values() if room.room_id in contents]
    if told:
        authors = np.array([room.author_id for room in told], dtype=np.int64)
        averages = np.stack([contents[room.room_id].average.average for room in told])
        vectors, codes = fresh.recommender.aligned(authors, averages)
        ends = np.array([_started(contents[room.room_id]) + state.window_ms for room in told], dtype=np.int64)
        segments = segment_ids([room.room_id for room in told], (ends // state.window_ms - 1).tolist())
        rows = moments.add(segments, authors, ends, vectors, codes)
        for room, row, end in zip(told, rows.tolist(), ends.tolist(), strict=True):
            state.table["moment"][room.row], state.table["content_at"][room.row] = row, end
    for room in state.rooms.values():
        room.content = contents.get(room.room_id)
        room.windows.clear()
        if room.content is None and room.waiting is None:
            room.waiting = room.encoded
        state.table["waiting"][room.row] = room.content is None and room.waiting is not None
    _newer_histories(state, snapshot)
    state.user_counts.rebase(snapshot.user_counts, snapshot.day)
    state.author_counts.rebase(snapshot.author_counts, snapshot.day)


def _newer_histories(state: LiveState, snapshot: Snapshot) -> None:
    """Of users whose last engagement the release knows and the state does not, the release's histories."""
    newer = {user: one for user, one in snapshot.histories.items() if one.at[0] > state.users.newest(user)}
    if not newer:
        return
    rows = np.unique(np.concatenate([one.moment for one in newer.values()]))
    source = snapshot.moments
    added = state.moments.add(*(source[name][rows] for name in ("segment_id", "author_id", "ended_at", "vector", "codes")))
    for user, one in newer.items():
        state.users.replace_history(user, added[np.searchsorted(rows, one.moment)], one.at)


def _newest(room: LiveRoom) -> ClosedWindow | None:
    return room.waiting or room.encoded


def _started(content: RoomContent) -> int:
    return content.average.started_at
