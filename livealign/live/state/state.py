"""Rooms and users right now.

Events change the state under `lock`. Readers take a `LiveView`, an immutable view of all rooms as arrays. A new view replaces
the old one by one assignment: a recommendation never waits for a refresh, and never sees half of one.
"""

import time
from collections import OrderedDict, defaultdict
from threading import RLock

import numpy as np
from numpy.typing import NDArray

from livealign.config import LiveConfig
from livealign.dataset.features import AUTHOR_COUNTS, WINDOW_COUNTS
from livealign.dataset.room_outcomes import OUTCOME_COUNTS, RoomOutcomes
from livealign.days import DAY_MS
from livealign.live.state.coded_windows import CodedWindows
from livealign.live.state.columns import Columns
from livealign.live.state.counts import RunningCounts
from livealign.live.state.list_outcomes import ListOutcomes
from livealign.live.state.room_texts import RoomText, RoomTexts
from livealign.live.state.rooms import NEVER_ENDS, LiveRoom, LiveView
from livealign.live.state.sessions import Sessions
from livealign.live.state.users import Users
from livealign.live.state.windows import OpenWindow
from livealign.live.state.wishes import Wishes

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


_COPIED = (
    "room_id",
    "author_id",
    "started_at",
    "ended_at",
    "content_at",
    "heard_at",
    "hidden",
)  # in a view


