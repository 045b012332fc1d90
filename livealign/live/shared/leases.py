"""Leases of the readers of one release in Redis: who is alive.

    leases = Leases(client, "release-…", name, seconds=10)
    leases.renew()        # again and again; a reader that stops is alive no more after `seconds`
    leases.alive()

A sorted set holds each reader with the end of its lease. Times are those of the Redis server, so that machines need not agree
on theirs.
"""

import time
from typing import TYPE_CHECKING, NamedTuple, cast

from livealign.events.redis_log import redis_errors

if TYPE_CHECKING:
    from redis import Redis

KEY = "livealign:readers"
_KEPT_SECONDS = 86_400  # of the readers of a release that is served no more


class Reader(NamedTuple):
    """A reader that is alive."""

    name: str
    joined_at: int  # epoch milliseconds of the Redis server


class Leases:
    """The lease of one reader, and those of the others.

    Args:
        name: of this reader; only `renew` makes it one.
        seconds: a lease ends so long after it was renewed.
    """

    def __init__(self, client: "Redis", release_id: str, name: str, seconds: float) -> None:
        self._client, self._key, self._name, self._seconds = client, f"{KEY}:{release_id}", name, seconds
        self._joined_at: int | None = None
        self._renewed = 0.0

    def renew(self) -> tuple[Reader, ...]:
        """Renew this reader's lease, or join; returns the readers that are alive, this one too.

        A reader whose lease has ended joins again: others have its rooms by then.

        Raises:
            EventLogError: the server is unreachable.
        """
        with redis_errors(f"{self._key}: who reads is not known"):
            now = self._now()
            lapsed = time.monotonic() - self._renewed > self._seconds
            if self._joined_at is not None and lapsed:
                self._client.zrem(self._key, self._member())
            if self._joined_at is None or lapsed:
                self._joined_at = now
            asked_at = time.monotonic()
            with self._client.pipeline(transaction=True) as transaction:
                transaction.zadd(self._key, {self._member(): now + int(1000 * self._seconds)})
                transaction.zremrangebyscore(self._key, "-inf", now)
                transaction.expire(self._key, _KEPT_SECONDS)
                transaction.execute()
            self._renewed = asked_at  # only now: a lease that could not be renewed lapses
            return self._alive(now)

    def alive(self) -> tuple[Reader, ...]:
        """The readers that are alive, by name.

        Raises:
            EventLogError: the server is unreachable.
        """
        with redis_errors(f"{self._key}: who reads is not known"):
            return self._alive(self._now())

    def leave(self) -> None:
        """End this reader's lease, so that its rooms are taken over at the next tick.

        Raises:
            EventLogError: the server is unreachable; the lease ends by itself.
        """
        if self._joined_at is not None:
            with redis_errors(f"{self._key}: who reads is not known"):
                self._client.zrem(self._key, self._member())
            self._joined_at = None

    def _alive(self, now: int) -> tuple[Reader, ...]:
        members = cast("list[bytes]", self._client.zrangebyscore(self._key, f"({now}", "+inf"))
        joined = (member.decode().partition(" ") for member in members)
        return tuple(sorted(Reader(name, int(at)) for at, _, name in joined))

    def _member(self) -> str:
        return f"{self._joined_at} {self._name}"

    def _now(self) -> int:
        seconds, micros = cast("tuple[int, int]", self._client.time())
        return int(seconds) * 1000 + int(micros) // 1000
