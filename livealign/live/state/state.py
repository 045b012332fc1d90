"""What the service knows of the platform right now: the rooms, what each is about, and what users engaged with.

Events change the state under `lock`. Readers take a `LiveView`, an immutable picture of all rooms as arrays, which is swapped
in by one assignment: a recommendation never waits for a refresh, and never sees half of one.
"""

import time
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from threading import RLock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.config import LiveConfig
from livealign.dataset.features import AUTHOR_COUNTS, WINDOW_COUNTS
from livealign.dataset.recent_content import RecentContent
from livealign.dataset.room_outcomes import OUTCOME_COUNTS, RoomOutcomes
from livealign.days import DAY_MS
from livealign.live.state.columns import Columns
from livealign.live.state.counts import RunningCounts
from livealign.live.state.moments import Moments
from livealign.live.state.room_texts import RoomText, RoomTexts
from livealign.live.state.sessions import Sessions
from livealign.live.state.users import Users
from livealign.live.state.windows import OpenWindow
from livealign.llm.segment_text import Moment

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

NEVER_ENDS = np.iinfo(np.int64).max
N_VIEWERS = WINDOW_COUNTS.index("n_viewers")


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A window of a room that has ended and has something to tell."""

    moment: Moment
    earlier: tuple[Moment, ...]  # the room's telling moments before it, newest first
    counts: tuple[float, ...]  # by WINDOW_COUNTS, NaN where unknown
    shown_before: bool  # whether the room was shown between its last encoded window and this one


class CodedMoment(NamedTuple):
    """A window that was encoded, as it is kept to be looked at."""

    segment_id: int
    ended_at: int  # epoch milliseconds
    text: str
    codes: tuple[int, ...]
    counts: tuple[float, ...]


@dataclass(slots=True)
class RoomContent:
    """What the LLM made of a room's last encoded window. Belongs to one release."""

    text: str
    vector: Floats  # [hidden] of that window alone
    before: RecentContent | None  # the average without it
    average: RecentContent  # and with it


@dataclass(slots=True, eq=False)
class LiveRoom:
    """One broadcast. `row` is its place in the state's arrays."""

    room_id: int
    author_id: int
    texts: RoomTexts
    language: str | None
    started_at: int  # epoch milliseconds
    row: int
    heard_at: int  # epoch milliseconds of the latest event
    earlier: tuple[Moment, ...] = ()
    shown_in: set[int] = field(default_factory=set)  # windows in which it was shown, since the last that was encoded
    waiting: ClosedWindow | None = None  # the newest that is not encoded
    encoded: ClosedWindow | None = None  # the newest that is
    content: RoomContent | None = None
    windows: deque[CodedMoment] = field(default_factory=deque)  # newest first

    @property
    def title(self) -> str | None:
        """The latest."""
        return self.texts.before(inf).title

    @property
    def category(self) -> str | None:
        """The latest."""
        return self.texts.before(inf).category


class LiveView(NamedTuple):
    """All rooms at one instant, n of them in the order of `rooms`; never changed once made."""

    rooms: tuple[LiveRoom, ...]
    room_id: Ints  # [n]
    author_id: Ints  # [n]
    started_at: Ints  # [n]
    ended_at: Ints  # [n], NEVER_ENDS while live without a known end
    content_at: Ints  # [n] end of the window that the codes describe, 0 = none yet
    waiting: NDArray[np.bool_]  # [n] whether a newer window waits for the LLM
    moment: Ints  # [n] rows of the moments table
    vectors: Floats  # [n, dim]
    codes: Ints  # [n, levels]
    counts: NDArray[np.float64]  # [n, WINDOW_COUNTS] of the window that the codes describe
    author_counts: NDArray[np.float64]  # [n, AUTHOR_COUNTS] of the days before
    outcomes: NDArray[np.float64]  # [n, OUTCOME_COUNTS] of today
    moments: Moments  # the table that `moment` points into

    def live_at(self, at: int) -> Ints:
        """Rows of the rooms that are live at `at` (epoch milliseconds)."""
        return np.flatnonzero((self.started_at <= at) & (at < self.ended_at))

    def columns(self, rows: Ints) -> dict[str, NDArray[np.float64]]:
        """The feature columns of these rooms that do not depend on the request, [len(rows)] each."""
        counts, authors = self.counts[rows], self.author_counts[rows]
        told = {name: counts[:, place] for place, name in enumerate(WINDOW_COUNTS)}
        told |= {f"author_{name}": authors[:, place] for place, name in enumerate(AUTHOR_COUNTS)}
        return told | dict(zip(OUTCOME_COUNTS, self.outcomes[rows].T, strict=True))


