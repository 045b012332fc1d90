"""One release's rooms in the shared reading: the share of a process, and what it follows."""

import time
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from livealign.errors import EventLogError
from livealign.live.lane import Lane
from livealign.live.serving import Serving
from livealign.live.shared.leases import Leases, Reader
from livealign.live.shared.read_window import ReadWindow, from_bytes, read_window, settle, take, to_bytes
from livealign.live.shared.shares import owners
from livealign.live.shared.vector_log import VectorLog
from livealign.live.state.rooms import LiveRoom
from livealign.live.state.state import LiveState

if TYPE_CHECKING:
    from redis import Redis

_REST_SECONDS = 300.0
_LOOK_SECONDS = 1.0  # between two looks at who is alive
_SETTLED_MS = 5_000  # a reader counts from the first window that ends so long after it joined: all have seen it by then
_MOST_UNKNOWN = 100_000  # rooms that others have read and this process has not heard of


class Step(NamedTuple):
    """The counts of one step."""

    published: int = 0  # windows
    followed: int = 0  # windows of other readers that rooms have now
    delays_seconds: tuple[float, ...] = ()  # from the end of each of these windows until now
    problem: str | None = None  # a window that cannot be read

    def plus(self, later: "Step") -> "Step":
        """The counts of both steps."""
        return Step(
            self.published + later.published,
            self.followed + later.followed,
            self.delays_seconds + later.delays_seconds,
            later.problem or self.problem,
        )


class Share(NamedTuple):
    """The rooms of a tick that this process reads, and what became of the others."""

    rooms: list[LiveRoom]
    late: Sequence[LiveRoom] = ()  # rooms of other readers, which have not read them for a whole tick
    ages_ms: Sequence[int] = ()  # of the codes that followed vectors have replaced


