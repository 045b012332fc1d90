"""The service on a Redis log that goes away for a minute: no acknowledged event is lost, and every list is answered."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bentos.smoke import Server
from livealign.events.log import EventLog
from livealign.events.redis_log import RedisLog
from tests.bentos.test_process import Requests, comment, room_started, until
from tests.planted.live_release import plant_live_releases
from tests.support.redis_server import DURABLE, INSTALLED, RedisServer
from tests.support.repeated import Repeated
from tests.support.service_client import release_server

pytest.importorskip("redis", reason="the optional extra `redis` is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not INSTALLED, reason="redis-server is not installed (a Debian package)"),
]

ROOT = Path(__file__).parents[2]
AWAY_SECONDS = 60.0
BATCH = 10  # events; a batch that was under way when the server went may be in the log twice


class Sender(Repeated):
    """Sends batches of comments, each again until it is acknowledged, as a platform does."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server, self._number = server, 0
        self.acknowledged: list[str] = []
        self.statuses: Counter[int] = Counter()

    def once(self) -> None:
        events = [comment(f"{self._number}-{place}", 1) for place in range(BATCH)]
        status, _ = self._server.request("POST", "/events", {"events": events})
        self.statuses[status] += 1
        if status == 200:
            self._number += 1
            self.acknowledged += [event["event_id"] for event in events]


def test_a_log_that_is_away_for_a_minute_costs_no_acknowledged_event_and_no_list(tmp_path: Path) -> None:
    (release,) = plant_live_releases(tmp_path / "live", count=1)
    redis = RedisServer(tmp_path).start(*DURABLE)
    try:
        with release_server(release.bundle, LIVEALIGN_REDIS_URL=redis.url) as server:

            def status() -> dict[str, Any]:
                code, answer = server.request("GET", "/status")
                assert code == 200
                return answer

            assert server.request("POST", "/events", {"events": [room_started(1)]})[0] == 200
            until(lambda: server.request("GET", "/rooms")[1]["total"] == 1, 60)  # lists see a room a moment after its start
            with Requests(server) as lists, Sender(server) as sender:
                until(lambda: len(sender.acknowledged) > 100, 60)
                redis.kill()
                time.sleep(AWAY_SECONDS)
                before = len(sender.acknowledged)
                said = status()
                assert any("livealign:events" in problem for problem in said["problems"])
                assert said["log_behind_records"] > 0
                redis.start(*DURABLE)
                until(lambda: len(sender.acknowledged) > before + 100, 60)
            until(lambda: status()["log_behind_records"] == 0 and not status()["problems"], 60)
        records = [json.loads(record) for _, record in RedisLog.open(redis.url).read()]
    finally:
        redis.kill()
    assert lists.failures == []
    assert sender.statuses.keys() == {200, 503}
    kept = Counter(record["event_id"] for record in records)
    assert [event_id for event_id in sender.acknowledged if not kept[event_id]] == []
    assert sum(kept.values()) - len(kept) <= BATCH
    shown = {record["request_id"] for record in records if record["kind"] == "impression"}
    assert len(shown) >= len(lists.answers)


def test_the_export_waits_for_a_server_that_is_gone_and_goes_on(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path).start(*DURABLE)
    RedisLog.open(redis.url).append([b"1", b"2"])
    command = [sys.executable, "-m", "livealign.cli", "export-events", "--every", "0.2", "--out", str(tmp_path / "out")]
    environment = os.environ | {"LIVEALIGN_REDIS_URL": redis.url, "LIVEALIGN_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        assert "2 events written" in process.stdout.readline()
        redis.kill()
        assert "look at the Redis server; it is tried again every 0.2 s" in process.stdout.readline()
        redis.start(*DURABLE)
        RedisLog.open(redis.url).append([b"3"])
        assert "1 events written" in process.stdout.readline()
    finally:
        process.kill()
        process.wait()
        redis.kill()
    with EventLog(tmp_path / "out") as files:
        assert [record for _, record in files.read()] == [b"1", b"2", b"3"]
