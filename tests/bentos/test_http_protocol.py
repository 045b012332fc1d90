"""Slow and oversized requests end by themselves, and nobody who sends a request at once waits for them."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from bentos.live_recommender import http_protocol, waiting
from bentos.live_recommender.admission import ADMISSION, AdmissionMiddleware, Limits
from bentos.live_recommender.api_keys import WRITE_VARIABLE, ApiKeys
from bentos.live_recommender.http_protocol import BoundedH11, BoundedProtocol
from bentos.live_recommender.metrics import process_metrics
from bentos.live_recommender.rate_limits import RateLimit
from bentos.live_recommender.trusted_proxies import UVICORN_VARIABLE, VARIABLE, TrustedProxies
from livealign.errors import LiveAlignError

KEY = "writer-" + "w" * 16
LOOPBACK = TrustedProxies.from_environment({VARIABLE: "127.0.0.0/8"})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the sender and the length of the body."""
    body = await Request(scope, receive).body()
    await JSONResponse({"client": scope["client"][0], "length": len(body)})(scope, receive, send)


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short time limits, and one key."""
    monkeypatch.setattr(ADMISSION, "limits", Limits(ApiKeys.from_environment({WRITE_VARIABLE: KEY}), log_requests=False))
    monkeypatch.setattr(ADMISSION, "metrics", process_metrics())
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(http_protocol, "LINGER_SECONDS", 0.2)


@contextmanager
def server(protocol: type[asyncio.Protocol]) -> Iterator[int]:
    """A server with the protocol on a free port."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(AdmissionMiddleware(echo, ADMISSION), http=protocol, log_config=None, lifespan="off")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        running.should_exit = running.force_exit = True
        thread.join(10)
        listening.close()


