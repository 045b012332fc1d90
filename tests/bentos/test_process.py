"""The service as a process when things go wrong: killed, disk full, damaged release."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from bentos.smoke import Server
from livealign.config import LiveConfig
from livealign.events.log import EventLog
from livealign.release.registry import promote, rollback
from tests.planted.live_release import plant_live_releases
from tests.planted.release import PlantedRelease
from tests.support.repeated import Repeated
from tests.support.service_client import release_server
from tests.support.small_disk import small_disk

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TAKEOVER_SECONDS = 10.0


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> list[PlantedRelease]:
    """Two releases of one platform in one releases folder."""
    return plant_live_releases(tmp_path_factory.mktemp("live"), count=2)


def room_started(number: int) -> dict[str, Any]:
    about = {"kind": "room_started", "event_id": f"start-{number}", "at": int(time.time() * 1000)}
    return {**about, "room_id": number, "author_id": 900 + number, "title": f"room {number}"}


def comment(event_id: str, room: int) -> dict[str, Any]:
    about = {"kind": "comment", "event_id": event_id, "at": int(time.time() * 1000), "room_id": room, "author_id": 900 + room}
    return {**about, "user_id": 500, "text": f"the host plays chess while viewers cheer {event_id}"}


class Requests(Repeated):
    """Lists asked for all the time, until the block ends."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        self.answers: list[tuple[int, str]] = []  # status and release
        self.failures: list[str] = []

    def once(self) -> None:
        try:
            status, answer = self._server.request("POST", "/recommend", {"user_id": 500, "k": 3})
        except OSError as error:
            self.failures.append(repr(error))
            return
        self.answers.append((status, answer["model_version"]))
        if status != 200 or not answer["rooms"]:
            self.failures.append(f"{status} {answer}")


