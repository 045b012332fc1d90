"""The endpoints over HTTP in this process: events, rooms, pages, and the errors of each."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient
from threadpoolctl import threadpool_info

from bentos.live_recommender.wall_files import WALL_FILES
from tests.planted.live_release import plant_live_releases
from tests.planted.release import PlantedRelease
from tests.support.endpoint_events import MINUTE, WRITER, comment, now, send, started
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


def test_numpys_products_stay_in_the_thread_that_asks(client: TestClient) -> None:
    assert client.get("/version").status_code == 200
    of_numpy = [pool for pool in threadpool_info() if pool["user_api"] == "blas" and "numpy" in pool["filepath"]]
    assert [pool["num_threads"] for pool in of_numpy] == [1]


def test_a_room_is_there_as_soon_as_it_is_told_of_and_gone_when_it_ends(client: TestClient) -> None:
    send(client, started(10))
    time.sleep(PICTURE_SECONDS)
    room = client.get("/rooms/10").json()
    assert (room["title"], room["ended_at"], room["content_age_seconds"]) == ("room 10", None, None)
    listed = client.get("/rooms").json()
    assert listed["total"] == len(listed["rooms"])
    assert 10 in [one["room_id"] for one in listed["rooms"]]
    assert [one["room_id"] for one in client.get("/rooms?limit=1&offset=1").json()["rooms"]] == [listed["rooms"][1]["room_id"]]
    send(client, {"kind": "room_ended", "event_id": "end-10", "at": now(), "room_id": 10, "author_id": 910})
    time.sleep(PICTURE_SECONDS)
    assert 10 not in [one["room_id"] for one in client.get("/rooms").json()["rooms"]]
    assert client.get("/rooms/10").json()["ended_at"] is not None


def test_a_batch_is_told_what_became_of_each_event(client: TestClient) -> None:
    good, late, early = comment("c-1"), comment("c-2", at=now() - 120 * MINUTE), comment("c-3", at=now() + 10 * MINUTE)
    wrong, elsewhere = comment("c-4", text=17), comment("c-5", room=4711)
    answer = send(client, good, late, good, early, wrong, elsewhere, "no event")
    assert answer.status_code == 200
    counts = answer.json()
    assert (counts["accepted"], counts["duplicate"], counts["rejected"]) == (1, 1, 5)
    assert [(one["place"], one["event_id"], one["reason"]) for one in counts["rejections"]] == [
        (1, "c-2", "too_late"),
        (3, "c-3", "in_future"),
        (4, "c-4", "invalid"),
        (5, "c-5", "unknown_room"),
        (6, None, "invalid"),
    ]
    assert "text" in counts["rejections"][2]["detail"]
    again = send(client, good)
    assert (again.status_code, again.json()["duplicate"]) == (200, 1)


@pytest.mark.parametrize(
    ("method", "path", "says"),
    [
        ("GET", "/rooms?limt=5", "/rooms has no query parameter 'limt'; is limit meant?"),
        ("GET", "/rooms?limit=5&Offset=1", "/rooms has no query parameter 'Offset'; is offset meant?"),
        ("GET", "/rooms?xyz=1", "/rooms has no query parameter 'xyz'; the parameters are limit, offset, search"),
        ("GET", "/rooms/1?k=3", "/rooms/{room_id} has no query parameter 'k'; it takes none"),
        ("GET", "/similar/1?K=3", "/similar/{room_id} has no query parameter 'K'; the parameters are k"),
        ("GET", "/explain/1?user=3", "/explain/{room_id} has no query parameter 'user'; is user_id meant?"),
        ("GET", "/users?limit=1&limits=2", "/users has no query parameter 'limits'; is limit meant?"),
        ("GET", "/status?verbose=1", "/status has no query parameter 'verbose'; it takes none"),
        ("POST", "/recommend?k=3", "/recommend has no query parameter 'k'; it takes none"),
        ("POST", "/events?key=3", "/events has no query parameter 'key'; it takes none"),
    ],
)
def test_a_query_parameter_that_there_is_not_is_named_with_the_nearest(
    method: str, path: str, says: str, client: TestClient
) -> None:
    body = {"user_id": 1} if path.startswith("/recommend") else {"events": []}
    answer = client.request(method, path, json=body if method == "POST" else None, headers=WRITER)
    assert (answer.status_code, answer.json()) == (400, {"error": says})


def test_probes_and_scrapers_may_add_parameters(client: TestClient) -> None:
    for path in ("/metrics", "/docs.json", "/", "/readyz"):
        assert client.get(f"{path}?probe=1").status_code == 200


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"text": ...}, "text is missing"),
        ({"text": 17}, "text has to be text"),
        ({"text": ""}, "text has to have at least 1 characters"),
        ({"text": "x" * 2_001}, "text has more than 2000 characters"),
        ({"room_id": "7"}, "room_id has to be a whole number"),
        ({"room_id": 7.5}, "room_id has to be a whole number"),
        ({"room_id": -1}, "room_id has to be at least 0"),
        ({"at": "yesterday"}, "at: not a time: give epoch milliseconds or ISO 8601 text"),
        ({"is_bot": "perhaps"}, "is_bot has to be true or false"),
        ({"txt": "hi"}, "a comment has no field txt; is text meant?"),
        ({"xyzzy": "hi"}, "a comment has no field xyzzy"),
        ({"kind": "coment"}, "kind is none of those that there are; is comment meant?"),
        ({"kind": ...}, "kind is missing"),
        ({"kind": 3}, "kind is none of those that there are"),
        (None, "the event has to be a JSON object"),
    ],
)
def test_what_is_wrong_with_an_event_is_said_in_plain_words(
    changed: dict[str, Any] | None, says: str, client: TestClient
) -> None:
    event: Any = 17
    if changed is not None:
        event = {name: value for name, value in {**comment("words"), **changed}.items() if value is not ...}
    (rejection,) = send(client, event).json()["rejections"]
    assert (rejection["reason"], rejection["detail"]) == ("invalid", says)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "user_id is missing"),
        ({"user_id": 1, "k": 0}, "k has to be at least 1"),
        ({"user_id": 1, "K": 3}, "the body has no field K"),
        ({"user_id": 1, "exlude": []}, "the body has no field exlude; is exclude meant?"),
        ({"user_id": 1, "filter": {"category": ["x"]}}, "filter has no field category; is categories meant?"),
        ({"user_id": 1, "exclude": [1, "x"]}, "exclude.1 has to be a whole number"),
        ({"user_id": 1, "at": "noon"}, "at has to be a time: epoch seconds or ISO 8601 text"),
        ({"user_id": 1, "at": "1999-01-01T00:00:00"}, "at: must lie between the years 2000 and 2200"),
        ([], "the body has to be a JSON object"),
    ],
)
def test_what_is_wrong_with_a_request_is_said_in_plain_words(body: Any, says: str, client: TestClient) -> None:
    answer = client.post("/recommend", json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, says)
    assert answer.json()["detail"][0]["msg"] == says


def test_a_batch_of_which_nothing_is_taken_is_refused(client: TestClient) -> None:
    answer = send(client, comment("d-1", text="x" * 2_001), comment("d-2", user_id=-1))
    assert answer.status_code == 422
    assert "text" in answer.json()["error"]
    assert [one["place"] for one in answer.json()["rejections"]] == [0, 1]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({}, 400, "events"),
        ([], 400, "events"),
        ({"events": {}}, 400, "events"),
        ({"events": [], "more": 1}, 400, "events"),
        ({"events": [{}] * 1_001}, 413, "at most 1000"),
        ({"events": [{"text": "x" * 10_000_000}]}, 413, "8000000 bytes"),
    ],
)
def test_what_is_no_batch_is_refused_in_words(body: Any, status: int, says: str, client: TestClient) -> None:
    answer = client.post("/events", json=body, headers=WRITER)
    assert answer.status_code == status
    assert says in answer.json()["error"]


def test_events_that_contradict_their_room_are_rejected(client: TestClient) -> None:
    at = now()
    speech = {"kind": "speech", "at": at, "room_id": 1, "author_id": 901, "text": "hello"}
    end = {"kind": "room_ended", "room_id": 1, "author_id": 901}
    fresh = started(21, event_id="x-4")
    answer = send(
        client,
        {**speech, "event_id": "x-1", "ended_at": at - 1},
        comment("x-2", author_id=999),
        {**end, "event_id": "x-3", "at": at - 50 * MINUTE},
        fresh,
        comment("x-5", room=21, author_id=999),
        {**end, "event_id": "x-6", "room_id": 21, "author_id": 921, "at": fresh["at"] - 1},
        started(1, event_id="x-7", author_id=999),
        {**speech, "event_id": "x-8", "ended_at": at},
    ).json()
    assert [(one["event_id"], one["reason"]) for one in answer["rejections"]] == [
        ("x-1", "invalid"),
        ("x-2", "other_author"),
        ("x-3", "ends_before_start"),
        ("x-5", "other_author"),
        ("x-6", "ends_before_start"),
        ("x-7", "other_author"),
    ]
    assert "before at" in answer["rejections"][0]["detail"]
    assert answer["accepted"] == 2
    alone = send(client, {**end, "event_id": "x-9", "at": at - 50 * MINUTE})
    assert (alone.status_code, "before the start" in alone.json()["error"]) == (422, True)


def test_a_whole_number_is_an_integer_however_it_is_written(client: TestClient) -> None:
    body = b'{"user_id": 39.0, "k": 2.0, "exclude": [1.0]}'
    answer = client.post("/recommend", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200
    assert 1 not in [room["room_id"] for room in answer.json()["rooms"]]
    assert send(client, comment("whole", room=1.0, user_id=39.0, at=float(now()))).json()["accepted"] == 1
    for wrong in (b"39.5", b"1e300", b"-1.0", b'"39"', b"true", b"9007199254740994.0"):
        answer = client.post("/recommend", content=b'{"user_id": %b}' % wrong, headers={"content-type": "application/json"})
        assert answer.status_code == 400, wrong


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("GET", "/recommend", 405, "use POST"),
        ("DELETE", "/rooms/1", 405, "use GET"),
        ("GET", "/nowhere", 404, "the paths are /"),
        ("GET", "/rooms/1/more", 404, "there is no path"),
        ("GET", "/embed", 405, "POST"),
    ],
)
def test_a_path_or_method_that_there_is_not_is_named_in_json(
    method: str, path: str, status: int, says: str, client: TestClient
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert says in answer.json()["error"]
    assert (status == 405) == ("allow" in answer.headers)


def test_a_user_is_deleted_by_those_who_may_write(client: TestClient) -> None:
    send(client, comment("gone-1", user_id=61_616_161), comment("gone-2", user_id=61_616_161))
    assert client.delete("/users/61616161").status_code == 401
    answer = client.delete("/users/61616161", headers=WRITER)
    assert (answer.status_code, answer.json()) == (200, {"user_id": 61_616_161, "erased_records": 2})
    assert client.delete("/users/61616161", headers=WRITER).json()["erased_records"] == 0
    assert client.delete("/users/everybody", headers=WRITER).status_code == 400


def test_an_empty_batch_is_a_batch(client: TestClient) -> None:
    assert send(client).json() == {"accepted": 0, "late": 0, "duplicate": 0, "rejected": 0, "rejections": []}


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/rooms/4711", 404, "no room 4711"),
        ("/similar/4711", 404, "no room 4711"),
        ("/rooms/first", 400, "room id"),
        ("/rooms/-1", 400, "room id"),
        (f"/rooms/{2**63}", 400, "room id"),
        ("/rooms?limit=0", 400, "limit"),
        ("/rooms?limit=201", 400, "limit"),
        ("/rooms?offset=x", 400, "offset"),
        ("/similar/1?k=101", 400, "k has to be"),
    ],
)
def test_a_question_that_cannot_be_answered_is_told_why(path: str, status: int, says: str, client: TestClient) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert says in answer.json()["error"]


def test_segments_become_vectors_alike_where_the_texts_are(client: TestClient) -> None:
    same, other = {"speech": "the host plays chess"}, {"speech": "garlic and butter", "author_id": 900, "minute": 5}
    first, second, third = client.post("/embed", json={"segments": [same, same, other]}).json()
    # Rows of one product may differ in their last bit.
    assert first.pop("vector") == pytest.approx(vector := second.pop("vector"), abs=1e-6)
    assert first == second
    assert first["embedding"] != third["embedding"]
    assert sum(value * value for value in vector) == pytest.approx(1.0, abs=1e-3)
    assert len(first["codes"]) == len(first["code_names"])
    assert client.post("/embed", json={"segments": []}).json() == []


@pytest.mark.parametrize(
    "segments",
    [[{"minute": -1}], [{"speech": "x" * 2_001}], [{"chat": ["x"] * 101}], [{"sppech": "x"}], [{}] * 65, "text", None],
)
def test_segments_out_of_bounds_are_refused(segments: Any, client: TestClient) -> None:
    answer = client.post("/embed", json={"segments": segments})
    assert answer.status_code == 400
    assert "segments" in answer.json()["error"]


def test_a_wrong_body_is_refused_in_the_same_words_by_every_endpoint(client: TestClient) -> None:
    segment, user = {"title": "a"}, {"user_id": 500}
    for path, body, says in (
        ("/embed", {"segments": [segment], "x": 1}, "the body has no field x"),
        ("/embed", {"segments": [{"sppech": "x"}]}, "segments.0 has no field sppech; is speech meant?"),
        ("/embed", {}, "segments is missing"),
        ("/recommend", {**user, "filter": {"att": 1}}, "filter has no field att"),  # `at` is a field of the body alone
        ("/recommend", {**user, "filter": {"author": [1]}}, "filter has no field author; is authors meant?"),
        ("/recommend", {**user, "record": "yes"}, "record has to be true or false"),
        ("/recommend", {**user, "content": 0}, "content has to be true or false"),
        ("/recommend", {**user, "at": "2199-12-31T23:59:59-12:00"}, "at: must lie between the years 2000 and 2200"),
        ("/recommend", {**user, "at": "9999-12-31T23:59:59-12:00"}, "at: must lie between the years 2000 and 2200"),
        (
            "/recommend",
            {**user, "context": {"language": "ß" * 200}},  # `ss` in lower case
            "context.language: must have at most 200 characters in lower case",
        ),
    ):
        answer = client.post(path, json=body, headers=WRITER)
        assert (answer.status_code, answer.json()["error"]) == (400, says)


def test_a_parameter_that_stands_in_the_query_twice_is_refused(client: TestClient) -> None:
    answer = client.get("/rooms?limit=5&limit=7")
    assert (answer.status_code, answer.json()["error"]) == (400, "limit stands in the query more than once")


def test_the_series_of_the_service_are_shown(client: TestClient) -> None:
    send(client, comment("m-1"))
    client.post("/recommend", json={"user_id": 500, "context": {"language": "en"}})
    shown = client.get("/metrics").text
    for series in (
        'livealign_events_total{kind="comment",outcome="accepted"}',
        'livealign_recommend_seconds_count{stage="rank"}',
        'livealign_http_requests_total{route="/recommend",status="200"}',
        'livealign_fallbacks_total{kind="author_only"}',
        'livealign_list_contexts_total{field="language"}',
        'livealign_rejections_total{reason="invalid"}',
        "livealign_room_staleness_seconds_count",
        "livealign_windows_waiting",
        "livealign_encode_batch_texts_count",
        "livealign_encode_seconds_count",
        "livealign_release{",
    ):
        assert series in shown, series


def test_status_says_how_it_goes(client: TestClient) -> None:
    send(client, *(comment(f"s-{one}") for one in range(60)))
    status = client.get("/status").json()
    assert (status["ready"], status["problems"]) == (True, [])
    assert status["live_rooms"] >= 3
    assert status["events_per_second"] >= 2.0


def test_the_page_is_there_and_lets_nothing_in(client: TestClient) -> None:
    page = client.get("/")
    assert "text/html" in page.headers["content-type"]
    assert "script-src 'self'" in page.headers["content-security-policy"]
    files = {path: about for path, about in WALL_FILES.items() if path != "/"}
    assert set(re.findall(r'(?:href|src)="(wall/[^"]+)"', page.text)) <= {path[1:] for path in files}
    assert "style=" not in page.text  # the policy would leave it out
    for path, (file, media_type) in files.items():
        answer = client.get(path)
        assert media_type in answer.headers["content-type"]
        assert answer.content == file.read_bytes()
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|https?://|@import|url\(", answer.text), path
    assert client.get("/wall/../wall_files.py").status_code == client.get("/wall/wall.html").status_code == 404


def test_rooms_are_found_by_words_and_users_are_those_with_a_history(client: TestClient) -> None:
    send(client, started(40, title="Endgame studies"))
    time.sleep(PICTURE_SECONDS)
    found = client.get("/rooms", params={"search": "ENDGAME stud"}).json()
    assert ([room["room_id"] for room in found["rooms"]], found["total"]) == ([40], 1)
    assert client.get("/rooms", params={"search": "endgame"}).json()["rooms"][0]["said"] is None
    assert client.get("/rooms", params={"search": "x" * 101}).status_code == 400
    users = client.get("/users?limit=3").json()["users"]
    assert len(users) == 3
    assert all(client.get(f"/explain/40?user_id={user['user_id']}").json()["reason"] for user in users)
    assert client.get("/users?limit=0").status_code == client.get("/users?limit=101").status_code == 400


def test_without_its_backbone_it_serves_on_and_says_so(
    release: PlantedRelease, client: TestClient, tmp_path_factory: pytest.TempPathFactory
) -> None:
    del client  # after the others: there is one service in a process
    plain = release.bundle.parents[1] / "plain" / "releases"
    (bundle,) = [path for path in plain.iterdir() if path.is_dir()]
    with service_client(bundle, tmp_path_factory.mktemp("plain")) as client:
        page, status = client.get("/rooms").json(), client.get("/status").json()
        assert (page["from_snapshot"], status["from_snapshot"], page["at"][:11]) == (True, True, "2025-03-02T")
        assert page["total"] > 0
        assert client.get("/version").json()["encodes"] is False
        assert client.get("/status").json()["problems"]
        answer = client.post("/embed", json={"segments": [{"speech": "hello"}]})
        assert answer.status_code == 503
        listed = client.post("/recommend", json={"user_id": 500, "k": 3}).json()
        assert "no_refresh" in listed["fallbacks"]
        assert listed["rooms"]
