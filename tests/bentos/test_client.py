"""The Python client against the running service, and against servers that fail."""

import ast
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import uvicorn

from bentos.client_types import client_types
from bentos.smoke import free_port
from livealign.client import BATCH_BYTES, MAX_EVENTS, Client, ClientError
from livealign.client_types import Like, RejectedEvent, RoomStarted, SentEvent
from livealign.event_sender import EventSender
from tests.planted.live_release import plant_live_releases
from tests.support.service_client import KEY, service_client

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The service behind a real port."""
    bundle = plant_live_releases(tmp_path_factory.mktemp("live"))[0].bundle
    with service_client(bundle, tmp_path_factory.mktemp("service")) as in_process:
        port = free_port()
        server = uvicorn.Server(uvicorn.Config(in_process.app, port=port, log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def client(url: str) -> Client:
    return Client(url, KEY, patience=5.0)


def now() -> int:
    return int(time.time() * 1000)


def started(room: int) -> RoomStarted:
    return {
        "kind": "room_started",
        "event_id": f"start-{room}",
        "at": now(),
        "room_id": room,
        "author_id": 900 + room,
        "title": "Ranked climb",
    }


def like(event_id: str, room: int) -> Like:
    return {"kind": "like", "event_id": event_id, "at": now(), "room_id": room, "author_id": 900 + room, "user_id": 500}


def test_the_types_are_those_of_the_document() -> None:
    written = (ROOT / "livealign" / "client_types.py").read_text()
    assert ast.dump(ast.parse(written)) == ast.dump(ast.parse(client_types())), "run `python -m bentos.client_types`"


def test_it_needs_nothing_but_python() -> None:
    program = "import sys, livealign.client; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "pydantic", "httpx", "bentoml"} & set(done.stdout.split())


def test_every_call_is_answered_by_the_service(client: Client) -> None:
    assert client.events([started(1), started(2), like("l-1", 1)])["accepted"] == 3
    time.sleep(1.1)  # a page of rooms is made once a second
    assert {room["room_id"] for room in client.all_rooms()} >= {1, 2}
    assert [room["room_id"] for room in client.all_rooms(page=1)] == [room["room_id"] for room in client.all_rooms()]
    room = client.room(1)
    assert room is not None
    assert room["title"] == "Ranked climb"
    assert client.room(4711) is None
    assert client.frame(1) is None
    similar = client.similar(1, k=3)
    assert similar is not None
    assert similar["room_id"] == 1
    alike = client.similar_users(500, k=3)
    assert alike is not None
    assert len(alike["users"]) == 3
    assert client.similar_users(4711) is None
    answer = client.recommend(500, k=2, surface="test")
    assert len(answer["rooms"]) == 2
    assert answer["logged"]
    lists = client.recommend_many([500, 501], k=1, record=False)["lists"]
    assert [one["user_id"] for one in lists] == [500, 501]
    explanation = client.explain(500, answer["rooms"][0]["room_id"])
    assert explanation is not None
    assert explanation["scores"] == pytest.approx(answer["rooms"][0]["scores"], abs=0.02)
    assert client.explain(500, 4711) is None
    assert client.version()["release_id"] == answer["model_version"]
    assert client.status()["ready"]
    assert client.experiments()["champion"] == answer["model_version"]
    assert client.delete_user(501)["user_id"] == 501


def test_a_refusal_says_what_the_service_says(url: str, client: Client) -> None:
    with pytest.raises(ClientError, match=r"400: .*k") as refused:
        client.recommend(500, k=0)
    assert refused.value.status == 400
    assert refused.value.answer["detail"]
    with pytest.raises(ClientError, match="401"):
        Client(url).events([like("l-2", 1)])
    for wrong in ("ftp://x", "http://127.0.0.1:999999", "http://127.0.0.1:abc", "http://[::1", "http://x/?a=1", "http://x/a b"):
        with pytest.raises(ClientError, match="is no address of a service"):
            Client(wrong)
    for key in ("a\nb", "a€"):
        with pytest.raises(ClientError, match="no HTTP header takes") as refused:
            Client(url, key)
        assert key not in str(refused.value)


def test_more_events_than_one_batch_takes_are_sent_in_several(client: Client) -> None:
    client.events([started(3)])
    events: list[SentEvent] = [like(f"many-{number}", 3) for number in range(MAX_EVENTS + 2)]
    events.append(like("elsewhere", 4711))
    answer = client.events(events)
    assert (answer["accepted"], answer["rejected"]) == (MAX_EVENTS + 2, 1)
    assert [(one["place"], one["reason"]) for one in answer["rejections"]] == [(MAX_EVENTS + 2, "unknown_room")]
    assert client.events(events[:5])["duplicate"] == 5


def test_queued_events_are_sent_in_batches_and_rejections_come_back(client: Client) -> None:
    client.events([started(5)])
    rejected: list[tuple[SentEvent, RejectedEvent]] = []
    with EventSender(client, every=0.1, rejected=lambda event, why: rejected.append((event, why))) as events:
        for number in range(2_500):
            events.send(like(f"queued-{number}", 5))
        events.send(like("nowhere", 4712))
    assert (events.accepted, events.rejected, events.unsent) == (2_500, 1, [])
    assert [(event["event_id"], why["reason"]) for event, why in rejected] == [("nowhere", "unknown_room")]


def test_an_error_in_the_handler_of_rejections_is_raised_by_the_next_send(client: Client) -> None:
    client.events([started(6)])

    def handle(event: SentEvent, why: RejectedEvent) -> None:
        raise KeyError(event["event_id"])

    def send_many() -> None:
        with EventSender(client, every=0.05, rejected=handle) as sender:
            sender.send(like("lost", 4713))
            for number in range(1_000):
                time.sleep(0.01)
                sender.send(like(f"late-{number}", 6))

    with pytest.raises(KeyError, match="lost"):
        send_many()


class Scripted(BaseHTTPRequestHandler):
    """Answers by a script: statuses, "close" for an answer that is lost; then 200 for ever."""

    protocol_version = "HTTP/1.1"
    script: ClassVar[list[int | str]] = []
    asked: ClassVar[list[tuple[float, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((time.monotonic(), body))
        step = self.script.pop(0) if self.script else 200
        if step == "close":
            self.close_connection = True
            return
        if step == "answer and close":
            self.close_connection, step = True, 200
        answer = (
            {"accepted": 1, "late": 0, "duplicate": 0, "rejected": 0, "rejections": []} if step == 200 else {"error": "busy"}
        )
        content = json.dumps(answer).encode()
        self.send_response(int(step))
        if step == 429:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@contextmanager
def scripted(*script: int | str) -> Iterator[str]:
    Scripted.script, Scripted.asked = list(script), []
    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_busy_service_is_asked_again_when_it_says() -> None:
    with scripted(429, 503) as url:
        assert Client(url, KEY).events([like("l", 1)])["accepted"] == 1
    times = [at for at, _ in Scripted.asked]
    assert len(times) == 3
    assert times[1] - times[0] >= 1.0


def test_large_events_are_sent_in_batches_of_bounded_bytes() -> None:
    events: list[SentEvent] = [
        {"kind": "comment", "event_id": str(number), "at": 1, "room_id": 1, "author_id": 1, "user_id": 1, "text": "é" * 30_000}
        for number in range(40)
    ]
    with scripted() as url:
        Client(url, KEY).events(events)
    sent = [body["events"] for _, body in Scripted.asked]
    assert [event for batch in sent for event in batch] == events
    assert len(sent) > 1
    assert all(len(json.dumps(batch, ensure_ascii=False).encode()) <= BATCH_BYTES + 1_000 for batch in sent)


def test_events_whose_answer_was_lost_are_sent_again_and_a_list_is_not() -> None:
    with scripted("close", "close") as url:
        assert Client(url, KEY).events([like("l", 1)])["accepted"] == 1
    assert [body["events"][0]["event_id"] for _, body in Scripted.asked] == ["l"] * 3
    with scripted("close") as url, pytest.raises(ClientError, match="does not answer"):
        Client(url).recommend(1)
    assert len(Scripted.asked) == 1
    with scripted("close") as url:
        Client(url).recommend(1, record=False)
    assert len(Scripted.asked) == 2


def test_a_connection_that_was_closed_while_it_was_idle_is_opened_anew() -> None:
    with scripted("answer and close") as url:
        client = Client(url, patience=0.0)
        client.recommend(1)
        time.sleep(0.1)
        client.recommend(2)  # is not repeated, so it must not be sent into the closed connection
    assert [body["user_id"] for _, body in Scripted.asked] == [1, 2]


def test_a_service_that_is_away_is_waited_for_and_then_named(client: Client) -> None:
    port = free_port()
    began = time.monotonic()
    with pytest.raises(ClientError, match=f"http://127.0.0.1:{port} does not answer") as away:
        Client(f"http://127.0.0.1:{port}", patience=0.5).status()
    assert away.value.status == 0
    assert 0.1 < time.monotonic() - began < 5


def test_events_that_could_not_be_sent_are_given_back() -> None:
    with scripted(*([503] * 100)) as url:
        sender = EventSender(Client(url, patience=2), every=0.05, most=3)

        def send_too_many() -> None:
            with sender:
                sender.send(like("0", 1))
                while not Scripted.asked:  # the thread tries to send the first
                    time.sleep(0.01)
                for number in range(1, 4):
                    sender.send(like(str(number), 1))
                with pytest.raises(ClientError, match="3 events wait"):
                    sender.send(like("4", 1))

        with pytest.raises(ClientError, match="503: busy"):
            send_too_many()
    assert [event["event_id"] for event in sender.unsent] == ["0", "1", "2", "3"]


def test_an_event_that_no_body_can_hold_is_rejected_alone(client: Client) -> None:
    client.events([started(8)])
    odd: list[Any] = [
        like("fine", 8),
        {**like("a set", 8), "count": {1, 2}},
        {**like("no number", 8), "count": float("nan")},
        {**like("half a character", 8), "text": "\ud800"},
        {**like("large", 8), "text": "x" * BATCH_BYTES},
        {"event_id": object()},
        like("nowhere", 4714),
        like("fine too", 8),
    ]
    answer = client.events(odd)
    assert (answer["accepted"], answer["rejected"]) == (2, 6)
    assert [(one["place"], one["event_id"], one["reason"]) for one in answer["rejections"]] == [
        *((1, "a set", "invalid"), (2, "no number", "invalid"), (3, "half a character", "invalid"), (4, "large", "invalid")),
        *((5, None, "invalid"), (6, "nowhere", "unknown_room")),
    ]
    assert "not JSON serializable" in answer["rejections"][0]["detail"]
    rejected: list[str | None] = []
    with EventSender(client, every=0.05, rejected=lambda event, why: rejected.append(why["event_id"])) as sender:
        for event in (odd[1], like("after", 8)):
            sender.send(event)
    assert (rejected, sender.accepted, sender.rejected, sender.unsent) == (["a set"], 1, 1, [])


def test_a_service_that_does_not_count_late_events_is_understood(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    older = {"accepted": 1, "duplicate": 0, "rejected": 0, "rejections": []}
    monkeypatch.setattr(Client, "_call", lambda *_, **__: older)
    assert client.events([like("l-9", 8)]) == {**older, "late": 0}


def test_a_sender_outside_its_block_takes_no_event(client: Client) -> None:
    client.events([started(9)])
    sender = EventSender(client)
    with pytest.raises(ClientError, match="before its `with` block"):
        sender.send(like("early", 9))
    with sender:
        sender.send(like("in time", 9))
    with pytest.raises(ClientError, match="after its `with` block has ended"):
        sender.send(like("late", 9))
    with pytest.raises(ClientError, match="was used already"), sender:
        pass
    assert sender.accepted == 1
