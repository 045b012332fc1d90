"""The event log in a Redis stream, for service processes on several machines: `event_log.Log` behind one server.

    log = RedisLog.open("redis://:password@host:6379/0")
    log.append([b'{"kind": "like"}'])     # returns when the server has it on disk

A record is one entry of the stream; its id is its position. Appended means fsynced: the server must run with `appendonly yes`
and `appendfsync always`, where a reply is sent after the fsync that covers it and a server that cannot fsync stops. `open` asks
the server for its settings and refuses others. All records of a call are added in one transaction: all of them or none.

The stream is not the archive: `livealign.events.redis_export` writes it to closed files and then trims it. What was not
exported is
never trimmed, and a server that is full refuses to append instead of forgetting (`noeviction`): nothing acknowledged is lost.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import urlsplit

from livealign.events.log import START, EventLogError, Position

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger(__name__)

STREAM = "livealign:events"
URL = "LIVEALIGN_REDIS_URL"  # in the environment, for it may hold a password
FIELD = b"r"
PAGE = 1_000  # entries of one read
TIMEOUT_SECONDS = 10.0
WANTED = {"appendonly": "yes", "appendfsync": "always"}


@dataclass(eq=False)
class RedisLog:
    """One client of the shared log; any number of processes may append to it and read from it. Safe for many threads."""

    client: "Redis"
    stream: str = STREAM

    shared = True

    @classmethod
    def open(cls, url: str, stream: str = STREAM, insist: bool = True) -> Self:
        """Connect and see whether the server keeps what it acknowledges.

        Args:
            url: redis://, rediss:// (TLS) or unix://; a password belongs into the environment that makes the URL.
            insist: refuse a server that is not durable, or will not say; False only warns, for trials.

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
        if problems and insist:
            raise EventLogError(f"the Redis server at {_without_secret(url)} could lose events: {'; '.join(problems)}")
        for problem in problems:
            logger.warning("the event log in Redis could lose events: %s", problem)
        return cls(client, stream)

    @classmethod
    def from_environment(cls) -> Self | None:
        """The log that LIVEALIGN_REDIS_URL names, or None where it is not set.

        Raises:
            EventLogError: as `open`.
        """
        url = os.environ.get(URL)
        return cls.open(url) if url else None

    def append(self, records: Sequence[bytes]) -> None:
        """Keep the records, all of them or none; when it returns the server has them on disk.

        Raises:
            EventLogError: the server is gone, full or read-only. After a lost connection nobody knows whether they were kept:
                send them again, their ids tell duplicates.
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
        """Every record after the position, oldest first. From START: every record that was not trimmed.

        Raises:
            EventLogError: records after the position have been trimmed, or the server is gone.
        """
        try:
            if after != START and after < self.trimmed():
                raise EventLogError(
                    f"{self.stream}: records after {after} were exported and trimmed; start again from START, or read the files"
                )
            while True:
                answer = self.client.xrange(self.stream, min=f"({_id_of(after)}", max="+", count=PAGE)
                page = cast("list[tuple[bytes, dict[bytes, bytes]]]", answer)  # the package types all its modes at once
                for entry, fields in page:
                    after = _position_of(entry)
                    if FIELD in fields:  # another's entry is none of ours
                        yield after, fields[FIELD]
                if len(page) < PAGE:
                    return
        except _package().RedisError as error:
            raise EventLogError(f"{self.stream} cannot be read ({error}); look at the Redis server") from error

    def end(self) -> Position:
        """The position after the last record that there is.

        Raises:
            EventLogError: the server is gone.
        """
        try:
            last = cast("list[tuple[bytes, dict[bytes, bytes]]]", self.client.xrevrange(self.stream, count=1))
        except _package().RedisError as error:
            raise EventLogError(f"{self.stream} cannot be read ({error}); look at the Redis server") from error
        return _position_of(last[0][0]) if last else self.trimmed()

    def trim(self, before: Position) -> int:
        """Forget the records up to and with the position, which somebody has put into files; returns how many went."""
        limit = Position(before.file, before.offset + 1)
        with self.client.pipeline(transaction=True) as transaction:
            transaction.set(f"{self.stream}:trimmed", _id_of(before))
            transaction.xtrim(self.stream, minid=_id_of(limit), approximate=False)
            try:
                return int(transaction.execute()[1])
            except _package().RedisError as error:
                raise EventLogError(f"{self.stream} cannot be trimmed ({error})") from error

    def trimmed(self) -> Position:
        """The last position that was trimmed."""
        found = cast("bytes | None", self.client.get(f"{self.stream}:trimmed"))
        return _position_of(found) if found else START

    def now_ms(self) -> int:
        """The server's clock, which makes the positions: epoch milliseconds."""
        seconds, micros = self.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def close(self) -> None:
        """Let go of the connections."""
        self.client.close()


def _package() -> Any:
    try:
        import redis  # an optional extra: only who uses Redis needs it
    except ImportError as error:
        raise EventLogError(
            "the package `redis` is missing; install livealign with its extra: pip install -e '.[redis]'"
        ) from error
    return redis


def _durability_problems(client: "Redis") -> list[str]:
    """What the server's settings say against it; empty for one that keeps what it acknowledged."""
    if client.info("replication").get("role") != "master":
        return ["it is a replica, and takes no writes; name the master"]
    persistence = client.info("persistence")
    problems = []
    if str(persistence.get("aof_last_write_status", "ok")) != "ok":
        problems.append("its last write to the append-only file failed; free some space")
    try:
        settings = client.config_get("append*") | client.config_get("maxmemory*")
    except _package().ResponseError as error:
        return [*problems, f"it does not tell its settings ({error}); allow this user CONFIG GET"]
    for name, wanted in WANTED.items():
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
    """The URL as a message may show it."""
    parts = urlsplit(url)
    place = parts.hostname or parts.path
    return f"{parts.scheme}://{place}{f':{parts.port}' if parts.port else ''}"
