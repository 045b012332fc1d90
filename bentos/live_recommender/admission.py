"""ASGI middleware that admits or refuses a request before any model sees it.

It checks the key, the rate, the size and whether the body is JSON, and refuses with a reason. An admitted request has its
decoded body in the scope under BODY. Each request is counted and logged by its route, outcome, size and time, never by its
text.
"""

import logging
import time
import zlib
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bentos.live_recommender.api_keys import ApiKeys
from bentos.live_recommender.json_logs import error_fields, log
from bentos.live_recommender.metrics import Metrics
from bentos.live_recommender.rate_limits import (
    EVENTS_PER_SECOND,
    EVENTS_VARIABLE,
    REQUESTS_PER_SECOND,
    REQUESTS_VARIABLE,
    RateLimit,
)

BODY = "livealign.body"  # key of the scope
KILOBYTE = 1_000
MAX_BYTES = {"/events": 8_000 * KILOBYTE, "/embed": 2_000 * KILOBYTE, "/recommend": 64 * KILOBYTE}  # of a body
OPEN = frozenset({"/", "/wall.js", "/wall.css", "/healthz", "/livez", "/readyz"})  # no key: they hold no platform data
_GZIP = 16 + zlib.MAX_WBITS
UNLOGGED = frozenset({"/healthz", "/livez", "/readyz", "/metrics"})
_TEMPLATES = {"rooms": "/rooms/{room_id}", "similar": "/similar/{room_id}"}
_KNOWN = OPEN | UNLOGGED | MAX_BYTES.keys() | {"/rooms", "/version", "/status", "/docs.json"}


@dataclass
class Limits:
    """The API keys and rate limits of one process, from its environment."""

    keys: ApiKeys = field(default_factory=ApiKeys.from_environment)
    requests: RateLimit = field(default_factory=lambda: RateLimit.from_environment(REQUESTS_VARIABLE, REQUESTS_PER_SECOND))
    events: RateLimit = field(default_factory=lambda: RateLimit.from_environment(EVENTS_VARIABLE, EVENTS_PER_SECOND))
    log_requests: bool = True


@dataclass
class AdmissionSettings:
    """The limits and metrics of the middleware; set when the service starts, before requests."""

    limits: Limits | None = None
    metrics: Metrics | None = None


