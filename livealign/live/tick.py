"""One refresh of the live state: close windows, encode rooms, and report."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from livealign.live.answers import TickReport
from livealign.live.closing import close_windows
from livealign.live.refresh import Refreshed, rooms_with_news
from livealign.live.serving import Serving
from livealign.live.shared.release import Share, SharedRelease
from livealign.live.state.rooms import LiveRoom, LlmInput
from livealign.live.state.state import LiveState

Floats = NDArray[np.float32]


def run_tick(
    state: LiveState,
    serving: Serving,
    at: int,
    moving: bool,
    began: float | None,
    budget_seconds: float,
    known: Mapping[LlmInput, Floats] | None = None,
    shared: SharedRelease | None = None,
) -> TickReport:
    """Encode the windows that ended by `at` (epoch milliseconds) and publish their codes.

    Only one tick may run at a time.

    Args:
        moving: False before the first event; then no day changes and no room is forgotten.
        began: `time.perf_counter()` at the start of the tick, before it waited for its turn; None for now.
        budget_seconds: of the LLM.
        known: vectors of what an encoder of the same space has read already.
        shared: where several processes share the reading; then only this one's rooms are encoded.
    """
    config, began = state.config, time.perf_counter() if began is None else began
    with state.lock:
        if moving:
            state.new_day(at)
            state.forget_rooms(at)
        if len(state.coded_windows) > config.max_coded_windows:
            state.compact()
    until = int(at - 1000 * config.lateness_seconds) // state.window_ms - 1
    dropped = close_windows(state, until, serving.segments)
    share = Share(rooms_with_news(state, at))
    if shared is not None:
        share = shared.share(state, share.rooms, (until + 1) * state.window_ms)
    rooms = share.rooms
    done = Refreshed(deferred=len(rooms))
    if serving.refresher is not None:
        done = serving.refresher.refresh(state, rooms, budget_seconds, known, None if shared is None else shared.read)
    if shared is not None and done.error and not done.encoded:
        shared.rest()
    ages = [*done.ages_ms, *share.ages_ms, *_defer(state, [*rooms, *share.late], at)]
    return TickReport(
        at=at,
        rooms_with_news=len(rooms),
        encoded=done.encoded,
        deferred=done.deferred,
        distinct_texts=done.distinct_texts,
        windows_waiting=done.deferred + len(share.late),
        windows_dropped=dropped,
        seconds=time.perf_counter() - began,
        encode_seconds=done.encode_seconds,
        batch_sizes=tuple(done.batch_sizes),
        staleness_seconds=(np.array(ages) / 1000).astype(np.float32),
        degraded=done.deferred > 0 or bool(share.late),
        error=done.error,
    )


def _defer(state: LiveState, rooms: Sequence[LiveRoom], at: int) -> list[int]:
    """Mark the rooms that have to wait; returns the ages of their codes in milliseconds."""
    with state.lock:
        deferred = [room for room in rooms if room.waiting is not None and state.rooms.get(room.room_id) is room]
        for room in deferred:
            state.table["waiting"][room.row] = True
        if deferred:
            state.publish()
        content_at = [int(state.table["content_at"][room.row]) for room in deferred]
    return [at - ended_at for ended_at in content_at if ended_at]
