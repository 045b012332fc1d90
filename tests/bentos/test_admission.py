"""Keys, rates and sizes are enforced before a handler sees a request; logs hold no user's words."""

import asyncio
import json
import logging
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from bentos.live_recommender import json_logs as logs
from bentos.live_recommender.admission import (
    AdmissionMiddleware,
    AdmissionSettings,
    Limits,
)
from bentos.live_recommender.api_keys import READ_VARIABLE, WRITE_VARIABLE, ApiKeys
from bentos.live_recommender.metrics import process_metrics
from bentos.live_recommender.rate_limits import InHand, RateLimit
from livealign.errors import LiveAlignError
from tests.support.admission_client import READER, WRITER, bearer, client_of, echo


def test_without_keys_everybody_reads_and_nobody_writes() -> None:
    client = client_of()
    assert client.get("/rooms").status_code == 200
    refused = client.post("/events", json={"events": []}, headers=bearer("x" * 20))
    assert refused.status_code == 403
    assert WRITE_VARIABLE in refused.json()["error"]


@pytest.mark.parametrize(
    ("headers", "status", "says"),
    [
        ({}, 401, "Bearer"),
        (bearer("wrong" * 5), 401, "the API key is wrong"),
        (bearer(WRITER[:-1]), 401, "the API key is wrong"),
        ({"X-API-Key": READER}, 403, "only read"),
        (bearer(WRITER), 200, None),
        ({"X-API-Key": WRITER}, 200, None),
        ({"authorization": f"bearer   {WRITER} "}, 200, None),
        ({"Authorization": "Basic " + WRITER}, 401, "Bearer"),
    ],
)
def test_events_take_a_key_that_may_write(headers: dict[str, str], status: int, says: str | None) -> None:
    client = client_of({WRITE_VARIABLE: f"{'other' * 4}, {WRITER}", READ_VARIABLE: READER})
    answer = client.post("/events", json={"events": []}, headers=headers)
    assert answer.status_code == status
    assert says is None or says in answer.json()["error"]
    assert (answer.headers.get("www-authenticate") == "Bearer") == (status == 401)


def test_reading_is_guarded_where_read_keys_are_set() -> None:
    client = client_of({WRITE_VARIABLE: WRITER, READ_VARIABLE: READER})
    for path in (
        "/rooms",
        "/users",
        "/users/500/similar",
        "/wall/no_such.js",
        "/rooms/1",
        "/similar/1",
        "/version",
        "/status",
        "/metrics",
        "/docs.json",
        "/anything",
    ):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=bearer(READER)).status_code == 200
        assert client.get(path, headers=bearer(WRITER)).status_code == 200
    assert client.post("/recommend", json={}).status_code == 401
    for path in ("/", "/wall/main.js", "/wall/base.css", "/healthz", "/readyz"):
        assert client.get(path).status_code == 200  # holds nothing of the platform's


def test_a_wrong_key_is_refused_also_where_reading_needs_none() -> None:
    """A sender with a mistyped key would believe that their lists are logged."""
    client = client_of({WRITE_VARIABLE: WRITER})
    assert client.get("/rooms").status_code == 200
    wrong = [WRITER[:-1], WRITER + "x", WRITER.upper(), "x", ""]
    answers = [client.post("/recommend", json={}, headers=bearer(key)) for key in wrong]
    assert [answer.status_code for answer in answers] == [401] * len(wrong)
    (said,) = {answer.json()["error"] for answer in answers}  # the same, however near to the true key
    assert said.startswith("the API key is wrong")
    assert client.get("/", headers=bearer("x")).status_code == 200  # the page holds nothing of the platform's


