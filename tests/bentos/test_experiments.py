"""Two releases behind one service: the canary, the report, the metrics, the promotion."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from livealign.release.challengers import Challengers, point_of, read_challengers, serve, stop
from livealign.release.registry import CHALLENGERS, promote, rollback
from tests.planted.live_release import plant_live_releases
from tests.support.service_client import KEY, service_client

WRITER = {"Authorization": f"Bearer {KEY}"}
SECONDS = 30.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A releases folder whose champion is the first of two."""
    first, _ = plant_live_releases(tmp_path_factory.mktemp("live"), 2)
    promote(first.bundle.parent, first.bundle.name)
    return first.bundle.parent


@pytest.fixture(scope="module")
def names(folder: Path) -> list[str]:
    champion = (folder / "champion").read_text().strip()
    return [champion, next(path.name for path in folder.glob("2*-*") if path.is_dir() and path.name != champion)]


@pytest.fixture(scope="module")
def client(folder: Path, names: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with service_client(folder / names[0], tmp_path_factory.mktemp("service"), LIVEALIGN_RELEASES=str(folder)) as client:
        events = [
            {"kind": "room_started", "event_id": f"s{room}", "at": int(time.time() * 1000), "room_id": room, "author_id": 900}
            for room in range(1, 9)
        ]
        assert client.post("/events", json={"events": events}, headers=WRITER).json()["accepted"] == 8
        yield client


@pytest.fixture(autouse=True)
def alone(client: TestClient, folder: Path) -> Iterator[None]:
    yield
    stop(folder)
    until(lambda: report(client)["challengers"] == [])


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"not within {SECONDS} s"
        time.sleep(0.05)


def report(client: TestClient) -> dict[str, Any]:
    answer = client.get("/experiments")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def listed(client: TestClient, user_id: int) -> dict[str, Any]:
    answer: dict[str, Any] = client.post("/recommend", json={"user_id": user_id, "k": 4}, headers=WRITER).json()
    return answer


def users_of(served: Challengers, *, challenger: bool, count: int, after: int) -> list[int]:
    """Users of the only challenger, or of the champion."""
    (one,) = served.challengers
    found = (user for user in range(after, 10**7) if one.serves(point_of(served.salt, user)) == challenger)
    return [next(found) for _ in range(count)]


def enter(client: TestClient, user_id: int, answer: dict[str, Any], number: str) -> None:
    room = answer["rooms"][0]
    play = {
        "kind": "play_started",
        "event_id": number,
        "at": int(time.time() * 1000),
        "room_id": room["room_id"],
        "author_id": room["author_id"],
        "user_id": user_id,
        "request_id": answer["request_id"],
    }
    assert client.post("/events", json={"events": [play]}, headers=WRITER).json()["accepted"] == 1, play


def test_a_canary_is_followed_counted_judged_and_stopped_without_a_restart(
    client: TestClient, folder: Path, names: list[str]
) -> None:
    champion, challenger = names
    assert report(client)["experiment"] is None
    served = serve(folder, challenger, 0.3)
    until(lambda: report(client)["begun"])
    groups = [users_of(served, challenger=one, count=120, after=10**6) for one in (False, True)]
    for release, users in zip(names, groups, strict=True):
        for number, user in enumerate(users):
            answer = listed(client, user)
            assert answer["model_version"] == release
            if release == challenger or number % 10 == 0:  # all of its users enter a room: it is better
                enter(client, user, answer, f"{release}-{user}")
    found = report(client)
    assert (found["champion"], found["experiment"], found["level"]) == (champion, served.experiment, 0.05)
    assert [(arm["release_id"], arm["users"], arm["counts"]["clicks"]) for arm in found["arms"]] == [
        (champion, 120, 12),
        (challenger, 120, 120),
    ]
    assert [arm["metrics"]["ctr"]["value"] for arm in found["arms"]] == [0.025, 0.25]
    ctr = next(one for one in found["differences"] if one["metric"] == "ctr")
    assert ctr["decided"]
    assert 0 < ctr["low"] < ctr["difference"] < ctr["high"]
    text = client.get("/metrics").text
    assert f'livealign_list_outcomes{{outcome="clicks",release_id="{challenger}"}} 120.0' in text
    assert f'livealign_challenger{{release_id="{challenger}"}} 1.0' in text
    assert f'livealign_experiment_difference{{challenger="{challenger}",end="value",metric="ctr"}} 0.225' in text
    stop(folder)
    until(lambda: report(client)["experiment"] is None)
    assert {listed(client, user)["model_version"] for user in groups[1][:5]} == {champion}
    text = client.get("/metrics").text
    assert f'livealign_challenger{{release_id="{challenger}"}} 0.0' in text
    assert f'livealign_experiment_p_value{{challenger="{challenger}",metric="ctr"}} NaN' in text


def test_a_shadow_is_compared_and_never_shown(client: TestClient, folder: Path, names: list[str]) -> None:
    champion, challenger = names
    serve(folder, challenger, 1.0, shadow=True)
    until(lambda: [one["loaded"] for one in report(client)["challengers"]] == [True])
    nothing = {"lists": 0, "left_out": 0, "overlap": None, "rank_correlation": None, "ranked": 0}
    assert report(client)["challengers"][0]["compared"] == nothing
    assert {listed(client, user)["model_version"] for user in range(20)} == {champion}
    until(lambda: report(client)["challengers"][0]["compared"]["lists"] == 20)
    found = report(client)
    assert (found["experiment"], found["arms"], found["differences"]) == (None, [], [])
    assert [(arm["release_id"], arm["users"]) for arm in found["alone"]] == [(champion, None)]
    assert 0 <= found["challengers"][0]["compared"]["overlap"] <= 1
    assert f'livealign_shadowed_lists_total{{release_id="{challenger}"}} 20.0' in client.get("/metrics").text


def test_a_damaged_challenger_is_a_problem_in_the_status(
    client: TestClient, folder: Path, names: list[str], tmp_path: Path
) -> None:
    champion, challenger = names
    serve(tmp_copy := Path(shutil.copytree(folder, tmp_path / "releases")), challenger, 0.5)  # written elsewhere first
    file, served = folder / challenger / "code_names.json", read_challengers(tmp_copy)
    assert served is not None
    whole = file.read_bytes()
    file.write_bytes(b"{}")
    shutil.copy(tmp_copy / CHALLENGERS, folder)
    until(lambda: client.get("/status").json()["problems"])
    assert f"challenger {challenger} is not served" in client.get("/status").json()["problems"][0]
    (user,) = users_of(served, challenger=True, count=1, after=10**6)
    assert listed(client, user)["model_version"] == champion
    file.write_bytes(whole)
    stop(folder)
    until(lambda: client.get("/status").json()["problems"] == [])


def test_a_promotion_ends_the_experiment(client: TestClient, folder: Path, names: list[str]) -> None:
    champion, challenger = names
    serve(folder, challenger, 0.5)
    until(lambda: report(client)["begun"])
    promote(folder, challenger)
    until(lambda: client.get("/version").json()["release_id"] == challenger)
    until(lambda: report(client)["experiment"] is None)
    assert {listed(client, user)["model_version"] for user in range(20)} == {challenger}
    rollback(folder)
    until(lambda: client.get("/version").json()["release_id"] == champion)
