"""Move a live state in time, because the clock of its machine was set.

Everything that has happened keeps its distance from now: no room is silent, no window is closed, and no user has lost a history
because of a clock.
"""

from collections import deque
from dataclasses import replace

from livealign.dataset.recent_content import RecentContent
from livealign.live.state.rooms import NEVER_ENDS, ClosedWindow, LiveRoom
from livealign.live.state.state import LiveState
from livealign.live.state.windows import LiveFrame, OpenWindow


def follow_clock(state: LiveState, at: int, moved: float, future_ms: int | None) -> None:
    """Move the state if the clock was set, or is behind what the log says.

    Args:
        at: the clock, epoch milliseconds. moved: seconds by which it was set.
        future_ms: how far an event may lie ahead of the clock; None while no event has come.
    """
    if moved:
        move_state(state, int(1000 * moved))
    ahead = max(state.clock, (state.closed_until + 1) * state.window_ms) - at
    if future_ms is not None and ahead > future_ms + state.window_ms:
        move_state(state, -ahead)


def move_state(state: LiveState, milliseconds: int) -> None:
    """Add the milliseconds, in whole windows, to every time of the state.

    Counts of days stay with their days, and segments keep their ids.
    """
    windows = milliseconds // state.window_ms
    by = windows * state.window_ms
    with state.lock:
        state.clock += by
        state.closed_until += windows
        state.table["started_at"][:] += by
        state.table["heard_at"][:] += by
        for times in (state.table["content_at"], state.coded_windows["ended_at"]):
            times[times > 0] += by
        ended_at = state.table["ended_at"]
        ended_at[ended_at != NEVER_ENDS] += by
        for room in state.rooms.values():
            _move_room(room, windows, by)
        happened = {number + windows: rooms for number, rooms in state.open.items()}
        state.open.clear()
        state.open.update(happened)
        for rooms in happened.values():
            for window in rooms.values():
                _move_window(window, by)
        state.sessions.move(by)
        state.users.move(by)
        state.list_outcomes.move(by)
        state.publish()


def _move_room(room: LiveRoom, windows: int, by: int) -> None:
    room.started_at += by
    room.heard_at += by
    room.texts.changes = [text if text.at < 0 else text._replace(at=text.at + by) for text in room.texts.changes]
    room.shown_in = {window + windows for window in room.shown_in}
    room.earlier = tuple(text._replace(window=text.window + windows) for text in room.earlier)
    room.waiting, room.encoded = _moved(room.waiting, windows, by), _moved(room.encoded, windows, by)
    room.frame = _moved_frame(room.frame, by)
    room.windows = deque(window._replace(ended_at=window.ended_at + by) for window in room.windows)
    for content in (room.content, room.seen):
        if content is not None:
            content.average = _moved_average(content.average, by)
            content.before = None if content.before is None else _moved_average(content.before, by)


def _moved(window: ClosedWindow | None, windows: int, by: int) -> ClosedWindow | None:
    if window is None:
        return None
    text = window.text._replace(window=window.text.window + windows)
    earlier = tuple(older._replace(window=older.window + windows) for older in window.earlier)
    return replace(window, text=text, earlier=earlier, frame=_moved_frame(window.frame, by))


def _moved_frame(frame: LiveFrame | None, by: int) -> LiveFrame | None:
    return None if frame is None else frame._replace(at=frame.at + by)


def _moved_average(average: RecentContent, by: int) -> RecentContent:
    return average._replace(started_at=average.started_at + by)


def _move_window(window: OpenWindow, by: int) -> None:
    window.chat = [message._replace(at=message.at + by) for message in window.chat]
    window.speech = [utterance._replace(at=utterance.at + by) for utterance in window.speech]
    window.frame = _moved_frame(window.frame, by)
