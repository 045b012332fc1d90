"""Close the open windows of rooms, so that they wait for the LLM.

close_windows(state, window, segments)     # collects texts, counts and pictures; no LLM
"""

import numpy as np

from livealign.config import SegmentConfig
from livealign.dataset.features import AUTHOR_COUNTS, WINDOW_COUNTS
from livealign.days import DAY_MS
from livealign.live.frames import stands_still
from livealign.live.state.rooms import ClosedWindow
from livealign.live.state.state import LiveState
from livealign.live.state.windows import OpenWindow, text_of
from livealign.llm.segment_text import remember

_LONG_VIEWS = AUTHOR_COUNTS.index("long_views")
_ALL_WINDOWS = 10  # after a longer pause only windows with events are closed one by one


def close_windows(state: LiveState, until: int, config: SegmentConfig) -> int:
    """Close the open windows up to `until`; each room keeps its newest one for the LLM.

    Returns:
        How many windows were replaced by a newer window of their room before they were encoded.
    """
    dropped = 0
    with state.lock:
        first = state.closed_until + 1
        windows = list(range(first, until + 1))
        if len(windows) > _ALL_WINDOWS:
            with_events = [window for window in sorted(state.open) if first <= window <= until]
            windows = sorted({*with_events, *windows[-_ALL_WINDOWS:]})
    for window in windows:
        dropped += _close(state, window, config)
    with state.lock:
        state.settle(until)
    return dropped


def _close(state: LiveState, window: int, config: SegmentConfig) -> int:
    with state.lock:
        happened = state.open.pop(window, {})
        state.closed_until = window
        viewers = state.sessions.viewers(window)
        long_views = state.sessions.long_views((window + 1) * state.window_ms)
        for author, user, room_id, clicked_at, at in zip(*(column.tolist() for column in long_views), strict=True):
            state.author_counts.add(author, _LONG_VIEWS, at // DAY_MS)
            state.list_outcomes.long_viewed(user, room_id, clicked_at)
        state.sessions.forget(window + 1)
    counted = dict(zip(viewers.room_id.tolist(), zip(*(column.tolist() for column in viewers[1:]), strict=True), strict=True))
    dropped = 0
    for room_id in {**happened, **counted}:
        with state.lock:  # room by room, so that a recommendation need not wait for all of them
            room = state.rooms.get(room_id)
            if room is None:
                continue
            first = room.started_at // state.window_ms
            last = max(int(state.table["ended_at"][room.row]) - 1, room.started_at) // state.window_ms
            if not first <= window <= last:
                continue
            end = (window + 1) * state.window_ms
            texts = room.texts.before(end)
            room.texts.forget(end)
            text = text_of(window, window - first, texts.title, texts.category, happened.get(room_id))
            shown = any(shown_window <= window for shown_window in room.shown_in)
            if room.waiting is not None:
                dropped, shown = dropped + 1, room.waiting.shown_before
            counts = _counts(happened.get(room_id), counted.get(room_id, (0, 0, 0, np.nan)))
            frame = happened[room_id].frame if room_id in happened else None
            still = frame is not None and stands_still(frame.look, room.look)
            if frame is not None and not still:
                room.look = frame.look
            room.waiting = ClosedWindow(text, room.earlier, counts, shown, frame, still)
            room.shown_in = {shown_window for shown_window in room.shown_in if shown_window > window}
            room.earlier = remember(room.earlier, text, config)
    return dropped


def _counts(happened: OpenWindow | None, viewers: tuple[float, float, float, float]) -> tuple[float, ...]:
    """The counts of a window in the order of WINDOW_COUNTS."""
    window = happened or OpenWindow()
    counts = dict(zip(("n_viewers", "n_entered", "n_left", "retention"), viewers, strict=True))
    counts |= {
        "n_comments": window.n_comments,
        "n_commenters": len(window.commenters),
        "n_likes": window.n_likes,
        "n_gifts": window.n_gifts,
    }
    return tuple(float(counts[name]) for name in WINDOW_COUNTS)
