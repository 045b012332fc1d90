"""The explanation of a room's place against the lists that the service makes."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.planted.live_release import plant_live_releases
from tests.support.service_client import KEY, service_client

WRITER = {"Authorization": f"Bearer {KEY}"}
STRANGER = 4_000_000_500  # has no history


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    bundle = plant_live_releases(tmp_path_factory.mktemp("live"))[0].bundle
    with service_client(bundle, tmp_path_factory.mktemp("service")) as client:
        yield client


def explained(client: TestClient, room_id: int, user_id: int = 500) -> dict[str, Any]:
    answer = client.get(f"/explain/{room_id}?user_id={user_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def all_rooms(client: TestClient, user_id: int = 500) -> list[dict[str, Any]]:
    rooms: list[dict[str, Any]] = client.post("/recommend", json={"user_id": user_id, "k": 100}).json()["rooms"]
    return sorted(rooms, key=lambda room: -room["score"])


def test_the_rank_and_the_scores_are_those_of_the_list(client: TestClient) -> None:
    listed = all_rooms(client)
    assert len(listed) > 3
    for rank, room in enumerate(listed, 1):
        explanation = explained(client, room["room_id"])
        assert (explanation["rank"], explanation["of_rooms"]) == (rank, len(listed))
        assert explanation["scores"] == pytest.approx(room["scores"], abs=1e-5)


def test_a_share_is_what_the_log_odds_gain(client: TestClient) -> None:
    listed = all_rooms(client)
    shares = [explained(client, room["room_id"])["shares"] for room in listed]
    assert all(share.keys() == {"content", "counts", "history"} for share in shares)
    assert len({round(share["history"], 4) for share in shares}) > 1  # what was entered speaks for some rooms more than others
    assert any(abs(share["content"]) > 0.01 for share in shares)
    assert {explained(client, room["room_id"], STRANGER)["shares"]["history"] for room in listed} == {0.0}


def test_a_room_without_words_owes_nothing_to_its_content_and_a_blocked_author_has_no_rank(client: TestClient) -> None:
    about = {"at": int(time.time() * 1000), "room_id": 4_000_000_077, "author_id": 900}
    started = {"kind": "room_started", "event_id": "explained-1", **about}
    blocked = {"kind": "author_blocked", "event_id": "explained-2", "user_id": 501, "at": about["at"], "author_id": 900}
    for event in (started, blocked):
        assert client.post("/events", json={"events": [event]}, headers=WRITER).json()["accepted"] == 1
    time.sleep(1.1)  # a page of rooms is made once a second
    explanation = explained(client, 4_000_000_077)
    assert explanation["shares"]["content"] == 0
    assert explanation["rank"] is not None
    for_blocker = explained(client, 4_000_000_077, 501)
    assert (for_blocker["rank"], for_blocker["of_rooms"]) == (None, explanation["of_rooms"] - 1)
    assert 0 < for_blocker["scores"]["click"] < 1


def test_a_room_that_is_not_known_and_a_wrong_user_are_refused(client: TestClient) -> None:
    assert client.get("/explain/4711?user_id=500").status_code == 404
    assert client.get("/explain/4711").status_code == 400
    assert client.get("/explain/x?user_id=1").status_code == 400
