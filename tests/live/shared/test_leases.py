"""Leases of readers in a real Redis: who renews is alive, who stops is not, releases apart."""

import time

import pytest

from livealign.errors import EventLogError
from livealign.events.redis_log import RedisLog
from livealign.live.shared.leases import Leases
from tests.support.redis_server import RedisServer


def leases(log: RedisLog, name: str, seconds: float = 10.0, release: str = "r1") -> Leases:
    return Leases(log.client, release, name, seconds)


def alive(log: RedisLog, release: str = "r1") -> list[str]:
    return [reader.name for reader in leases(log, "looks", release=release).alive()]


def test_readers_that_renew_are_alive_and_one_that_stops_is_not(log: RedisLog) -> None:
    stays, stops = leases(log, "stays"), leases(log, "stops", seconds=0.3)
    stops.renew()
    assert [reader.name for reader in stays.renew()] == ["stays", "stops"]
    time.sleep(0.4)
    assert [reader.name for reader in stays.renew()] == ["stays"]
    assert alive(log) == ["stays"]


def test_a_reader_that_leaves_is_gone_at_once_and_one_that_only_looks_is_none(log: RedisLog) -> None:
    one = leases(log, "one")
    one.renew()
    assert alive(log) == ["one"]
    one.leave()
    one.leave()
    assert alive(log) == []


def test_a_reader_keeps_the_time_that_it_joined_at_until_its_lease_has_ended(log: RedisLog) -> None:
    one = leases(log, "one", seconds=0.3)
    (first,) = one.renew()
    time.sleep(0.1)
    assert one.renew() == (first,)
    time.sleep(0.4)
    (again,) = one.renew()
    assert again.joined_at > first.joined_at


def test_each_release_has_readers_of_its_own(log: RedisLog) -> None:
    leases(log, "old", release="r1").renew()
    leases(log, "new", release="r2").renew()
    assert (alive(log, "r1"), alive(log, "r2")) == (["old"], ["new"])


def test_a_server_that_is_gone_is_said_in_one_line(redis_server: RedisServer, log: RedisLog) -> None:
    one = leases(log, "one")
    redis_server.kill()
    try:
        with pytest.raises(EventLogError, match=r"who reads is not known .* look at the Redis server"):
            one.renew()
    finally:
        redis_server.start("--appendonly", "yes", "--appendfsync", "always")
