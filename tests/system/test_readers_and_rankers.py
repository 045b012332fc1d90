"""Readers and rankers as processes on a real Redis: rooms are read once, and a killed reader costs a minute at most."""

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from bentos.smoke import Server
from livealign.events.models import milliseconds_of
from livealign.events.redis_log import RedisLog
from livealign.release.registry import promote
from tests.bentos.test_process import Requests, comment, room_started, until
from tests.planted.live_release import plant_live_releases
from tests.planted.release import PlantedRelease
from tests.support.redis_server import DURABLE, INSTALLED, RedisServer
from tests.support.repeated import Repeated
from tests.support.served_metrics import served
from tests.support.service_client import release_server

pytest.importorskip("redis", reason="the optional extra `redis` is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not INSTALLED, reason="redis-server is not installed (a Debian package)"),
]

ROOMS = range(1, 41)
WINDOW_SECONDS = 30.0
FRESH_SECONDS = 60.0  # after a reader was killed
MARGIN_SECONDS = 5.0  # of a window at its begin and its end, in which nothing is said: no event comes late


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> list[PlantedRelease]:
    return plant_live_releases(tmp_path_factory.mktemp("live"), count=2)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path).start(*DURABLE)
    yield server
    server.kill()


class Talk(Repeated):
    """Says something in every room, every second or so, in the middle of each window, until the block ends."""

    def __init__(self, writers: Sequence[Server]) -> None:
        super().__init__(pause=1.0)
        self._writers, self._number = writers, 0
        self.acknowledged: list[str] = []
        self.statuses: Counter[int] = Counter()

    def once(self) -> None:
        if not MARGIN_SECONDS < time.time() % WINDOW_SECONDS < WINDOW_SECONDS - MARGIN_SECONDS:
            return
        self._number += 1
        events = [comment(f"{self._number}-{room}", room) for room in ROOMS]
        status, answer = self._writers[self._number % len(self._writers)].request("POST", "/events", {"events": events})
        self.statuses[status] += 1
        if status == 200 and answer["accepted"] == len(events):
            self.acknowledged += [event["event_id"] for event in events]


def windows_read(server: Server) -> float:
    return served(server.port, 'livealign_refreshed_rooms_total{outcome="encoded"}')