def test_a_key_that_can_be_guessed_is_refused_at_the_start() -> None:
    with pytest.raises(LiveAlignError, match=f"key 2 of {WRITE_VARIABLE} has 5 characters"):
        ApiKeys.from_environment({WRITE_VARIABLE: f"{WRITER} short"})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": Infinity}', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 10_000 + b"]" * 10_000, "not JSON"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "not JSON"),
    ],
)
@pytest.mark.parametrize("path", ["/recommend", "/events", "/embed"])
def test_what_is_no_json_is_told_so(path: str, body: bytes, says: str) -> None:
    answer = client_of({WRITE_VARIABLE: WRITER}).post(path, content=body, headers=bearer(WRITER))
    assert answer.status_code == 400
    assert says in answer.json()["error"]


@pytest.mark.parametrize(("path", "most"), [("/recommend", 64_000), ("/events", 8_000_000), ("/embed", 2_000_000)])
def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(path: str, most: int) -> None:
    client = client_of({WRITE_VARIABLE: WRITER})
    declared = client.post(path, content=b" " * (most + 1), headers=bearer(WRITER))
    streamed = client.post(path, content=iter([b" " * 1_000_000] * (most // 1_000_000 + 1)), headers=bearer(WRITER))
    assert [declared.status_code, streamed.status_code] == [413, 413]
    assert str(most) in declared.json()["error"]
    assert client.post(path, content=b"1" + b" " * (most - 1), headers=bearer(WRITER)).status_code == 200


def test_a_length_that_lies_is_refused() -> None:
    answer = client_of().post("/recommend", content=b"{}", headers={"Content-Length": "many"})
    assert answer.status_code == 400


@pytest.mark.parametrize("media_type", ["multipart/form-data; boundary=x", "text/plain", "application/vnd.bentoml+pickle"])
def test_only_json_is_read(media_type: str) -> None:
    answer = client_of().post("/recommend", content=b"{}", headers={"Content-Type": media_type})
    assert answer.status_code == 415
    assert "application/json" in answer.json()["error"]


def test_the_application_gets_the_decoded_body_and_can_still_read_it() -> None:
    answer = client_of().post("/recommend", content=b'{"user_id": 9223372036854775807}').json()
    assert answer == {"decoded": {"user_id": 2**63 - 1}, "read": '{"user_id": 9223372036854775807}'}


def test_a_request_that_ends_before_its_body_is_no_crash() -> None:
    sent: list[Any] = []
    settings = AdmissionSettings(Limits(ApiKeys.from_environment({})), process_metrics())
    scope = {"type": "http", "method": "POST", "path": "/recommend", "headers": [], "client": ("::1", 1)}

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(AdmissionMiddleware(echo, settings)(scope, receive, send))
    assert sent[0]["status"] == 400


def test_a_sender_who_asks_too_often_waits_and_others_do_not() -> None:
    slow = RateLimit(1.0, clock=lambda: 0.0)
    client = client_of(keyless=slow)
    statuses = [client.get("/rooms").status_code for _ in range(4)]
    assert statuses == [200, 200, 429, 429]
    assert int(client.get("/rooms").headers["retry-after"]) >= 1
    assert client.get("/healthz").status_code == 200  # health checks are never refused
    assert slow.wait("somebody else") == 0.0


def test_events_have_a_rate_of_their_own() -> None:
    client = client_of({WRITE_VARIABLE: WRITER}, events=RateLimit(100.0, clock=lambda: 0.0))
    batch = {"events": [{}] * 150}
    statuses = [client.post("/events", json=batch, headers=bearer(WRITER)).status_code for _ in range(2)]
    assert statuses == [200, 429]


def test_requests_without_a_key_use_up_no_rate_of_those_with_one() -> None:
    of_key, of_address = (RateLimit(1.0, clock=lambda: 0.0) for _ in range(2))
    client = client_of({WRITE_VARIABLE: WRITER}, requests=of_key, keyless=of_address)
    assert [client.get("/rooms", headers=bearer("guessed" * 3)).status_code for _ in range(3)] == [401, 401, 429]
    assert client.get("/rooms").status_code == 429
    keyed = [client.get("/rooms", headers=bearer(WRITER)).status_code for _ in range(3)]
    assert keyed == [200, 200, 429]


def test_requests_at_once_are_bounded_by_address_and_places_are_kept_for_keys_and_probes() -> None:
    hand = InHand(most=6, reserved=2, of_address=3)
    assert [hand.take(sender, keyed=False) for sender in ("a", "a", "a", "a", "b", "b")] == [*[True] * 3, False, True, False]
    assert [hand.take("a", keyed=True) for _ in range(3)] == [True, True, False]
    hand.release("a", keyed=False)
    hand.release("b", keyed=False)
    assert [hand.take("a", keyed=False) for _ in range(2)] == [False, False]  # the others' places are kept
    assert hand.take("a", keyed=True)
    for _ in range(3):
        hand.release("a", keyed=True)
    assert hand.take("a", keyed=False)


def test_a_full_house_is_a_429_that_says_when_and_is_counted_and_every_place_is_given_back() -> None:
    hand, held = InHand(most=2, reserved=1, of_address=5), []

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        held.append(hand._count)
        raise ValueError("broken")

    client = client_of({WRITE_VARIABLE: WRITER}, in_hand=hand, app=broken)
    for _ in range(3):
        assert client.get("/rooms").status_code == 500
    assert hand.take("other", keyed=False)
    before = _requests("/rooms", 429)
    refused = client.get("/rooms")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert "at once" in refused.json()["error"]
    assert _requests("/rooms", 429) == before + 1
    client.get("/healthz")
    assert held == [1, 1, 1, 1]  # the last: the other's place alone, a probe takes none


def _requests(route: str, status: int) -> float:
    return float(process_metrics()._requests.labels(route, status)._value.get())


def test_large_headers_are_refused() -> None:
    answer = client_of().get("/rooms", headers={"x-more": "x" * 16_384})
    assert answer.status_code == 431
    assert "16384" in answer.json()["error"]


def test_each_list_of_many_counts_as_a_request() -> None:
    client = client_of(keyless=RateLimit(5.0, clock=lambda: 0.0))
    statuses = [client.post("/recommend/many", json={"user_ids": [1, 2, 3, 4, 5]}).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


def test_an_error_that_nobody_expected_is_a_500_in_json_and_its_words_are_not_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("what a user wrote: hunter2")

    logs.configure()
    answer = client_of(app=broken).get("/rooms")
    logged = capsys.readouterr().out
    assert answer.status_code == 500
    assert "hunter2" not in answer.text + logged
    line = json.loads(logged.splitlines()[0])
    assert line["error"] == "ValueError"
    assert "test_admission.py" in line["where"][-1]


def test_requests_are_logged_by_route_never_by_what_was_asked(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    client = client_of({WRITE_VARIABLE: WRITER})
    client.post("/events", json={"events": ["a secret"]}, headers=bearer(WRITER))
    client.get("/rooms/4711?limit=3")
    client.get("/healthz")
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["route"] for line in lines] == ["/events", "/rooms/{room_id}"]
    assert not any(word in "".join(lines) for word in ("secret", "4711", WRITER))


def test_bentomls_own_log_lines_are_json_without_the_words_of_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    try:
        raise ValueError("hunter2")
    except ValueError:
        logging.getLogger("bentoml.access").exception("Exception on /embed [POST]: hunter2")
    line = json.loads(capsys.readouterr().out)
    assert line["error"] == "ValueError"
    assert "hunter2" not in json.dumps(line)


def test_the_series_do_not_grow_with_what_is_asked() -> None:
    client = client_of()
    before = _series()
    for number in range(30):
        client.get(f"/rooms/{number}")
        client.get(f"/{number}/nowhere")
    grown = _series() - before
    assert {"/rooms/{room_id}", "other"} >= {
        dict(labels)["route"] for name, labels in grown if name.endswith("_requests_total")
    }


def _series() -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    import prometheus_client

    return {
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in prometheus_client.REGISTRY.collect()
        for sample in family.samples
        if sample.name.startswith("livealign_http")
    }
