"""The vectors of one release in Redis: each room's newest window, and which are new.

A hash holds the newest window of each room, so that it does not grow with time. A stream holds the ids of the rooms in the
order in which they were read. A process that follows it fetches the newest windows of these rooms; one that is late skips those
in between. At its start, or when its place in the stream is gone, it fetches all rooms once.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from livealign.events.redis_log import redis_errors

if TYPE_CHECKING:
    from redis import Redis

KEY = "livealign:vectors"
_ROOMS, _BY = b"rooms", b"by"
_PAGE = 256  # windows of one fetch
_ENTRIES = 4_096  # of the stream that are kept, about
_KEPT_SECONDS = 86_400  # after the last reading; then the release is served no more


class News(NamedTuple):
    """The rooms that were read since the last look."""

    position: bytes | None  # in the stream; None: it is empty
    room_ids: list[int]


class VectorLog:
    """One client of a release's vectors; thread-safe."""

    def __init__(self, client: "Redis", release_id: str, name: str) -> None:
        """`name`: of this process, which needs no news of what it published itself."""
        self._client, self._name = client, name.encode()
        self._windows, self._stream = f"{KEY}:{release_id}", f"{KEY}:{release_id}:read"

    def publish(self, windows: Mapping[int, bytes]) -> None:
        """Replace the windows of these rooms, all of them or none.

        Raises:
            EventLogError: the server is unreachable, full or read-only; publish them again.
        """
        if not windows:
            return
        with (
            redis_errors(f"{self._windows}: vectors of {len(windows)} rooms were not published"),
            self._client.pipeline(transaction=True) as transaction,
        ):
            transaction.hset(self._windows, mapping={str(room_id): data for room_id, data in windows.items()})
            rooms = json.dumps(list(windows)).encode()
            transaction.xadd(self._stream, {_ROOMS: rooms, _BY: self._name}, maxlen=_ENTRIES, approximate=True)
            transaction.expire(self._windows, _KEPT_SECONDS)
            transaction.expire(self._stream, _KEPT_SECONDS)
            transaction.execute()

    def news(self, after: bytes | None) -> News:
        """The rooms that others have read after a position.

        All rooms, if the position is None or no longer in the stream.

        Raises:
            EventLogError: the server is unreachable.
        """
        with redis_errors(f"{self._windows} cannot be read"):
            if after is not None:
                entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", self._client.xrange(self._stream, min=after.decode()))
                if entries and entries[0][0] == after:
                    new = (json.loads(fields[_ROOMS]) for _, fields in entries[1:] if fields[_BY] != self._name)
                    return News(entries[-1][0], list(dict.fromkeys(room_id for room_ids in new for room_id in room_ids)))
            last = cast("list[tuple[bytes, dict[bytes, bytes]]]", self._client.xrevrange(self._stream, count=1))
            return News(last[0][0] if last else None, self._rooms())  # the position first: later rooms come again

    def rooms(self) -> list[int]:
        """The ids of all rooms that have a window.

        Raises:
            EventLogError: the server is unreachable.
        """
        with redis_errors(f"{self._windows} cannot be read"):
            return self._rooms()

    def windows(self, room_ids: Sequence[int]) -> Iterator[bytes]:
        """The newest windows of rooms; those that were forgotten are left out.

        Raises:
            EventLogError: the server is unreachable.
        """
        for start in range(0, len(room_ids), _PAGE):
            fields = [str(room_id) for room_id in room_ids[start : start + _PAGE]]
            with redis_errors(f"{self._windows} cannot be read"):
                page = cast("list[bytes | None]", self._client.hmget(self._windows, fields))
            yield from (data for data in page if data is not None)

    def forget(self, room_ids: Iterable[int]) -> None:
        """Delete the windows of rooms that are over; repeatable.

        Raises:
            EventLogError: the server is unreachable.
        """
        fields = [str(room_id) for room_id in room_ids]
        if fields:
            with redis_errors(f"{self._windows}: {len(fields)} rooms were not forgotten"):
                self._client.hdel(self._windows, *fields)

    def _rooms(self) -> list[int]:
        return [int(field) for field in cast("list[bytes]", self._client.hkeys(self._windows))]
