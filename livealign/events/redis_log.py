"""The event log in a Redis stream, shared by several machines.

    log = RedisLog.open("redis://:password@host:6379/0")
    log.append([b'{"kind": "like"}'])     # returns when the server has it on disk

A record is one entry of the stream; its id is its position. Appended means fsynced: the server must run with `appendonly yes`
and `appendfsync always`. It then replies after the fsync that covers a write, and stops if it cannot fsync. `open` checks the
server's settings. All records of a call are added in one transaction: all of them or none.

The stream is not the archive: `livealign.events.redis_export` writes it to closed files and then trims it. It never trims a
record that was not exported. A full server rejects writes instead of evicting records (`noeviction`), so no acknowledged record
is lost.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import urlsplit

from livealign.errors import EventLogError
from livealign.events.log import START, Position

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger(__name__)

STREAM = "livealign:events"
URL = "LIVEALIGN_REDIS_URL"  # in the environment, for it may hold a password
FIELD = b"r"
PAGE = 1_000  # entries of one read
TIMEOUT_SECONDS = 10.0
REQUIRED_SETTINGS = {"appendonly": "yes", "appendfsync": "always"}


@dataclass(eq=False)
class RedisLog:
    """One client of the shared log; thread-safe.

    Any number of processes may append to the log and read from it.
    """

    client: "Redis"
    stream: str = STREAM

    shared = True

    @classmethod
    def open(cls, url: str, stream: str = STREAM, require_durable: bool = True) -> Self:
        """Connect, and check that the server keeps what it acknowledges.

        Args:
            url: redis://, rediss:// (TLS) or unix://; a password belongs into the environment that makes the URL.
            require_durable: raise if the server is not durable, or hides its settings; False only warns, for trials.

        Raises:
            EventLogError: the package `redis` is missing, no server answers, or it would lose what it acknowledged.
        """
        redis = _package()
        try:
            client = redis.Redis.from_url(url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS)
            problems = _durability_problems(client)
        except (redis.RedisError, ValueError) as error:
            raise EventLogError(
                f"no Redis server answers at {_without_secret(url)} ({error}); see docs/operations.md"
            ) from error
        if problems and require_durable:
            raise EventLogError(f"the Redis server at {_without_secret(url)} could lose events: {'; '.join(problems)}")
        for problem in problems:
            logger.warning("the event log in Redis could lose events: %s", problem)
        return cls(client, stream)

    @classmethod
    def from_environment(cls) -> Self | None:
        """The log that LIVEALIGN_REDIS_URL names, or None if it is not set.

        Raises:
            EventLogError: the same as for `open`.
        """
        url = os.environ.get(URL)
        return cls.open(url) if url else None

    def append(self, records: Sequence[bytes]) -> None:
        """Append all of the records or none; the server has them on disk when it returns.

        Raises:
            EventLogError: the server is unreachable, full or read-only. After a lost connection it is unknown whether the
                records were kept: send them again, duplicates are found by their ids.
        """
        if not records:
            return
        if any(b"\n" in record for record in records):
            raise EventLogError("a record has a line break; give JSON without line breaks")
        with self.client.pipeline(transaction=True) as transaction:
            for record in records:
                transaction.xadd(self.stream, {FIELD: record})
            try:
                transaction.execute()
            except _package().RedisError as error:
                raise EventLogError(f"{self.stream}: {len(records)} events were not acknowledged ({error})") from error

    def read(self, after: Position = START) -> Iterator[tuple[Position, bytes]]:
        """Every record after the position, oldest first; from START every untrimmed record.

        Raises:
            EventLogError: records after the position have been trimmed, or the server is unreachable.
        """
        if after != START and after < self.trimmed():
            raise EventLogError(
                f"{self.stream}: records after {after} were exported and trimmed; start again from START, or read the files"
            )
        while True:
            with self._read():
                answer = self.client.xrange(self.stream, min=f"({_id_of(after)}", max="+", count=PAGE)
            page = cast("list[tuple[bytes, dict[bytes, bytes]]]", answer)  # the package types all its modes at once
            for entry, fields in page:
                after = _position_of(entry)
                if FIELD in fields:  # entries of other programs are skipped
                    yield after, fields[FIELD]
            if len(page) < PAGE:
                return

    def end(self) -> Position:
        """The position after the last record.

        Raises:
            EventLogError: the server is unreachable.
        """
        with self._read():
            last = cast("list[tuple[bytes, dict[bytes, bytes]]]", self.client.xrevrange(self.stream, count=1))
        return _position_of(last[0][0]) if last else self.trimmed()

    def trim(self, before: Position) -> int:
        """Delete the records up to and including a position; returns how many were deleted.

        The caller has exported them to files.
        """
        limit = Position(before.file, before.offset + 1)
        with self.client.pipeline(transaction=True) as transaction:
            transaction.set(f"{self.stream}:trimmed", _id_of(before))
            transaction.xtrim(self.stream, minid=_id_of(limit), approximate=False)
            try:
                return int(transaction.execute()[1])
            except _package().RedisError as error:
                raise EventLogError(f"{self.stream} cannot be trimmed ({error})") from error

    def trimmed(self) -> Position:
        """The last position that was trimmed.

        Raises:
            EventLogError: the server is unreachable.
        """
        with self._read():
            entry = cast("bytes | None", self.client.get(f"{self.stream}:trimmed"))
        return _position_of(entry) if entry else START

    def erase(self, matches: Callable[[bytes], bool]) -> int:
        """Delete the records that match from the stream; returns how many.

        Files that were exported before keep theirs.

        Raises:
            EventLogError: the server is unreachable. Erase again; what was deleted stays so.
        """
        erased = 0
        for position, record in self.read():
            if matches(record):
                try:
                    erased += int(self.client.xdel(self.stream, _id_of(position)))
                except _package().RedisError as error:
                    raise EventLogError(f"{self.stream}: records could not be erased ({error}); try again") from error
        return erased

    def now_ms(self) -> int:
        """The server's clock, which the positions are made from: epoch milliseconds.

        Raises:
            EventLogError: the server is unreachable.
        """
        with self._read():
            seconds, micros = self.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def _read(self) -> AbstractContextManager[None]:
        return redis_errors(f"{self.stream} cannot be read")


@contextmanager
def redis_errors(what: str) -> Iterator[None]:
    """Raise the package's errors as one of ours.

    Args:
        what: the beginning of the message: what could not be done.

    Raises:
        EventLogError: the server is unreachable, full or read-only.
    """
    try:
        yield
    except _package().RedisError as error:
        raise EventLogError(f"{what} ({error}); look at the Redis server") from error


def _package() -> Any:
    try:
        import redis  # an optional extra, needed only with Redis
    except ImportError as error:
        raise EventLogError(
            "the package `redis` is missing; install livealign with its extra: pip install -e '.[redis]'"
        ) from error
    return redis


def _durability_problems(client: "Redis") -> list[str]:
    """The reasons why the server could lose acknowledged records; empty if it is durable."""
    if client.info("replication").get("role") != "master":
        return ["it is a replica, and takes no writes; name the master"]
    persistence = client.info("persistence")
    problems = []
    if str(persistence.get("aof_last_write_status", "ok")) != "ok":
        problems.append("its last write to the append-only file failed; free some space")
    try:
        settings = client.config_get("append*") | client.config_get("maxmemory*")
    except _package().ResponseError as error:
        return [*problems, f"it does not show its settings ({error}); allow this user CONFIG GET"]
    for name, wanted in REQUIRED_SETTINGS.items():
        if settings.get(name) != wanted:
            problems.append(f"{name} is {settings.get(name)}; set {name} {wanted}")
    if settings.get("maxmemory", "0") != "0" and settings.get("maxmemory-policy") != "noeviction":
        problems.append(f"maxmemory-policy is {settings['maxmemory-policy']}; set maxmemory-policy noeviction")
    return problems


def _id_of(position: Position) -> str:
    return f"{position.file}-{position.offset}"


def _position_of(entry: bytes) -> Position:
    milliseconds, _, number = entry.decode().partition("-")
    return Position(int(milliseconds), int(number))


def _without_secret(url: str) -> str:
    """The URL without user and password, for messages."""
    parts = urlsplit(url)
    place = parts.hostname or parts.path
    return f"{parts.scheme}://{place}{f':{parts.port}' if parts.port else ''}"
