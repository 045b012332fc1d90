"""The role of a service process: how it is set, and what a reader and a ranker answer."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bentos.__main__ import parser
from bentos.live_recommender.settings import ROLE_VARIABLE, Settings
from bentos.serve import serve
from bentos.smoke import free_port
from livealign.errors import LiveAlignError
from livealign.home import Home
from livealign.live.answers import Role
from tests.planted.live_release import plant_live_releases
from tests.planted.release import PlantedRelease
from tests.support.redis_server import DURABLE, INSTALLED, RedisServer
from tests.support.service_client import KEY, service_client

REDIS = "redis://localhost:6379/0"
FOLDER = {"LIVEALIGN_EVENT_LOG": "/var/log/events"}


def test_a_process_is_both_unless_the_environment_names_a_role() -> None:
    assert Settings.from_environment(FOLDER).role == "both"
    assert Settings.from_environment({**FOLDER, "LIVEALIGN_ROLE": ""}).role == "both"
    for role in ("both", "reader", "ranker"):
        variables = {**FOLDER, "LIVEALIGN_REDIS_URL": REDIS, "LIVEALIGN_ROLE": role}
        assert Settings.from_environment(variables).role == role


@pytest.mark.parametrize(
    ("role", "redis", "says"),
    [
        ("writer", REDIS, "LIVEALIGN_ROLE is 'writer'; set it to both, reader, ranker"),
        ("Reader", REDIS, "LIVEALIGN_ROLE is 'Reader'"),
        ("x" * 10_000, REDIS, "LIVEALIGN_ROLE is 'x{40}'"),
        ("reader", "", "LIVEALIGN_ROLE is reader, .* set LIVEALIGN_REDIS_URL too"),
        ("ranker", "", "LIVEALIGN_ROLE is ranker, .* set LIVEALIGN_REDIS_URL too"),
    ],
)
def test_a_wrong_role_or_one_without_redis_is_one_line(role: str, redis: str, says: str) -> None:
    with pytest.raises(LiveAlignError, match=says) as raised:
        Settings.from_environment({**FOLDER, "LIVEALIGN_ROLE": role, "LIVEALIGN_REDIS_URL": redis})
    assert "\n" not in str(raised.value)


def test_serve_takes_a_role_and_refuses_another_in_one_line() -> None:
    assert parser().parse_args(["serve", "--role", "ranker"]).role == "ranker"
    assert parser().parse_args(["serve"]).role is None
    done = subprocess.run([sys.executable, "-m", "bentos", "serve", "--role", "boss"], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--role: invalid choice: 'boss'" in done.stderr


@pytest.mark.parametrize(("role", "found"), [("ranker", "ranker"), (None, "reader")])
def test_the_server_gets_the_role_that_was_asked_for_or_that_of_the_environment(
    role: Role | None, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[dict[str, str]] = []
    monkeypatch.setattr("bentos.serve._command", lambda *_: ["bentoml"])
    monkeypatch.setattr("bentos.serve.serving_environment", lambda _: {ROLE_VARIABLE: "reader"})
    monkeypatch.setattr("bentos.serve.os.execve", lambda *call: started.append(call[2]))
    serve(Home(tmp_path, "served"), "127.0.0.1", free_port(), role)
    assert [environment[ROLE_VARIABLE] for environment in started] == [found]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> PlantedRelease:
    return plant_live_releases(tmp_path_factory.mktemp("live"))[0]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    pytest.importorskip("redis", reason="the optional extra `redis` is not installed")
    if not INSTALLED:
        pytest.skip("redis-server is not installed (a Debian package)")
    server = RedisServer(tmp_path).start(*DURABLE)
    yield server
    server.kill()


def test_a_reader_makes_no_lists_and_a_ranker_embeds_nothing(
    release: PlantedRelease, redis: RedisServer, tmp_path: Path
) -> None:
    asked, segments = {"user_id": 1}, {"segments": [{"title": "chess"}]}
    with service_client(release.bundle, tmp_path / "1", LIVEALIGN_REDIS_URL=redis.url, LIVEALIGN_ROLE="reader") as client:
        answer = client.post("/recommend", json=asked)
        assert (answer.status_code, answer.json()) == (
            421,
            {"error": "this process is a reader and makes no lists; ask a ranker"},
        )
        assert client.post("/recommend/many", json={"user_ids": [1]}).status_code == 421
        assert client.post("/embed", json=segments, headers={"X-API-Key": KEY}).status_code == 200
        status = client.get("/status").json()
        assert (status["role"], status["readers"], status["vectors_age_seconds"]) == ("reader", 1, None)
    with service_client(release.bundle, tmp_path / "2", LIVEALIGN_REDIS_URL=redis.url, LIVEALIGN_ROLE="ranker") as client:
        answer = client.post("/recommend", json=asked)
        assert (answer.status_code, "no_refresh" in answer.json()["fallbacks"]) == (200, True)
        answer = client.post("/embed", json=segments, headers={"X-API-Key": KEY})
        assert (answer.status_code, "ask a reader" in answer.json()["error"]) == (421, True)
        status = client.get("/status").json()
        assert (status["role"], status["readers"], status["rooms_owned"]) == ("ranker", 0, 0)
        assert "start a reader" in status["problems"][0]


def test_a_process_alone_shares_nothing(release: PlantedRelease, tmp_path: Path) -> None:
    with service_client(release.bundle, tmp_path) as client:
        status = client.get("/status").json()
    assert (status["role"], status["readers"], status["rooms_owned"]) == ("both", None, None)
