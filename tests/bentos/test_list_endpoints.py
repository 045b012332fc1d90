"""The lists over HTTP in this process: filters, wishes, many users, similar rooms."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.planted.live_release import plant_live_releases
from tests.planted.release import PlantedRelease
from tests.support.endpoint_events import WRITER, now, send, started
from tests.support.service_client import service_client

PICTURE_SECONDS = 1.1  # a page of rooms is made once a second


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> PlantedRelease:
    return plant_live_releases(tmp_path_factory.mktemp("live"))[0]


@pytest.fixture(scope="module")
def client(release: PlantedRelease, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with service_client(release.bundle, tmp_path_factory.mktemp("service")) as client:
        send(client, *(started(room) for room in (1, 2, 3)))
        yield client


def listed(client: TestClient, user_id: int = 500, **more: Any) -> set[int]:
    """The rooms of a user's list, after the service has published what was sent."""
    time.sleep(0.3)
    answer = client.post("/recommend", json={"user_id": user_id, "k": 100, **more})
    assert answer.status_code == 200, answer.text
    return {room["room_id"] for room in answer.json()["rooms"]}


def test_lists_can_be_filtered_by_category_language_author_and_words(client: TestClient) -> None:
    send(
        client,
        started(31, title="Boss RUSH", category="Elden Ring", language="en"),
        started(32, title="Jefe final", category="elden ring", language="es"),
        started(33, title="quiet evening", category="Music"),
        started(34, title="slot casino win", category="Games", language="en"),
    )
    ours = {31, 32, 33, 34}
    for filters, expected in (
        ({}, ours),
        ({"categories": ["ELDEN RING"]}, {31, 32}),
        ({"categories": ["elden ring", "music"], "languages": ["EN"]}, {31, 33}),  # of 33 no language is known
        ({"languages": ["es"]}, {32, 33}),
        ({"authors": [931, 934]}, {31, 34}),
        ({"blocked_authors": [931, 932]}, {33, 34}),
        ({"blocked_words": ["casino", "MUSIC"]}, {31, 32}),
        ({"categories": ["chess"]}, set()),
    ):
        assert listed(client, filter=filters) & ours == expected, filters
    assert listed(client, among=[31, 33, 4711]) == {31, 33}
    assert listed(client, among=[]) == set()
    assert listed(client, among=[31, 33], exclude=[33]) == {31}
    for wrong in ({"category": ["x"]}, {"categories": [17]}, {"blocked_words": ["a"]}, {"languages": ["en"] * 101}, []):
        assert client.post("/recommend", json={"user_id": 500, "filter": wrong}).status_code == 400, wrong


def test_a_room_that_does_not_interest_a_user_and_a_blocked_author_are_not_listed_for_this_user_alone(
    client: TestClient,
) -> None:
    send(client, started(41), started(42), started(43, author_id=942))
    wish = {"at": now(), "user_id": 700, "room_id": 41, "author_id": 941}
    block = {**wish, "kind": "author_blocked", "event_id": "w-2", "author_id": 942}
    del block["room_id"]  # not in a room: on the author's page
    answer = send(client, {**wish, "kind": "not_interested", "event_id": "w-1"}, block).json()
    assert (answer["accepted"], answer["rejections"]) == (2, [])
    assert {41, 42, 43} & listed(client, 700) == set()
    assert {41, 42, 43} <= listed(client, 701)
    send(client, {**block, "kind": "author_unblocked", "event_id": "w-3"})
    assert {41, 42, 43} & listed(client, 700) == {42, 43}


def test_an_operator_hides_a_room_and_shows_it_again(client: TestClient) -> None:
    send(client, started(51))
    assert 51 in listed(client)
    hide = {"kind": "room_hidden", "event_id": "h-1", "at": now(), "room_id": 51, "author_id": 951}
    assert client.post("/events", json={"events": [hide]}).status_code == 401
    send(client, hide)
    time.sleep(PICTURE_SECONDS)
    assert 51 not in listed(client)
    assert 51 not in listed(client, among=[51])
    assert 51 not in [room["room_id"] for room in client.get("/rooms?limit=200").json()["rooms"]]
    assert 51 not in [found["room"]["room_id"] for found in client.get("/similar/1?k=100").json()["rooms"]]
    assert client.get("/rooms/51").json()["hidden"] is True
    send(client, {**hide, "kind": "room_unhidden", "event_id": "h-2"})
    assert 51 in listed(client)
    assert client.get("/rooms/51").json()["hidden"] is False


def test_many_users_get_lists_of_their_own_in_one_call(client: TestClient) -> None:
    send(client, started(71), {"kind": "author_blocked", "event_id": "m-b", "at": now(), "user_id": 801, "author_id": 971})
    time.sleep(0.3)
    asked = {"user_ids": [800, 801, 800], "k": 100, "record": False}
    lists = client.post("/recommend/many", json=asked).json()["lists"]
    assert [one["user_id"] for one in lists] == [800, 801, 800]
    assert [71 in {room["room_id"] for room in one["rooms"]} for one in lists] == [True, False, True]
    assert len({one["request_id"] for one in lists}) == 3
    alone = client.post("/recommend/many", json={**asked, "among": [71, 1]}, headers=WRITER).json()["lists"]
    assert [{room["room_id"] for room in one["rooms"]} - {1} for one in alone] == [{71}, set(), {71}]
    for wrong in ([], ["x"], list(range(101)), 17, None):
        assert client.post("/recommend/many", json={"user_ids": wrong}, headers=WRITER).status_code == 400
    assert client.post("/recommend/many", json={"user_id": 17}).status_code == 400


def test_lists_are_logged_for_those_who_may_write_and_want_it(client: TestClient) -> None:
    asked = {"user_id": 500, "k": 3}
    assert client.post("/recommend", json=asked, headers=WRITER).json()["logged"]
    for headers, more in ((None, {}), *((WRITER, more) for more in ({"record": False}, {"content": False}, {"among": []}))):
        assert not client.post("/recommend", json={**asked, **more}, headers=headers).json()["logged"]


def test_a_list_without_content_knows_only_who_is_streaming(client: TestClient) -> None:
    answer = client.post("/recommend", json={"user_id": 500, "k": 3, "content": False}).json()
    assert answer["rooms"]
    assert all(room["content_age_seconds"] is None for room in answer["rooms"])


def test_a_context_is_taken_by_both_kinds_of_lists_and_checked(client: TestClient) -> None:
    for context in ({}, {"language": "EN"}, {"country": "Chile"}, {"language": "ja", "country": "Japan"}):
        assert listed(client, 10**12, context=context)
        many = client.post("/recommend/many", json={"user_ids": [10**12], "context": context})
        assert many.status_code == 200, many.text
    for wrong, says in (
        ({"langauge": "en"}, "is language meant"),
        ({"language": 3}, "language"),
        ({"country": "x" * 201}, "country"),
        ([], "context"),
    ):
        answer = client.post("/recommend", json={"user_id": 500, "context": wrong})
        assert answer.status_code == 400
        assert says in answer.json()["error"]


def test_similar_rooms_are_live_and_most_alike_first(client: TestClient) -> None:
    found = client.get("/similar/1?k=2").json()
    assert len(found["rooms"]) == 2
    assert 1 not in {one["room"]["room_id"] for one in found["rooms"]}
    assert [one["similarity"] for one in found["rooms"]] == sorted((one["similarity"] for one in found["rooms"]), reverse=True)
