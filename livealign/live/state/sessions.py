"""The viewers' sessions, and the viewer counts of a window.

The counts are those of the mart `segments` (dbt: int_sessions, int_window_viewers). A session covers the windows from that of
its entry to that of its last instant; it is present at the starts of windows that lie within it. A viewer is retained over a
window if the window's start and end are both covered, by one session or by several.
"""

from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.live.state.columns import Columns

Ints = NDArray[np.int64]

OPEN_END = np.iinfo(np.int64).max // 2  # `until` of a session without a known end
_EARLY_ENDS = 10_000  # ends kept whose start has not come yet


class Viewers(NamedTuple):
    """The viewer counts of one window, for the r rooms that have a viewer in it."""

    room_id: Ints  # [r] sorted
    viewers: Ints  # [r] distinct users
    entered: Ints  # [r] sessions that begin in it
    left: Ints  # [r] sessions that end in it
    retention: NDArray[np.float64]  # [r] share of the viewers at its start who are there at its end; NaN without viewers


class LongView(NamedTuple):
    """n clicks that have become long views."""

    author_id: Ints  # [n]
    user_id: Ints  # [n]
    room_id: Ints  # [n]
    clicked_at: Ints  # [n] epoch milliseconds
    known_at: Ints  # [n] epoch milliseconds


class Sessions:
    """Sessions that are open, or have ended in a window that is still open.

    Changed under the lock of the state.
    """

    def __init__(self, window_ms: int, cap_ms: int, long_view_ms: int) -> None:
        self._window_ms, self._cap_ms, self._long_view_ms = window_ms, cap_ms, long_view_ms
        self.table = Columns(
            room_id=np.int64,
            user_id=np.int64,
            author_id=np.int64,
            entered=np.int64,  # the event's time
            start=np.int64,  # the same, but not before the room's start
            until=np.int64,
            clicked=np.bool_,  # of an impression
            counted=np.bool_,  # is a long view, or can no longer become one
        )
        self.names: list[str] = []  # play id of each row
        self._rows: dict[str, int] = {}
        self._early_ends: OrderedDict[str, int] = OrderedDict()  # oldest first

    def __len__(self) -> int:
        return len(self.table)

    def start(self, play_id: str, room_id: int, user_id: int, author_id: int, at: int, room_start: int, clicked: bool) -> None:
        """Start a session; a play that has one already changes nothing."""
        if play_id in self._rows:
            return
        row = self.table.append(
            room_id=room_id,
            user_id=user_id,
            author_id=author_id,
            entered=at,
            start=max(at, room_start),
            until=at + self._cap_ms,
            clicked=clicked,
            counted=not clicked,
        )
        self.names.append(play_id)
        self._rows[play_id] = row
        if (end := self._early_ends.pop(play_id, None)) is not None:
            self.end(play_id, end)

    def end(self, play_id: str, at: int) -> None:
        """End a session; an end without a known start is kept until the start comes."""
        row = self._rows.get(play_id)
        if row is None:
            self._early_ends[play_id] = at
            if len(self._early_ends) > _EARLY_ENDS:
                self._early_ends.popitem(last=False)
            return
        until, entered = self.table["until"], self.table["entered"]
        until[row] = max(entered[row], min(at, until[row]))

    def end_room(self, room_id: int, at: int) -> None:
        """End the sessions of a room at the end of the room."""
        rows = np.flatnonzero(self.table["room_id"] == room_id)
        until, entered = self.table["until"], self.table["entered"]
        until[rows] = np.maximum(entered[rows], np.minimum(until[rows], at))

    def viewers(self, window: int) -> Viewers:
        """The counts of one window from the sessions so far."""
        start, until = self.table["start"], self.table["until"]
        first, last = start // self._window_ms, np.maximum(until - 1, start) // self._window_ms
        rows = np.flatnonzero((first <= window + 1) & (window <= last))
        room, user = self.table["room_id"][rows], self.table["user_id"][rows]
        first, last = first[rows], last[rows]
        instant = -(-start[rows] // self._window_ms)  # the first start of a window at which the viewer is there
        rooms, place = np.unique(room, return_inverse=True)
        _, person = np.unique(user, return_inverse=True)
        pair = place.astype(np.int64) * (len(rows) + 1) + person
        size = len(rows) + 1

        def people(chosen: NDArray[np.bool_]) -> Ints:
            return np.unique(pair[chosen])

        def by_room(pairs: Ints) -> Ints:
            return np.bincount(pairs // size, minlength=len(rooms))

        covers = first <= window
        here = people(covers)
        at_start = people(instant <= window)
        at_end = people((instant <= window + 1) & (window + 1 <= last))
        there, stayed = by_room(at_start), by_room(np.intersect1d(at_start, at_end, assume_unique=True))
        viewers = by_room(here)
        watched = viewers > 0
        with np.errstate(invalid="ignore"):
            retention = np.where(there > 0, stayed / np.maximum(there, 1), np.nan)
        return Viewers(
            rooms[watched],
            viewers[watched],
            np.bincount(place[covers & (first == window)], minlength=len(rooms))[watched],
            np.bincount(place[covers & (last == window)], minlength=len(rooms))[watched],
            retention[watched],
        )

    def long_views(self, now: int) -> LongView:
        """Clicks that have become long views by `now`; each is returned once."""
        entered, until, counted = self.table["entered"], self.table["until"], self.table["counted"]
        due = entered + self._long_view_ms
        rows = np.flatnonzero(~counted & (np.minimum(until, now) >= due))
        counted[rows] = True
        counted[np.flatnonzero(~counted & (until < due) & (until <= now))] = True
        author, user, room, clicked_at = (self.table[name][rows] for name in ("author_id", "user_id", "room_id", "entered"))
        return LongView(author, user, room, clicked_at, due[rows])

    def forget(self, window: int) -> None:
        """Remove the sessions that ended before the window."""
        start, until = self.table["start"], self.table["until"]
        self._remove(np.flatnonzero(np.maximum(until - 1, start) // self._window_ms < window))

    def forget_user(self, user_id: int) -> None:
        """Remove the sessions of a user."""
        self._remove(np.flatnonzero(self.table["user_id"] == user_id))

    def _remove(self, rows: Ints) -> None:
        """Remove sessions; `rows` are sorted."""
        for row in rows[::-1].tolist():
            last = self.table.remove(row)
            del self._rows[self.names[row]]
            if last != row:
                self.names[row] = self.names[last]
                self._rows[self.names[row]] = row
            self.names.pop()

    def move(self, milliseconds: int) -> None:
        """Add to every time: the clock was set."""
        for name in ("entered", "start", "until"):
            self.table[name][:] += milliseconds
        for play_id in self._early_ends:
            self._early_ends[play_id] += milliseconds

    def restore(self, arrays: dict[str, NDArray], names: list[str]) -> None:
        """Load the rows of a checkpoint."""
        self.table.extend(arrays)
        self.names = list(names)
        self._rows = {name: row for row, name in enumerate(self.names)}