def spoken_windows(redis: RedisServer) -> set[tuple[int, int]]:
    """Room and window of everything that was said, by the log."""
    records = (json.loads(record) for _, record in RedisLog.open(redis.url).read())
    return {
        (record["room_id"], record["at"] // int(1000 * WINDOW_SECONDS)) for record in records if record["kind"] == "comment"
    }


def rooms_of(server: Server) -> dict[int, dict[str, Any]]:
    status, answer = server.request("GET", f"/rooms?limit={len(ROOMS)}")
    assert status == 200
    return {room["room_id"]: room for room in answer["rooms"]}


def oldest_window_end(server: Server) -> float:
    """Seconds since 1970: the end of the oldest window that any room's content is of; 0 while one has none."""
    rooms = rooms_of(server)
    if rooms.keys() != set(ROOMS) or not all(room["windows"] for room in rooms.values()):
        return 0.0
    return min(milliseconds_of(room["windows"][0]["ended_at"]) for room in rooms.values()) / 1000


def kill(server: Server) -> None:
    """Kill -9 all processes of a server."""
    for process in [*psutil.Process(server.pid).children(recursive=True), psutil.Process(server.pid)]:
        process.send_signal(signal.SIGKILL)


@contextmanager
def processes(bundle: Path, redis: RedisServer, folder: Path, roles: Sequence[str], **variables: str) -> Iterator[list[Server]]:
    """A service process of each role."""
    with ExitStack() as stack:

        def start(number: int, role: str) -> Server:
            variables_of = {"LIVEALIGN_REDIS_URL": redis.url, "LIVEALIGN_ROLE": role, **variables}
            log = str(folder / f"{role}-{number}")
            return stack.enter_context(release_server(bundle, LIVEALIGN_EVENT_LOG=log, **variables_of))

        yield [start(number, role) for number, role in enumerate(roles)]


@pytest.mark.timeout(600)
def test_each_window_is_read_once_and_a_killed_readers_rooms_are_fresh_again_within_a_minute(
    releases: list[PlantedRelease], redis: RedisServer, tmp_path: Path
) -> None:
    with processes(releases[0].bundle, redis, tmp_path, ["reader", "reader", "ranker", "ranker"]) as servers:
        readers, rankers = servers[:2], servers[2:]
        assert rankers[0].request("POST", "/events", {"events": [room_started(room) for room in ROOMS]})[0] == 200
        assert [server.request("GET", "/status")[1]["readers"] for server in servers] == [2, 2, 2, 2]
        assert readers[0].request("POST", "/recommend", {"user_id": 500})[0] == 421
        assert rankers[0].request("POST", "/embed", {"segments": [{"title": "chess"}]})[0] == 421
        with Talk(rankers) as talk:
            until(lambda: len(spoken_windows(redis)) >= 2 * len(ROOMS), 90)
        said = spoken_windows(redis)
        last = max(window for _, window in said) + 1
        for ranker in rankers:  # what was said last is read too
            until(lambda ranker=ranker: oldest_window_end(ranker) == WINDOW_SECONDS * last, 60)
        read = [windows_read(reader) for reader in readers]
        assert sum(read) == len(said), "each room's window is read by exactly one reader"
        assert min(read) > 0
        assert [windows_read(ranker) for ranker in rankers] == [0, 0]
        for ranker in rankers:
            assert served(ranker.port, "livealign_vectors_followed_total") == len(said)
        assert sum(served(reader.port, "livealign_vectors_published_total") for reader in readers) == len(said)
        assert [served(reader.port, "livealign_rooms_owned") > 0 for reader in readers] == [True, True]
        lists = [ranker.request("POST", "/recommend", {"user_id": 500, "k": 50, "record": False})[1] for ranker in rankers]
        codes = [{room["room_id"]: room["codes"] for room in answer["rooms"]} for answer in lists]
        assert codes[0].keys() == set(ROOMS)
        assert codes[0] == codes[1]

        with Talk(rankers) as later, Requests(rankers[0]) as requests:
            until(lambda: later.acknowledged, 60)
            kill(readers[0])
            killed = time.time()
            until(lambda: min(oldest_window_end(ranker) for ranker in rankers) > killed, FRESH_SECONDS)
        assert rankers[0].request("GET", "/status")[1]["readers"] == 1
        assert requests.failures == []
        assert later.statuses.keys() == {200}
    kept = Counter(json.loads(record)["event_id"] for _, record in RedisLog.open(redis.url).read())
    acknowledged = [*talk.acknowledged, *later.acknowledged]
    assert acknowledged
    assert [event_id for event_id in acknowledged if not kept[event_id]] == []


def test_a_new_champion_is_served_by_all_and_no_list_fails(
    releases: list[PlantedRelease], redis: RedisServer, tmp_path: Path
) -> None:
    first, second = (release.bundle for release in releases)
    promote(first.parent, first.name)
    with processes(first, redis, tmp_path, ["reader", "ranker"], LIVEALIGN_RELEASES=str(first.parent)) as (reader, ranker):
        ranker.request("POST", "/events", {"events": [room_started(room) for room in ROOMS]})
        with Talk([ranker]) as talk:
            until(lambda: oldest_window_end(ranker) > 0, 90)
        with Requests(ranker) as requests:
            promote(first.parent, second.name)
            for server in (reader, ranker):
                until(lambda server=server: server.request("GET", "/version")[1]["release_id"] == second.name, 60)
            time.sleep(2.0)
        answer = ranker.request("POST", "/recommend", {"user_id": 500, "k": 50, "record": False})[1]
    assert talk.acknowledged
    assert requests.failures == []
    assert answer["model_version"] == second.name
    assert not {"author_only", "no_refresh"} & set(answer["fallbacks"])
