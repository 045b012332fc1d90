"""Two releases behind a service as a process, steered by the commands: no request fails, and a kill loses no count."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from bentos.smoke import Server
from livealign.home import Home
from livealign.release.challengers import point_of, read_challengers
from livealign.release.registry import promote
from tests.planted.live_release import plant_live_releases
from tests.support.service_client import release_server

pytestmark = pytest.mark.slow

SECONDS = 30.0


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"not within {SECONDS} s"
        time.sleep(0.1)


def livealign(home: Home, *arguments: str) -> str:
    command = [sys.executable, "-m", "livealign.cli", *arguments, "--platform", home.platform]
    environment = {**os.environ, "LIVEALIGN_HOME": str(home.root), "COLUMNS": "200"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def report(server: Server) -> dict[str, Any]:
    status, answer = server.request("GET", "/experiments")
    assert status == 200, answer
    found: dict[str, Any] = answer
    return found


def lists_of(server: Server) -> dict[str, int]:
    return {arm["release_id"]: arm["counts"]["lists"] for arm in report(server)["arms"]}


def test_a_canary_is_served_killed_restarted_and_promoted_and_no_request_fails(tmp_path: Path) -> None:
    first, second = plant_live_releases(tmp_path / "planted", 2)
    home = Home(tmp_path / "home", "simulator")
    for one in (first, second):
        shutil.copytree(one.bundle, home.releases / one.bundle.name)
    champion, challenger = first.bundle.name, second.bundle.name
    promote(home.releases, champion)
    variables = {"LIVEALIGN_RELEASES": str(home.releases), "LIVEALIGN_EVENT_LOG": str(tmp_path / "log")}
    answers: Counter[tuple[int, str]] = Counter()
    over, wrong = threading.Event(), list[int]()

    def ask(server: Server) -> None:
        user = 0
        while not over.wait(0.01):
            user += 1
            status, answer = server.request("POST", "/recommend", {"user_id": user, "k": 3})
            served = read_challengers(home.releases)
            answers[status, answer["model_version"]] += 1
            if served is not None and report_has_begun.is_set():
                expected = challenger if point_of(served.salt, user) < 0.25 else champion
                if answer["model_version"] != expected:
                    wrong.append(user)

    report_has_begun = threading.Event()
    with release_server(first.bundle, **variables) as server:
        event = {"kind": "room_started", "event_id": "s", "at": int(time.time() * 1000), "room_id": 1, "author_id": 900}
        assert server.request("POST", "/events", {"events": [event]})[1]["accepted"] == 1
        thread = threading.Thread(target=ask, args=(server,))
        thread.start()
        assert f"{challenger} serves 25.00%" in livealign(home, "releases", "serve", challenger, "--share", "0.25")
        until(lambda: report(server)["begun"])
        report_has_begun.set()
        until(lambda: sum(lists_of(server).values()) > 150)
        over.set()
        thread.join()
        assert {status for status, _ in answers} == {200}
        assert wrong == []
        assert lists_of(server).keys() == {champion, challenger}
        time.sleep(0.5)  # longer than `live.log_flush_seconds`
        counted = lists_of(server)
        workers = [child for child in psutil.Process(server.pid).children(recursive=True) if child.is_running()]
        os.kill(server.pid, signal.SIGKILL)
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
    with release_server(first.bundle, **variables) as server:
        until(lambda: report(server)["begun"])
        assert lists_of(server) == counted
        assert f"{champion}, the champion, serves 75.00%" in livealign(home, "releases")
        livealign(home, "promote", challenger)
        until(lambda: server.request("GET", "/version")[1]["release_id"] == challenger)
        until(lambda: report(server)["challengers"] == [])
        assert server.request("GET", "/status")[1]["problems"] == []