class SharedRelease:
    """The part of this process in the reading of one release's rooms.

    `share`, `rest` and `read` are for the tick; the others talk to Redis, in another thread.

    Args:
        name: of this process.
        lease_seconds: None for a process that reads no rooms.
        clock: seconds since 1970.
    """

    def __init__(
        self, client: "Redis", release_id: str, name: str, lease_seconds: float | None, clock: Callable[[], float]
    ) -> None:
        self.release_id, self._name, self._clock = release_id, name, clock
        self._reads = lease_seconds is not None
        self._leases = Leases(client, release_id, name, lease_seconds or 0.0)
        self._vectors = VectorLog(client, release_id, name)
        self._looked: float | None = None  # at who is alive; on the monotonic clock
        self._rests_until = 0.0  # on the monotonic clock
        self._position: bytes | None = None
        self._begun = False
        self._known: set[int] = set()  # ids of rooms with a published window
        self._unknown: set[int] = set()  # ids of rooms that others have read and this state does not have, or not yet
        self._gate = Lock()
        self._unpublished: set[int] = set()  # ids of rooms that were read
        self._ages_ms: list[int] = []
        self._uncounted = Step()  # of steps that ended in an error
        self._left: dict[int, int] = {}  # rooms that the last tick left to others → end of their waiting window
        self.readers: tuple[Reader, ...] = ()  # alive at the last look
        self.owned = 0  # rooms of this reader at the last tick
        self.followed_at: float | None = None  # on the monotonic clock: when windows of other readers came last

    # The tick

    def share(self, state: LiveState, rooms: Sequence[LiveRoom], window_ended_at: int) -> Share:
        """The share of this process in rooms that wait to be read; no rooms if it is no reader.

        Args:
            window_ended_at: epoch milliseconds: end of the window that is read. A reader that joined just before it does not
                count yet, so that all readers see the same ones.
        """
        with state.lock:  # others may have read a window before it was closed here
            for room in rooms:
                settle(state, room)
            waiting = {room.room_id: (room, room.waiting) for room in rooms if room.waiting is not None}
            content_at = state.table["content_at"]
            late = [room for room, _ in waiting.values() if self._left.get(room.room_id, 0) > content_at[room.row]]
        mine = self.own(state, [room for room, _ in waiting.values()], window_ended_at)
        own = {room.room_id for room in mine}
        ends = {room_id: (window.text.window + 1) * state.window_ms for room_id, (_, window) in waiting.items()}
        self._left = {room_id: end for room_id, end in ends.items() if room_id not in own}
        with self._gate:
            ages, self._ages_ms = self._ages_ms, []
        return Share(mine, [room for room in late if room.room_id not in own], ages)

    def own(self, state: LiveState, rooms: Sequence[LiveRoom], window_ended_at: int | None = None) -> list[LiveRoom]:
        """The rooms of this reader among these."""
        if not self._reads:
            return []
        readers = self.readers or (Reader(self._name, 0),)  # no other reader was seen
        if window_ended_at is not None:
            readers = tuple(one for one in readers if one.joined_at <= window_ended_at - _SETTLED_MS) or readers
        names = [reader.name for reader in readers]
        with state.lock:
            every = np.array(list(state.rooms), dtype=np.int64)
        mine = set(every[owners(every, names) == names.index(self._name)].tolist()) if self._name in names else set()
        self.owned = len(mine)
        return [room for room in rooms if room.room_id in mine]

    def rest(self) -> None:
        """Leave the rooms to other readers for a while, because this one fails.

        Without other readers it goes on trying.
        """
        self._rests_until = time.monotonic() + _REST_SECONDS

    def read(self, rooms: Sequence[LiveRoom]) -> None:
        """Have the newest windows of rooms published at the next step."""
        with self._gate:
            self._unpublished.update(room.room_id for room in rooms)

    # Redis

    def look(self, serving: Serving) -> None:
        """Look at who is alive; a process that can read renews its lease, or joins.

        Raises:
            EventLogError: the server is unreachable; the readers of the last look count on.
        """
        now = time.monotonic()
        if serving.refresher is None or now < self._rests_until:
            self._leases.leave()
            self.readers = self._leases.alive()
        else:
            self.readers = self._leases.renew()
        self._looked = now

    def alive(self) -> int:
        """The number of readers that are alive now.

        Raises:
            EventLogError: the server is unreachable.
        """
        return len(self._leases.alive())

    def step(self, lane: Lane) -> Step:
        """Follow what others have read, and publish what this process has read.

        Once a second it looks at who is alive.

        Raises:
            EventLogError: the server is unreachable; nothing is lost, and the readers of the last look count on.
        """
        if self._looked is None or time.monotonic() - self._looked >= _LOOK_SECONDS:
            self.look(lane.serving)
            self._forget(lane.state)
        step = self._uncounted.plus(self.follow(lane))
        if not self._begun:  # others may not have what this process has
            with lane.state.lock:
                rooms = list(lane.state.rooms.values())
            self.read([room for room in self.own(lane.state, rooms) if room.content is not None])
            self._begun = True
        self._uncounted = step  # where publishing fails the next step reports it
        published = self._publish(lane)
        self._uncounted = Step()
        return step._replace(published=published)

    def follow(self, lane: Lane) -> Step:
        """Give the rooms of a lane what others have read.

        Raises:
            EventLogError: the server is unreachable.
        """
        state = lane.state
        news = self._vectors.news(self._position)
        with state.lock:
            heard_of = [room_id for room_id in self._unknown if room_id in state.rooms]
        windows, problem = self.fetch(lane.serving, list(dict.fromkeys([*heard_of, *news.room_ids])))
        now = int(self._clock() * 1000)
        with state.lock:
            if lane.serving.release_id != self.release_id:
                return Step()  # another release has just been taken over
            taken = take(state, windows, now)
            if taken.windows:
                state.publish()
        self._position = news.position
        self._known.update(window.room_id for window in taken.windows)
        self._unknown = (self._unknown - set(heard_of)) | set(taken.unknown)
        if len(self._unknown) > _MOST_UNKNOWN:
            self._unknown.clear()
        with self._gate:
            self._ages_ms += taken.ages_ms
        if taken.windows:
            self.followed_at = time.monotonic()
        return Step(0, len(taken.windows), tuple((now - window.ended_at) / 1000 for window in taken.windows), problem)

    def fetch(self, serving: Serving, room_ids: Sequence[int] | None = None) -> tuple[list[ReadWindow], str | None]:
        """The published windows of rooms, by default of all, and why one of them cannot be read.

        Raises:
            EventLogError: the server is unreachable.
        """
        windows, problem, codebook = [], None, serving.recommender.codebook
        content_dim = serving.recommender.alignment.sizes.content_dim
        for data in self._vectors.windows(self._vectors.rooms() if room_ids is None else room_ids):
            try:
                windows.append(from_bytes(data, codebook.dim, codebook.levels, content_dim))
            except EventLogError as error:
                problem = str(error)
        return windows, problem

    def published_rooms(self) -> set[int]:
        """The ids of the rooms that any reader has read with this release.

        Raises:
            EventLogError: the server is unreachable.
        """
        return set(self._vectors.rooms())

    def leave(self) -> None:
        """Give up the share of this process.

        Raises:
            EventLogError: the server is unreachable; the lease ends by itself.
        """
        self._leases.leave()

    def _publish(self, lane: Lane) -> int:
        with self._gate:
            room_ids, self._unpublished = self._unpublished, set()
        state = lane.state
        with state.lock:
            if lane.serving.release_id != self.release_id:
                return 0
            rooms = [state.rooms[room_id] for room_id in room_ids if room_id in state.rooms]
            windows = [window for room in rooms if (window := read_window(state, room)) is not None]
        try:
            self._vectors.publish({window.room_id: to_bytes(window) for window in windows})
        except EventLogError:
            self.read(rooms)  # again at the next step
            raise
        self._known.update(window.room_id for window in windows)
        return len(windows)

    def _forget(self, state: LiveState) -> None:
        """Forget the rooms that the state has forgotten; a reader deletes their windows too."""
        with state.lock:
            gone = [room_id for room_id in self._known if room_id not in state.rooms]
        if self._reads:
            self._vectors.forget(gone)
        self._known.difference_update(gone)
