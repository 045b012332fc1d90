"""POST /frames: a key is needed, what is wrong is said with 4xx, and no bytes are a 5xx."""

import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from starlette.testclient import TestClient

from livealign.frames.decode import MAX_BYTES, decode
from tests.planted import pictures
from tests.planted.live_release import plant_live_releases
from tests.support.service_client import KEY, service_client

WRITER = {"Authorization": f"Bearer {KEY}", "content-type": "image/jpeg"}
PICTURE = pictures.encoded(pictures.corners(), "JPEG")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    release = plant_live_releases(tmp_path_factory.mktemp("live"))[0]
    with service_client(release.bundle, tmp_path_factory.mktemp("service")) as client:
        at = int(time.time() * 1000)
        start = {"kind": "room_started", "event_id": "s", "at": at, "room_id": 7, "author_id": 900, "title": "room"}
        assert (
            client.post("/events", json={"events": [start]}, headers={"Authorization": WRITER["Authorization"]}).status_code
            == 200
        )
        time.sleep(0.3)  # a view of the rooms is `live.publish_seconds` behind the events at most
        yield client


def post(client: TestClient, data: bytes = PICTURE, query: str = "room_id=7", **headers: str) -> object:
    return client.post(f"/frames?{query}", content=data, headers={**WRITER, **headers})


def test_a_picture_is_taken_and_shown(client: TestClient) -> None:
    assert client.get("/rooms/7/frame").status_code == 404
    assert post(client).json() == {"outcome": "accepted"}
    shown = client.get("/rooms/7/frame")
    assert shown.headers["content-type"] == "image/webp"
    np.testing.assert_array_equal(decode(shown.content), decode(PICTURE))
    assert len(client.get("/rooms/7").json()["frame"]) == 64
    at = int(time.time() * 1000)
    assert [post(client, query=f"room_id=7&at={at}").json()["outcome"] for _ in range(2)] == ["accepted", "duplicate"]


@pytest.mark.parametrize(
    ("query", "headers", "status", "says"),
    [
        ("room_id=7", {"Authorization": ""}, 401, "key"),
        ("room_id=7", {"Authorization": "Bearer wrong"}, 401, "key"),
        ("room_id=7", {"content-type": "application/json"}, 415, "image/jpeg, image/png, image/webp"),
        ("", {}, 400, "room_id"),
        ("room_id=x", {}, 400, "room_id"),
        ("room_id=99", {}, 404, "room_started"),
        ("room_id=7&at=yesterday", {}, 400, "ISO 8601"),
        ("room_id=7&at=2001-01-01", {}, 422, "old"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_with_the_reason(
    client: TestClient, query: str, headers: dict[str, str], status: int, says: str
) -> None:
    answer = post(client, query=query, **headers)
    assert answer.status_code == status
    assert says in answer.json()["error"]


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"", 422, "empty_picture"),
        (b"hello", 422, "not_a_picture"),
        (pictures.animated("WEBP"), 422, "animated"),
        (pictures.png_bomb(5_000, 5_000), 422, "too_many_pixels"),
        (PICTURE[:300], 422, "damaged_picture"),
        (PICTURE + bytes(MAX_BYTES), 413, None),
    ],
)
def test_a_picture_out_of_bounds_is_refused_with_the_reason(
    client: TestClient, data: bytes, status: int, reason: str | None
) -> None:
    answer = post(client, data)
    assert (answer.status_code, answer.json().get("reason")) == (status, reason)
    assert answer.json()["error"]


def statuses(client: TestClient, count: int, seed: int) -> Counter[int]:
    rng, seeds = np.random.default_rng(seed), pictures.seeds()
    return Counter(post(client, pictures.mutated(seeds[n % len(seeds)], rng)).status_code for n in range(count))


def test_mutated_pictures_are_taken_or_refused(client: TestClient) -> None:
    found = statuses(client, 40, seed=3)
    assert set(found) <= {200, 422}
    assert found[422] > 5


@pytest.mark.slow
def test_five_hundred_mutated_pictures_are_taken_or_refused(client: TestClient) -> None:
    found = statuses(client, 500, seed=4)
    assert set(found) <= {200, 422}