@pytest.fixture(params=[BoundedProtocol, BoundedH11], ids=["httptools", "h11"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    with server(request.param) as port:
        yield port


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def answer(connection: socket.socket) -> tuple[int, Any]:
    """Status and JSON of what comes until the connection ends or the body is complete; (0, None) if nothing comes."""
    received = b""
    while True:
        try:
            part = connection.recv(65_536)
        except ConnectionResetError:
            part = b""
        received += part
        head, _, body = received.partition(b"\r\n\r\n")
        lengths = [int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")]
        if not part or (lengths and len(body) >= lengths[0]):
            break
    return (int(head.split()[1]), json.loads(body)) if head else (0, None)


def request(body: bytes = b"{}", path: str = "/recommend", key: str | None = None, **headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: x", "content-type: application/json", f"content-length: {len(body)}"]
    lines += [f"authorization: Bearer {key}"] if key else []
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items())]).encode() + b"\r\n\r\n" + body


def ask(port: int, content: bytes | None = None) -> tuple[int, Any]:
    with connect(port) as connection:
        connection.sendall(content or request())
        return answer(connection)


def unread(status: int) -> float:
    value = process_metrics()._requests.labels("unread", status)._value.get()
    return float(value)


def test_a_request_is_answered_and_the_connection_stays(port: int) -> None:
    with connect(port) as connection:
        for length in (2, 40_000, 2):
            connection.sendall(request(b'"' + b"x" * (length - 2) + b'"'))
            assert answer(connection) == (200, {"client": "127.0.0.1", "length": length})
        half = request(b'"1234"')
        connection.sendall(half[:20])
        connection.sendall(half[20:-3])
        connection.sendall(half[-3:])
        assert answer(connection)[1]["length"] == 6


def test_a_body_that_comes_after_its_headers_is_no_header(port: int) -> None:
    whole = request(b'"' + b"x" * 59_998 + b'"')
    for pause in (-40_000, -20_000):
        with connect(port) as connection:
            connection.sendall(whole[:pause])
            time.sleep(0.05)  # so that the rest is read on its own
            connection.sendall(whole[pause:])
            assert answer(connection) == (200, {"client": "127.0.0.1", "length": 60_000})


def test_headers_beyond_their_bound_are_refused_complete_or_not(port: int) -> None:
    before = unread(431)
    for content in (request(more="x" * 17_000), b"GET /rooms?" + b"x" * 17_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"):
        status, body = ask(port, content)
        assert (status, body["error"]) == (431, "the headers are larger than 16384 bytes")
    with connect(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nx: ")
        sent = 0
        try:
            while sent < 3_000_000:
                connection.sendall(b"x" * 100_000)
                sent += 100_000
        except OSError:  # closed meanwhile
            pass
        assert answer(connection)[0] in (0, 431)
    assert unread(431) == before + 1
    assert ask(port, request(more="x" * 15_000))[0] == 200


def test_requests_sent_ahead_without_a_key_are_dropped_where_there_are_too_many(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ADMISSION.limits is not None
    for limit in ("requests", "keyless"):
        monkeypatch.setattr(ADMISSION.limits, limit, RateLimit(1.0))

    def statuses(key: str | None) -> list[bytes]:
        with connect(port) as connection:
            connection.sendall(request(key=key) * 20)
            received = b""
            while received.count(b"HTTP/1.1 ") < 20 and (part := connection.recv(65_536)):
                received += part
        return re.findall(rb"HTTP/1\.1 (\d+)", received)

    assert statuses(None) == [b"200", b"200", b"429"]
    assert statuses(KEY) == [b"200"] * 2 + [b"429"] * 18


def test_what_is_no_http_is_refused_in_json(port: int) -> None:
    assert ask(port, b"what is this\r\n\r\n") == (400, {"error": "this is no HTTP request"})


@pytest.mark.parametrize(
    ("state", "sent"),
    [
        ("headers", b""),
        ("headers", b"POST /recommend HT"),
        ("body", request(b"x" * 100)[:-50]),
        ("body", request(b"{}", key=KEY)[:-1]),
    ],
)
def test_a_wait_for_headers_or_a_body_is_over_in_time(
    state: waiting.State, sent: bytes, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(waiting.SECONDS, state, 0.2)
    before = unread(408)
    with connect(port) as connection:
        connection.sendall(sent)
        status, body = answer(connection)
        assert status == 408
        assert state in body["error"]
        assert connection.recv(1) == b""  # closed
    assert unread(408) == before + 1


def test_slow_requests_of_an_address_take_the_place_of_its_oldest_and_starve_nobody(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "PER_ADDRESS", 5)
    slow: list[socket.socket] = []
    keyed = connect(port)
    keyed.sendall(request(b"{}", key=KEY)[:-1])  # a slow body, but with a key
    for _ in range(30):
        slow.append(connect(port))
        slow[-1].sendall(request(b"{}")[:-1])
        assert ask(port)[0] == 200
        assert ask(port, request(b'{"events": []}', "/events", KEY))[0] == 200
        assert ask(port, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")[0] == 200
    for one in slow[:20]:
        assert answer(one)[0] == 408
    keyed.sendall(b"}")
    assert answer(keyed)[0] == 200
    for one in (*slow, keyed):
        one.close()


def test_the_process_has_a_bound_of_its_own_and_a_client_that_is_gone_is_forgotten() -> None:
    loop, ended = asyncio.new_event_loop(), []

    class Slow:
        def __init__(self, address: str, exempt: bool = False) -> None:
            self.address, self.exempt = address, exempt

        def end_wait(self, state: waiting.State) -> None:
            ended.append((self.address, state))

    waits = waiting.Waits(loop, most=10)
    writers = [Slow("w", exempt=True) for _ in range(4)]
    for one in writers:
        waits.begin(one, "body")
    for number in range(20):
        waits.begin(Slow(f"a{number}"), "headers")
    assert len(waits) == 10
    assert ended == [(f"a{number}", "headers") for number in range(14)]
    for one in writers:
        waits.end(one)
        waits.end(one)
    assert len(waits) == 6
    loop.close()


def test_the_senders_address_is_the_connections_unless_a_proxy_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    forged = request(**{"x-forwarded-for": "203.0.113.9"})
    monkeypatch.delenv(UVICORN_VARIABLE, raising=False)
    with server(BoundedProtocol) as trusting:
        assert ask(trusting, forged)[1]["client"] == "203.0.113.9"  # uvicorn's default believes this machine
    monkeypatch.setenv(UVICORN_VARIABLE, TrustedProxies().for_uvicorn())
    with server(BoundedProtocol) as strict:
        assert ask(strict, forged)[1]["client"] == "127.0.0.1"
    monkeypatch.setenv(UVICORN_VARIABLE, LOOPBACK.for_uvicorn())
    with server(BoundedProtocol) as behind:
        assert ask(behind, forged)[1]["client"] == "203.0.113.9"


def test_trusted_proxies_are_addresses_and_networks() -> None:
    proxies = TrustedProxies.from_environment({VARIABLE: "10.0.0.7, 10.1.0.0/16 fd00::/8"})
    assert [address in proxies for address in ("10.0.0.7", "10.1.2.3", "fd00::1", "10.0.0.8", "127.0.0.1", "?")] == [
        *(True, True, True),
        *(False, False, False),
    ]
    assert "127.0.0.1" not in TrustedProxies.from_environment({})
    with pytest.raises(LiveAlignError, match=r"'proxy\.example'"):
        TrustedProxies.from_environment({VARIABLE: "proxy.example"})
    assert ProxyHeadersMiddleware(echo, proxies.for_uvicorn()).trusted_hosts is not None


def test_the_service_installs_its_protocol_and_trusts_no_proxy(tmp_path: Path) -> None:
    code = (
        "import os, uvicorn, bentos.live_recommender.service\n"
        "config = uvicorn.Config(lambda: None, log_config=None)\n"
        "config.load()\n"
        "assert config.http_protocol_class.__mro__[1].__name__ == 'Bounds', config.http_protocol_class\n"
        "assert config.forwarded_allow_ips == '', config.forwarded_allow_ips\n"
        "assert config.ws_protocol_class is None, config.ws_protocol_class\n"  # a handshake would pass no admission
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "BENTOML_HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
