"""A durable Redis server for a file of tests, emptied before each of them."""

from collections.abc import Iterator

import pytest

from livealign.events.redis_log import RedisLog
from tests.support.redis_server import DURABLE, INSTALLED, RedisServer


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    pytest.importorskip("redis", reason="the optional extra `redis` is not installed")
    if not INSTALLED:
        pytest.skip("redis-server is not installed (a Debian package)")
    server = RedisServer(tmp_path_factory.mktemp("redis")).start(*DURABLE)
    yield server
    server.kill()


@pytest.fixture
def log(redis_server: RedisServer) -> Iterator[RedisLog]:
    log = RedisLog.open(redis_server.url)
    log.client.flushall()
    yield log
    log.close()