class LiveState:
    """The state of one service process; it is changed only under `lock`."""

    def __init__(
        self,
        config: LiveConfig,
        coded_windows: CodedWindows,
        users: Users,
        sessions: Sessions,
        user_counts: RunningCounts,
        author_counts: RunningCounts,
        window_ms: int,
        clock: int,
    ) -> None:
        """`clock`: epoch milliseconds, the time of the snapshot that the state starts from."""
        self.config, self.coded_windows, self.users, self.sessions = config, coded_windows, users, sessions
        self.user_counts, self.author_counts = user_counts, author_counts
        self.window_ms = window_ms
        self.most_rooms = config.max_rooms
        self.clock = clock  # the latest time of any event
        self.closed_until = clock // window_ms - 1  # the last window that is over
        self.late_events = 0
        self.wishes = Wishes(config.max_users)
        self.list_outcomes = ListOutcomes(config.max_users)
        self.deleted: dict[int, int] = {}  # hashed key of a deleted user → epoch milliseconds
        self.lock = RLock()
        self.rooms: OrderedDict[int, LiveRoom] = OrderedDict()  # the room that was heard of longest ago first
        self.open: dict[int, dict[int, OpenWindow]] = defaultdict(dict)  # window → room → its open window
        self._order: list[LiveRoom] = []  # by row
        self.table = Columns(
            room_id=np.int64,
            author_id=np.int64,
            started_at=np.int64,
            ended_at=np.int64,
            content_at=np.int64,
            heard_at=np.int64,
            hidden=np.bool_,
            waiting=np.bool_,
            coded_row=np.int64,
            counts=(np.float64, len(WINDOW_COUNTS)),
            author_counts=(np.float64, len(AUTHOR_COUNTS)),
            outcomes=(np.float64, len(OUTCOME_COUNTS)),
        )
        self.outcomes = RoomOutcomes()  # outcomes that are not in the table yet
        self._day = clock // DAY_MS
        self._dirty, self._published = False, 0.0
        self._view = self.publish()

    # Reading

    def view(self) -> LiveView:
        """The view of the rooms, at most `publish_seconds` behind the events."""
        if self._dirty and time.monotonic() - self._published >= self.config.publish_seconds:
            return self.publish()
        return self._view

    def publish(self) -> LiveView:
        """Make a new view of the rooms and replace the old one."""
        with self.lock:
            coded_row = self.table["coded_row"].copy()
            self._view = LiveView(
                rooms=tuple(self._order),
                **{name: self.table[name].copy() for name in _COPIED},
                waiting=self.table["waiting"].copy(),
                coded_row=coded_row,
                vectors=self.coded_windows["vector"][coded_row],
                codes=self.coded_windows["codes"][coded_row],
                counts=self.table["counts"].copy(),
                author_counts=self.table["author_counts"].copy(),
                outcomes=self.table["outcomes"].copy(),
                coded_windows=self.coded_windows,
                window_ms=self.window_ms,
                quiet_ms=int(1000 * self.config.room_quiet_seconds),
            )
            self._dirty, self._published = False, time.monotonic()
            return self._view

    # What happens on the platform

    def start_room(
        self, room_id: int, author_id: int, started_at: int, title: str | None, category: str | None, language: str | None
    ) -> LiveRoom:
        """Add a room; a start that is sent again later changes its texts from then on.

        Until its first window is encoded, its content is its author alone.
        """
        room = self.rooms.get(room_id)
        if room is not None:
            if started_at > room.started_at:
                self._change_room(room, RoomText(started_at, title, category), language)
            return room
        if len(self.rooms) >= self.most_rooms:
            self._remove(self.rooms.popitem(last=False)[1])
        row = self.table.append(
            room_id=room_id,
            author_id=author_id,
            started_at=started_at,
            ended_at=NEVER_ENDS,
            heard_at=started_at,
            coded_row=self.coded_windows.of_authors(np.array([author_id]))[0],
            counts=np.nan,
            author_counts=self.author_counts.before(author_id, self._day),
        )
        texts = RoomTexts([RoomText(-1, title, category)])  # before any change
        room = LiveRoom(room_id, author_id, texts, language, started_at, row, started_at)
        self.rooms[room_id] = room
        self._order.append(room)
        self._touch(started_at)
        return room

    def _change_room(self, room: LiveRoom, text: RoomText, language: str | None) -> None:
        room.texts.change(text)
        room.texts.forget((self.closed_until + 1) * self.window_ms)
        room.language = room.language if language is None else language
        self.hear(room, text.at)

    def end_room(self, room_id: int, ended_at: int) -> None:
        """End a room: from `ended_at` on it is not a candidate; only the first end counts."""
        row = self.rooms[room_id].row
        if self.table["ended_at"][row] == NEVER_ENDS:
            self.table["ended_at"][row] = ended_at
            self.sessions.end_room(room_id, ended_at)
        self._touch(ended_at)

    def hide_room(self, room_id: int, *, hidden: bool) -> None:
        """Take a room out of all lists and pages, or put it back."""
        self.table["hidden"][self.rooms[room_id].row] = hidden
        self._dirty = True

    def hear(self, room: LiveRoom, at: int) -> None:
        """Record that something happened in a room; one that was quiet for long is live again."""
        if at - room.heard_at > 100 * self.config.room_quiet_seconds:  # a tenth of it; other views are as old as a tick at most
            self._dirty = True
        room.heard_at = max(room.heard_at, at)
        self.table["heard_at"][room.row] = room.heard_at
        self.rooms.move_to_end(room.room_id)
        self.clock = max(self.clock, at)

    def happened(self, room_id: int, at: int) -> OpenWindow | None:
        """The open window of `at`, to record an event in; None if that window is closed."""
        self.hear(self.rooms[room_id], at)
        number = at // self.window_ms
        if number <= self.closed_until:
            self.late_events += 1
            return None
        rooms = self.open[number]
        window = rooms.get(room_id)
        if window is None:
            window = rooms[room_id] = OpenWindow()
        return window

    def show(self, user_id: int, room_ids: Ints, at: int, request: str | None) -> None:
        """Record that rooms [n] are shown to a user with their present content."""
        rooms = [self.rooms[room_id] for room_id in room_ids.tolist() if room_id in self.rooms]
        coded_rows = self.table["coded_row"][[room.row for room in rooms]] if rooms else np.zeros(0, dtype=np.int64)
        room_ids = np.array([room.room_id for room in rooms], dtype=np.int64)
        window, day = at // self.window_ms, at // DAY_MS
        for place in self.users.show(user_id, request, room_ids, coded_rows, at).tolist():
            room = rooms[place]
            room.shown_in.add(window)
            self.author_counts.add(room.author_id, AUTHOR_COUNTS.index("impressions"), day)
            self.outcomes.shown(room.room_id, at)
            self.user_counts.add(user_id, 0, day)
        self.clock = max(self.clock, at)

    def enter(self, play_id: str, user_id: int, room_id: int, at: int, request: str | None) -> None:
        """Record that a user enters a room; a click adds the shown window to their history."""
        room = self.rooms[room_id]
        click = self.users.enter(user_id, room_id, request, at)
        if click is not None:
            self.users.engage(user_id, click.coded_row, at)
            self.outcomes.clicked(room_id, click.shown_at, at)
            self.list_outcomes.clicked(user_id, room_id, click.shown_at, at)
            self.author_counts.add(room.author_id, AUTHOR_COUNTS.index("clicks"), at // DAY_MS)
            self.user_counts.add(user_id, 1, at // DAY_MS)
        if at < self.table["ended_at"][room.row]:
            self.sessions.start(play_id, room_id, user_id, room.author_id, at, room.started_at, click is not None)
        self.hear(room, at)

    def leave(self, play_id: str, at: int) -> None:
        """Record that a user leaves."""
        self.sessions.end(play_id, at)
        self.clock = max(self.clock, at)

    # As time passes

    def set_coded(self, room: LiveRoom, coded_row: int, ended_at: int, counts: tuple[float, ...]) -> None:
        """Record the newest coded window of a room; readers see it after `publish`."""
        self.table["coded_row"][room.row] = coded_row
        self.table["content_at"][room.row] = ended_at
        self.table["counts"][room.row] = counts
        self._dirty = True

    def settle(self, window: int) -> None:
        """Count the outcomes of impressions known by the end of a window; seen after `publish`."""
        self._dirty = True
        outcomes = self.outcomes.take_known(window, self._day)
        by_row = {self.rooms[room_id].row: counts for room_id, counts in outcomes.items() if room_id in self.rooms}
        if by_row:
            self.table["outcomes"][list(by_row)] += list(by_row.values())

    def new_day(self, now: int) -> None:
        """At midnight, add yesterday's counts to those of the days before, and start today's."""
        day = now // DAY_MS
        if day == self._day:
            return
        self._day = day
        for room in self._order:
            self.table["author_counts"][room.row] = self.author_counts.before(room.author_id, day)
        self.table["outcomes"][:] = 0
        self.outcomes.forget(day)
        self.author_counts.forget(day)
        self.user_counts.forget(day)
        self._dirty = True

    def user_before(self, user_id: int) -> tuple[float, ...]:
        """The user's USER_COUNTS of the days before."""
        return self.user_counts.before(user_id, self._day)

    def forget_rooms(self, now: int) -> int:
        """End silent rooms and forget rooms that ended long ago; returns how many are forgotten."""
        silent, gone = now - int(1000 * self.config.room_silence_seconds), now - int(1000 * self.config.room_memory_seconds)
        for room in [room for room in self._order if room.heard_at < silent]:
            self.end_room(room.room_id, max(room.heard_at, room.started_at))
        ended = self.table["room_id"][self.table["ended_at"] < gone].tolist()
        for room_id in ended:
            self.forget_room(room_id)
        return len(ended)

    def forget_room(self, room_id: int) -> None:
        """Remove a room; users' engagements with it stay in their histories."""
        self._remove(self.rooms.pop(room_id))

    def _remove(self, room: LiveRoom) -> None:
        last = self.table.remove(room.row)
        moved = self._order.pop()
        if moved is not room:
            assert moved.row == last
            moved.row = room.row
            self._order[room.row] = moved
        self._dirty = True

    def compact(self) -> None:
        """Drop the coded windows that no room, list or history points to."""
        used = np.concatenate([self.users.coded_rows_used(), self.table["coded_row"]])
        self.coded_windows, number = self.coded_windows.compacted(used)
        self.users.renumber(number)
        self.table["coded_row"][:] = number[self.table["coded_row"]]
        self.publish()

    def _touch(self, at: int) -> None:
        self.clock = max(self.clock, at)
        self._dirty = True
