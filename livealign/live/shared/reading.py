"""The role of a process in the shared reading, and its part in each release.

A *reader* turns closed windows into vectors and codes, for its share of the rooms, and publishes them. A *ranker* follows them
and loads no language model. A process that is *both* reads its share and follows the others'.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from livealign.config import LiveConfig
from livealign.errors import EventLogError
from livealign.live.answers import Role, SharedReport, SharedStatus
from livealign.live.lane import Lane
from livealign.live.serving import Serving
from livealign.live.shared.read_window import ReadWindow
from livealign.live.shared.release import SharedRelease, Step

if TYPE_CHECKING:
    from redis import Redis

_READ_SHARE = 0.9  # of the rooms with content, which a new release has to have before a ranker takes it over


class _Wanted(NamedTuple):
    """When a release was asked for, on the monotonic clock."""

    since: float
    last: float


class SharedReading:
    """The part of this process in the reading of all releases in service; thread-safe.

    Args:
        client: of the Redis server that holds the event log.
        clock: seconds since 1970.
    """

    def __init__(self, client: "Redis", role: Role, config: LiveConfig, clock: Callable[[], float] = time.time) -> None:
        self.role, self.reads = role, role != "ranker"
        self._client, self._config, self._clock = client, config, clock
        self._name = uuid.uuid4().hex
        self._gate = Lock()
        self._releases: dict[str, SharedRelease] = {}
        self._wanted: dict[str, _Wanted] = {}  # releases that are to be taken over
        self._steps: list[Step] = []  # not reported yet: an error of another release came between

    def of(self, release_id: str) -> SharedRelease:
        """The part of this process in one release."""
        lease = self._config.reader_lease_seconds if self.reads else None
        with self._gate:
            if release_id not in self._releases:
                self._releases[release_id] = SharedRelease(self._client, release_id, self._name, lease, self._clock)
            return self._releases[release_id]

    def state_config(self, release_id: str) -> LiveConfig:
        """The settings of a state that is about to be restored: `max_rooms` counts for each reader.

        Raises:
            EventLogError: the server is unreachable.
        """
        readers = self.of(release_id).alive() + self.reads
        return replace(self._config, max_rooms=self._config.max_rooms * max(1, readers))

    def is_read(self, release_id: str) -> bool:
        """Whether any reader of a release is alive."""
        return bool(self.of(release_id).readers)

    def status(self, release_id: str) -> SharedStatus:
        """The part of this process in the champion, as the service reports it."""
        shared = self.of(release_id)
        age = None if shared.followed_at is None else time.monotonic() - shared.followed_at
        return SharedStatus(self.role, len(shared.readers), shared.owned, age)

    def step(self, lanes: Sequence[Lane]) -> SharedReport:
        """Follow and publish for the releases in service, the champion's lane first.

        Raises:
            EventLogError: the server is unreachable; the next step goes on.
        """
        served = {lane.serving.release_id: lane for lane in lanes}
        for release_id, lane in served.items():
            shared = self.of(release_id)
            self._steps.append(shared.step(lane))
            with lane.state.lock:
                lane.state.most_rooms = self._config.max_rooms * max(1, len(shared.readers))
        with self._gate:
            over = [release for release in self._releases if release not in served and release not in self._wanted]
            gone = [self._releases.pop(release_id) for release_id in over]
            self._wanted = {release: times for release, times in self._wanted.items() if release not in served}
        for shared in gone:
            shared.leave()
        steps, self._steps = self._steps, []
        champion = self.of(next(iter(served)))
        return SharedReport(
            readers=len(champion.readers),
            rooms_owned=champion.owned,
            published=sum(step.published for step in steps),
            followed=sum(step.followed for step in steps),
            delays_seconds=tuple(delay for step in steps for delay in step.delays_seconds),
            problems=tuple(step.problem for step in steps if step.problem is not None),
        )

    def may_take_over(self, release_id: str, lane: Lane) -> bool:
        """Whether a ranker may serve a release: the readers have read its rooms, or took too long.

        They have, when nine of ten of the live rooms that were read with the champion are read with it. A reader reads them
        itself: it may wherever the server answers, without which `join` would fail after all was loaded. The wait begins again
        for a release that was not asked for in between.

        Args:
            lane: of the champion in service.

        Raises:
            EventLogError: the server is unreachable.
        """
        now, patience = time.monotonic(), self._config.release_wait_seconds
        with self._gate:
            wanted = self._wanted.get(release_id)
            if wanted is None or now - wanted.last > patience + 2 * self._config.champion_poll_seconds:
                wanted = _Wanted(now, now)
            self._wanted[release_id] = wanted._replace(last=now)
        if self.reads:
            self.of(release_id).alive()
            return True
        before = self.of(lane.serving.release_id).published_rooms()
        with lane.state.lock:
            table, at = lane.state.table, int(1000 * self._clock())
            rooms = before.intersection(table["room_id"][table["ended_at"] > at].tolist())
        read = len(rooms & self.of(release_id).published_rooms())
        return read >= _READ_SHARE * len(rooms) or now - wanted.since >= patience

    def join(self, serving: Serving) -> list[ReadWindow]:
        """Join the readers of a release that is about to be taken over, if this process reads.

        Returns what they have published so far.

        Raises:
            EventLogError: the server is unreachable.
        """
        shared = self.of(serving.release_id)
        shared.look(serving)
        return shared.fetch(serving)[0]

    def close(self) -> None:
        """Give up this process's share of the rooms, so that others read them at their next tick."""
        with self._gate:
            releases, self._releases = list(self._releases.values()), {}
        for shared in releases:
            with suppress(EventLogError):  # the lease ends by itself
                shared.leave()