class Refused(Exception):
    """The request is refused; carries the status, the reason and the headers of the answer."""

    def __init__(self, status: int, error: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(error)
        self.status, self.error, self.headers = status, error, headers


class AdmissionMiddleware:
    """ASGI middleware around all routes of the service."""

    def __init__(self, app: ASGIApp, settings: AdmissionSettings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limits, metrics = self.settings.limits, self.settings.metrics
        if scope["type"] != "http" or limits is None or metrics is None:
            await self.app(scope, receive, send)
            return
        route, started = _route(scope["path"]), time.perf_counter()
        status = sent = 0

        async def counted(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._pass(limits, route, scope, receive, counted)
        except Refused as refused:
            await answer(counted, refused.status, {"error": refused.error}, refused.headers)
        except Exception as error:
            log("error", logging.ERROR, route=route, **error_fields(error))
            if status:
                raise  # half of the answer is sent: the connection has to end
            await answer(counted, 500, {"error": "this should not have happened; the service's log says where it did"})
        finally:
            seconds = time.perf_counter() - started
            metrics.request(route, status, seconds)
            if limits.log_requests and route not in UNLOGGED:
                milliseconds = round(seconds * 1000, 2)
                log("request", method=scope["method"], route=route, status=status, milliseconds=milliseconds, bytes=sent)

    async def _pass(self, limits: Limits, route: str, scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope["headers"]
        sender = scope["client"][0] if scope.get("client") else "?"
        if route not in UNLOGGED:
            _within(limits.requests, sender, 1, "requests")  # before the keys, so that guessing them is slow too
        if route not in OPEN:
            refusal = limits.keys.refuses_write(headers) if route == "/events" else limits.keys.refuses_read(headers)
            if refusal is not None:
                challenge = ((b"www-authenticate", b"Bearer"),) if refusal.status == 401 else ()
                raise Refused(refusal.status, refusal.error, challenge)
        if scope["method"] == "POST" and route in MAX_BYTES:
            raw = plain_body(await _body(route, headers, receive), headers, MAX_BYTES[route])
            scope[BODY] = _decoded(raw)
            if route == "/events":
                _within(limits.events, sender, _events_in(scope[BODY]), "events")
            scope["headers"], receive = _plain_headers(headers, len(raw)), _replay(raw, receive)
        await self.app(scope, receive, send)


async def answer(send: Send, status: int, content: Any, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    """Send one JSON document as a complete response."""
    body = orjson.dumps(content)
    plain = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": plain})
    await send({"type": "http.response.body", "body": body})


async def _body(route: str, headers: list[tuple[bytes, bytes]], receive: Receive) -> bytes:
    most = MAX_BYTES[route]
    fields = dict(headers)
    media_type = fields.get(b"content-type", b"application/json").split(b";")[0].strip().lower()
    if media_type != b"application/json":
        raise Refused(415, "send the body as application/json")
    length = fields.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > 18:
        raise Refused(400, "content-length is not a number of bytes")
    if int(length) > most:
        raise Refused(413, f"the body is larger than {most} bytes; send less at once")
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the request ended before its body did")
        body += message.get("body", b"")
        if len(body) > most:
            raise Refused(413, f"the body is larger than {most} bytes; send less at once")
        if not message.get("more_body", False):
            return bytes(body)


def plain_body(raw: bytes, headers: list[tuple[bytes, bytes]], most: int) -> bytes:
    """The body without its content encoding; never more than `most` bytes are unpacked."""
    encoding = dict(headers).get(b"content-encoding", b"identity").strip().lower()
    if encoding in (b"identity", b""):
        return raw
    if encoding not in (b"gzip", b"x-gzip"):
        raise Refused(415, "send the body as it is, or with content-encoding: gzip", ((b"accept-encoding", b"gzip"),))
    stream = zlib.decompressobj(wbits=_GZIP)
    try:
        body = stream.decompress(raw, most + 1)
    except zlib.error:
        raise Refused(400, "the body is no gzip, as content-encoding says") from None
    if len(body) > most:
        raise Refused(413, f"the unpacked body is larger than {most} bytes; send less at once")
    if not stream.eof or stream.unused_data:
        raise Refused(400, "the body is not one whole gzip stream")
    return body


def _plain_headers(headers: list[tuple[bytes, bytes]], length: int) -> list[tuple[bytes, bytes]]:
    """The headers as those of the unpacked body."""
    kept = [(name, value) for name, value in headers if name not in (b"content-encoding", b"content-length")]
    return [*kept, (b"content-length", b"%d" % length)]


def _decoded(raw: bytes) -> Any:
    """The decoded body: strict JSON in UTF-8, without NaN and with limited nesting."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"the body is not JSON: {error}"[:300]) from None


def _events_in(body: Any) -> int:
    events = body.get("events") if isinstance(body, dict) else None
    return len(events) if isinstance(events, list) else 0


def _within(limit: RateLimit, sender: str, cost: int, what: str) -> None:
    if cost and (wait := limit.wait(sender, cost)):
        seconds = max(1, round(wait + 0.5))
        error = f"too many {what}: at most {limit.per_second:g} a second; try again in {seconds} s"
        raise Refused(429, error, ((b"retry-after", b"%d" % seconds),))


def _route(path: str) -> str:
    if path in _KNOWN:
        return path
    first, _, rest = path[1:].partition("/")
    return _TEMPLATES[first] if first in _TEMPLATES and rest and "/" not in rest else "other"


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns the body that was read, then the client's next messages."""
    returned = False

    async def replay() -> Message:
        nonlocal returned
        if returned:
            return await receive()
        returned = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