class LiveState:
    """The state of one service process; all changes go under `lock`."""

    def __init__(
        self,
        config: LiveConfig,
        moments: Moments,
        users: Users,
        sessions: Sessions,
        user_counts: RunningCounts,
        author_counts: RunningCounts,
        window_ms: int,
        clock: int,
    ) -> None:
        """`clock`: epoch milliseconds, the moment from which the state goes on."""
        self.config, self.moments, self.users, self.sessions = config, moments, users, sessions
        self.user_counts, self.author_counts = user_counts, author_counts
        self.window_ms = window_ms
        self.clock = clock  # the latest moment that the state knows of
        self.closed_until = clock // window_ms - 1  # the last window that is over
        self.late_events = 0
        self.lock = RLock()
        self.rooms: dict[int, LiveRoom] = {}
        self.open: dict[int, dict[int, OpenWindow]] = defaultdict(dict)  # window → room → what happened
        self._order: list[LiveRoom] = []  # by row
        self.table = Columns(
            room_id=np.int64,
            author_id=np.int64,
            started_at=np.int64,
            ended_at=np.int64,
            content_at=np.int64,
            waiting=np.bool_,
            moment=np.int64,
            counts=(np.float64, len(WINDOW_COUNTS)),
            author_counts=(np.float64, len(AUTHOR_COUNTS)),
            outcomes=(np.float64, len(OUTCOME_COUNTS)),
        )
        self.outcomes = RoomOutcomes()  # those that are not in the table yet
        self._day = clock // DAY_MS
        self._dirty, self._published = False, 0.0
        self._view = self.publish()

    # Reading

    def view(self) -> LiveView:
        """The picture of the rooms, at most `publish_seconds` behind the events."""
        if self._dirty and time.monotonic() - self._published >= self.config.publish_seconds:
            return self.publish()
        return self._view

    def publish(self) -> LiveView:
        """Make the picture of the rooms as they are and swap it in."""
        with self.lock:
            moment = self.table["moment"].copy()
            self._view = LiveView(
                rooms=tuple(self._order),
                **{name: self.table[name].copy() for name in ("room_id", "author_id", "started_at", "ended_at", "content_at")},
                waiting=self.table["waiting"].copy(),
                moment=moment,
                vectors=self.moments["vector"][moment],
                codes=self.moments["codes"][moment],
                counts=self.table["counts"].copy(),
                author_counts=self.table["author_counts"].copy(),
                outcomes=self.table["outcomes"].copy(),
                moments=self.moments,
            )
            self._dirty, self._published = False, time.monotonic()
            return self._view

    # What happens on the platform

    def start_room(
        self, room_id: int, author_id: int, started_at: int, title: str | None, category: str | None, language: str | None
    ) -> LiveRoom:
        """A broadcast begins: until its first window is encoded it is its author alone. Sent again later, its texts change."""
        room = self.rooms.get(room_id)
        if room is not None:
            if started_at > room.started_at:
                self._change_room(room, RoomText(started_at, title, category), language)
            return room
        if len(self.rooms) >= self.config.max_rooms:
            self.forget_room(min(self.rooms.values(), key=lambda one: one.heard_at).room_id)
        row = self.table.append(
            room_id=room_id,
            author_id=author_id,
            started_at=started_at,
            ended_at=NEVER_ENDS,
            moment=self.moments.of_authors(np.array([author_id]))[0],
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
        room.heard_at = max(room.heard_at, text.at)
        self.clock = max(self.clock, text.at)

    def end_room(self, room_id: int, ended_at: int) -> None:
        """A broadcast ends: from `ended_at` on it is no candidate. The first end that is told holds."""
        row = self.rooms[room_id].row
        if self.table["ended_at"][row] == NEVER_ENDS:
            self.table["ended_at"][row] = ended_at
            self.sessions.end_room(room_id, ended_at)
        self._touch(ended_at)

    def happened(self, room_id: int, at: int) -> OpenWindow | None:
        """The open window of `at`, to be told what happened in it; None where that window is over."""
        room = self.rooms[room_id]
        room.heard_at = max(room.heard_at, at)
        self.clock = max(self.clock, at)
        window = at // self.window_ms
        if window <= self.closed_until:
            self.late_events += 1
            return None
        rooms = self.open[window]
        found = rooms.get(room_id)
        if found is None:
            found = rooms[room_id] = OpenWindow()
        return found

    def show(self, user_id: int, room_ids: Ints, at: int, request: str | None) -> None:
        """Rooms [n] are shown to a user, as they are now."""
        known = [self.rooms[one] for one in room_ids.tolist() if one in self.rooms]
        moments = self.table["moment"][[room.row for room in known]] if known else np.zeros(0, dtype=np.int64)
        room_ids = np.array([room.room_id for room in known], dtype=np.int64)
        window, day = at // self.window_ms, at // DAY_MS
        for place in self.users.show(user_id, request, room_ids, moments, at).tolist():
            room = known[place]
            room.shown_in.add(window)
            self.author_counts.add(room.author_id, AUTHOR_COUNTS.index("impressions"), day)
            self.outcomes.shown(room.room_id, at)
            self.user_counts.add(user_id, 0, day)
        self.clock = max(self.clock, at)

    def enter(self, play_id: str, user_id: int, room_id: int, at: int, request: str | None) -> None:
        """A user enters a room. Where it is a click, the moment that they were shown is the newest of their history."""
        room = self.rooms[room_id]
        click = self.users.enter(user_id, room_id, request, at)
        if click is not None:
            self.users.engage(user_id, click.moment, at)
            self.outcomes.clicked(room_id, click.shown_at, at)
            self.author_counts.add(room.author_id, AUTHOR_COUNTS.index("clicks"), at // DAY_MS)
            self.user_counts.add(user_id, 1, at // DAY_MS)
        if at < self.table["ended_at"][room.row]:
            self.sessions.start(play_id, room_id, user_id, room.author_id, at, room.started_at, click is not None)
        room.heard_at = max(room.heard_at, at)
        self.clock = max(self.clock, at)

    def leave(self, play_id: str, at: int) -> None:
        """A user leaves."""
        self.sessions.end(play_id, at)
        self.clock = max(self.clock, at)

    # What time does

    def tell(self, room: LiveRoom, moment: int, ended_at: int, counts: tuple[float, ...]) -> None:
        """A window of the room has been encoded: `moment` is its row. Seen after `publish`."""
        self.table["moment"][room.row] = moment
        self.table["content_at"][room.row] = ended_at
        self.table["counts"][room.row] = counts
        self._dirty = True

    def settle(self, window: int) -> None:
        """The windows up to this one are over: what they told of impressions counts from now on. Seen after `publish`."""
        known = self.outcomes.known(window, self._day)
        of_row = {self.rooms[room_id].row: counts for room_id, counts in known.items() if room_id in self.rooms}
        if of_row:
            self.table["outcomes"][list(of_row)] += list(of_row.values())
            self._dirty = True

    def new_day(self, now: int) -> None:
        """At midnight the counts of the day before become known, and those of today begin."""
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
        """End the rooms of which nothing was heard for long; forget those that ended long ago. How many are gone."""
        silent, gone = now - int(1000 * self.config.room_silence_seconds), now - int(1000 * self.config.room_memory_seconds)
        for room in [one for one in self._order if one.heard_at < silent]:
            self.end_room(room.room_id, max(room.heard_at, room.started_at))
        ended = self.table["room_id"][self.table["ended_at"] < gone].tolist()
        for room_id in ended:
            self.forget_room(room_id)
        return len(ended)

    def forget_room(self, room_id: int) -> None:
        """As if it had never been; what users engaged with stays in their histories."""
        room = self.rooms.pop(room_id)
        last = self.table.remove(room.row)
        moved = self._order.pop()
        if moved is not room:
            assert moved.row == last
            moved.row = room.row
            self._order[room.row] = moved
        self._dirty = True

    def compact(self) -> None:
        """Forget the moments that no room, list or history points to any more."""
        used = np.concatenate([self.users.moments_used(), self.table["moment"]])
        self.moments, number = self.moments.compacted(used)
        self.users.renumber(number)
        self.table["moment"][:] = number[self.table["moment"]]
        self.publish()

    def _touch(self, at: int) -> None:
        self.clock = max(self.clock, at)
        self._dirty = True


def named_counts(counts: tuple[float, ...]) -> dict[str, float]:
    """By WINDOW_COUNTS; what is unknown is left out."""
    return {name: value for name, value in zip(WINDOW_COUNTS, counts, strict=True) if value == value}


def known_counts(row: Mapping[str, float | None]) -> tuple[float, ...]:
    """In the order of WINDOW_COUNTS, NaN where unknown."""
    return tuple(np.nan if (value := row.get(name)) is None else float(value) for name in WINDOW_COUNTS)