def until(condition: Any, seconds: float) -> float:
    """Seconds until the condition holds."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not within {seconds} s"
        time.sleep(0.1)
    return time.monotonic() - started


def test_a_new_champion_is_taken_over_in_seconds_without_a_failed_request_and_a_damaged_one_never(
    releases: list[PlantedRelease],
) -> None:
    first, second = (release.bundle for release in releases)
    folder = first.parent
    promote(folder, first.name)
    with release_server(first, LIVEALIGN_RELEASES=str(folder)) as server, Requests(server) as requests:

        def serves(name: str) -> bool:
            return bool(server.request("GET", "/version")[1]["release_id"] == name)

        assert serves(first.name)
        promote(folder, second.name)
        until(lambda: serves(second.name), TAKEOVER_SECONDS)
        rollback(folder)
        until(lambda: serves(first.name), TAKEOVER_SECONDS)
        damaged = folder / second.name / "code_names.json"
        content = damaged.read_bytes()
        damaged.write_bytes(b"{}")
        (folder / "champion").write_text(f"{second.name}\n")
        until(lambda: server.request("GET", "/status")[1]["problems"], TAKEOVER_SECONDS)
        assert serves(first.name)
        assert "code_names.json is damaged" in server.request("GET", "/status")[1]["problems"][0]
        damaged.write_bytes(content)
    assert requests.failures == []
    assert {release for _, release in requests.answers} == {first.name, second.name}
    assert len(requests.answers) > 50


def test_killed_in_the_middle_of_events_it_has_lost_none_that_it_acknowledged(
    releases: list[PlantedRelease], tmp_path: Path
) -> None:
    log, acknowledged = tmp_path / "event_log", []
    with release_server(releases[0].bundle, LIVEALIGN_EVENT_LOG=str(log)) as server:
        server.request("POST", "/events", {"events": [room_started(1)]})
        workers = [one for one in psutil.Process(server.pid).children(recursive=True) if "worker" in " ".join(one.cmdline())]
        assert workers

        def send() -> None:
            for batch in range(10_000):
                events = [comment(f"{batch}-{one}", 1) for one in range(50)]
                try:
                    status, answer = server.request("POST", "/events", {"events": events})
                except (OSError, ValueError):
                    return
                assert status == 200, answer
                acknowledged.extend(event["event_id"] for event in events)

        thread = threading.Thread(target=send)
        thread.start()
        until(lambda: len(acknowledged) > 500, 30)
        os.kill(server.pid, signal.SIGKILL)  # the supervisor first: it would start another worker
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
        thread.join()
    (left_open,) = log.glob("*.open")
    with left_open.open("ab") as file:
        file.write(b'0badc0de {"kind": "comment", "event_id": "torn')  # what a write that was cut short leaves
    with EventLog(log) as recovered:
        kept = [json.loads(record)["event_id"] for _, record in recovered.read()]
    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept))
    assert (log / "torn").is_dir()
    with release_server(releases[0].bundle, LIVEALIGN_EVENT_LOG=str(log)) as server:
        until(lambda: server.request("GET", "/rooms/1")[0] == 200, 5)
        assert server.request("GET", "/rooms/1")[1]["title"] == "room 1"
        again = [comment(one, 1) for one in acknowledged[:500]]
        _, answer = server.request("POST", "/events", {"events": again})
        assert (answer["accepted"], answer["duplicate"]) == (0, 500)


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def test_while_it_is_attacked_writers_readers_and_probes_lose_nothing(releases: list[PlantedRelease]) -> None:
    with release_server(releases[0].bundle) as server, contextlib.ExitStack() as slow:
        server.request("POST", "/events", {"events": [room_started(1)]})
        time.sleep(0.5)  # a room is seen `live.publish_seconds` after its start
        requests = slow.enter_context(Requests(server))
        statuses: Counter[tuple[str, int]] = Counter()

        def work(name: str) -> None:
            for number in range(10):
                event = comment(f"{name}-{number}", 1)
                statuses["events", server.request("POST", "/events", {"events": [event]})[0]] += 1
                statuses["probe", server.request("GET", "/healthz")[0]] += 1

        for _ in range(600):  # slow bodies without a key
            connection = slow.enter_context(connect(server))
            connection.sendall(b"POST /recommend HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n{")
        work("slow bodies")
        for _ in range(600):  # slow headers
            slow.enter_context(connect(server)).sendall(b"POST /recommend HT")
        work("slow headers")
        large = slow.enter_context(connect(server))
        with contextlib.suppress(OSError):
            large.sendall(b"GET / HTTP/1.1\r\nx: ")
            for _ in range(100):
                large.sendall(b"x" * 1_000_000)
        work("a large header")
        refused = {f'livealign_http_requests_total{{route="unread",status="{status}"}}' for status in (408, 431)}

        def are_counted() -> bool:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            connection.request("GET", "/metrics")
            series = connection.getresponse().read().decode()
            connection.close()
            return all(name in series for name in refused)

        until(are_counted, 30)
    assert statuses == {("events", 200): 30, ("probe", 200): 30}
    assert requests.failures == []
    assert requests.answers  # how many depends on the machine


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    with small_disk(tmp_path / "disk", "1m") as disk:
        yield disk


def test_on_a_full_disk_it_refuses_events_and_answers_on_and_takes_them_again_when_there_is_room(
    releases: list[PlantedRelease], disk: Path
) -> None:
    with release_server(releases[0].bundle, LIVEALIGN_EVENT_LOG=str(disk / "event_log")) as server:
        assert server.request("POST", "/events", {"events": [room_started(1)]})[0] == 200
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * 500_000)
        kept, status = 1, 200
        for batch in range(50):
            status, answer = server.request("POST", "/events", {"events": [comment(f"{batch}-{one}", 1) for one in range(200)]})
            if status != 200:
                break
            kept += answer["accepted"]
        assert status == 503
        assert "none was kept" in answer["error"]
        time.sleep(2 * LiveConfig().publish_seconds)  # a room that starts is seen so much later at most
        status, answer = server.request("POST", "/recommend", {"user_id": 500, "k": 3})
        assert (status, len(answer["rooms"])) == (200, 1)
        ballast.unlink()
        status, answer = server.request("POST", "/events", {"events": [comment(f"{batch}-{one}", 1) for one in range(200)]})
        assert (status, answer["accepted"]) == (200, 200)  # the same batch again: none of it was kept before
        kept += 200
    shutil.copytree(disk / "event_log", disk.parent / "copy")
    with EventLog(disk.parent / "copy") as log:
        comments = sum(b'"comment"' in record for _, record in log.read())
    assert comments + 1 == kept


def test_without_a_bundle_it_does_not_start_and_says_why(tmp_path: Path) -> None:
    from bentos.build import BentoError

    with pytest.raises(BentoError, match="is no release bundle"), release_server(tmp_path / "nothing"):
        pass
