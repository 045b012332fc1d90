"""The HTTP protocol of the server: uvicorn's, with bounds on headers and on waits.

    install()      # before BentoML makes its server

uvicorn has no settings for them, and BentoML passes none on. The bounds are a mixin of uvicorn's two protocols (httptools
where it is installed, else h11). Refusals are JSON, and counted in `/metrics` as the route `unread`.
"""

import asyncio
import os
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import orjson
import uvicorn.config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from bentos.live_recommender.admission import ADMISSION, MAX_HEADER_BYTES
from bentos.live_recommender.trusted_proxies import UVICORN_VARIABLE, TrustedProxies
from bentos.live_recommender.waiting import State, Waits
from livealign.errors import LiveAlignError

if TYPE_CHECKING:
    _Base = H11Protocol
else:
    _Base = object

WRITE_SECONDS = 30.0  # that a client may take to read a part of its answer
LINGER_SECONDS = 1.0  # that a refused client's bytes are read and dropped, so that it sees the refusal
_TOO_LARGE = f"the headers are larger than {MAX_HEADER_BYTES} bytes"
_WAITS: "WeakKeyDictionary[ServerState, Waits]" = WeakKeyDictionary()


def install() -> None:
    """Let uvicorn use this protocol and believe only the trusted proxies.

    uvicorn reads both when it makes a server, which BentoML does after it has imported the service.
    """
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:BoundedProtocol"
    uvicorn.config.WS_PROTOCOLS["auto"] = None  # there are no WebSockets; their handshakes would pass no admission
    try:
        trusted = TrustedProxies.from_environment()
    except LiveAlignError:  # `check_start` says so in one line; an import could not
        trusted = TrustedProxies()
    os.environ[UVICORN_VARIABLE] = trusted.for_uvicorn()


class Bounds(_Base):
    """The bounds of one connection, in front of a protocol of uvicorn."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """Wait for the first request."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else "?"
        self._proxy = self.address in ADMISSION.proxies
        self.exempt = self._proxy
        self._request: Any = None  # the request whose headers are complete
        self._header_bytes, self._received, self._refused, self._since = 0, 0, False, time.perf_counter()
        self._slow_reader: asyncio.TimerHandle | None = None
        waits = _WAITS.get(self.server_state)
        if waits is None:
            waits = _WAITS[self.server_state] = Waits(self.loop)
        self._waits = waits
        waits.begin(self, "headers")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._waits.end(self)
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        if not self._refused:
            self._received = len(data)
            of_body = self.cycle is not None and self.cycle.more_body
            super().data_received(data)
            self._follow(0 if of_body else len(data))

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of a body that the application did not read."""
        super().on_response_complete()
        self._follow()

    def _follow(self, of_headers: int = 0) -> None:
        """Note what the connection waits for, after an answer was sent or bytes came, some of them of headers."""
        if self._refused or self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is not None and cycle is not self._request:  # its headers are complete; the application bounds them
            self._request, self._header_bytes = cycle, 0
            self.exempt = self._proxy or ADMISSION.knows(cycle.scope["headers"])
        elif cycle is None or not cycle.more_body:
            self._header_bytes += of_headers
        wanted: State | None = None
        if cycle is not None and cycle.more_body:
            wanted = "body"
        elif cycle is None or self._header_bytes:
            wanted = "headers"
        elif cycle.response_complete:
            wanted = "idle"
        if wanted is None:
            self._waits.end(self)
        elif wanted != self._waits.state(self):
            self._since = time.perf_counter()
            self._waits.begin(self, wanted)
        if self._header_bytes > MAX_HEADER_BYTES:
            self._refuse(431, _TOO_LARGE)

    def end_wait(self, state: State) -> None:
        """Close the connection, with an answer if a request is half there."""
        if state == "idle":
            self.transport.close()
        else:
            self._refuse(408, f"the {state} did not arrive in time; send the request at once")

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; h11 says so of large headers too."""
        reading_headers = self.cycle is None or not self.cycle.more_body
        if reading_headers and self._header_bytes + self._received > MAX_HEADER_BYTES:
            self._refuse(431, _TOO_LARGE)
        else:
            self._refuse(400, "this is no HTTP request")

    def pause_writing(self) -> None:
        """Give a client that reads slowly some time."""
        super().pause_writing()
        if self._slow_reader is None:
            self._slow_reader = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read."""
        if self._slow_reader is not None:
            self._slow_reader.cancel()
            self._slow_reader = None
        super().resume_writing()

    def _refuse(self, status: int, error: str) -> None:
        """Answer, and read nothing more of the connection."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._waits.end(self)
        answering = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if not answering:
            if self.cycle is not None and not self.cycle.response_complete:
                self.cycle.disconnected = True  # the application's answer is not sent
                self.cycle.message_event.set()
            body = orjson.dumps({"error": error})
            phrase = HTTPStatus(status).phrase
            head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
            self.transport.resume_reading()
        if ADMISSION.metrics is not None:
            ADMISSION.metrics.request("unread", status, time.perf_counter() - self._since)
        self.loop.call_later(LINGER_SECONDS, self.transport.close)


class BoundedH11(Bounds, H11Protocol):
    """uvicorn's protocol in pure Python, with bounds."""


def _protocol() -> type[asyncio.Protocol]:
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:  # the package httptools is optional
        return BoundedH11
    bounded: type[asyncio.Protocol] = type("BoundedHttpTools", (Bounds, HttpToolsProtocol), {})
    return bounded


BoundedProtocol = _protocol()
