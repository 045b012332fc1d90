"""ASGI middleware that admits or refuses a request before any model sees it.

It checks the headers' size, the key, the rate, how many requests are in hand, the body's size and whether it is JSON, and
refuses with a reason. An admitted request has its decoded body in the scope under BODY. Each request is counted and logged
by its route, outcome, size and time, never by its text.
"""

import logging
import time
import zlib
from collections.abc import Iterable, Mapping
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
    KEYLESS_VARIABLE,
    REQUESTS_PER_SECOND,
    REQUESTS_VARIABLE,
    InHand,
    RateLimit,
)
from bentos.live_recommender.trusted_proxies import TrustedProxies
from bentos.live_recommender.wall_files import WALL_FILES

BODY = "livealign.body"  # key of the scope
KILOBYTE = 1_000
MAX_HEADER_BYTES = 16_384  # of the request line and all headers
PICTURES = frozenset({"image/jpeg", "image/png", "image/webp"})
MAX_BYTES = {
    "/frames": 256 << 10,
    "/events": 8_000 * KILOBYTE,
    "/embed": 2_000 * KILOBYTE,
    "/recommend": 64 * KILOBYTE,
    "/recommend/many": 64 * KILOBYTE,
}  # of a body
OPEN = frozenset({*WALL_FILES, "/healthz", "/livez", "/readyz"})  # no key: they hold no platform data
_GZIP = 16 + zlib.MAX_WBITS
_CLOSE = (b"connection", b"close")
UNLOGGED = frozenset({"/healthz", "/livez", "/readyz", "/metrics"})
WRITES = frozenset({"/events", "/frames", "/users/{user_id}"})  # for holders of a key that may write
_TEMPLATES = {
    "rooms": "/rooms/{room_id}",
    "similar": "/similar/{room_id}",
    "explain": "/explain/{room_id}",
    "users": "/users/{user_id}",
}
_BELOW = {"rooms": ("frame", "/rooms/{room_id}/frame"), "users": ("similar", "/users/{user_id}/similar")}
_KNOWN = OPEN | UNLOGGED | MAX_BYTES.keys() | {"/rooms", "/users", "/version", "/status", "/experiments", "/docs.json"}


@dataclass
class Limits:
    """The API keys and rate limits of one process, from its environment."""

    keys: ApiKeys = field(default_factory=ApiKeys.from_environment)
    requests: RateLimit = field(default_factory=lambda: RateLimit.from_environment(REQUESTS_VARIABLE, REQUESTS_PER_SECOND))
    keyless: RateLimit = field(default_factory=RateLimit.keyless)
    events: RateLimit = field(default_factory=lambda: RateLimit.from_environment(EVENTS_VARIABLE, EVENTS_PER_SECOND))
    in_hand: InHand = field(default_factory=InHand)
    log_requests: bool = True


@dataclass
class AdmissionSettings:
    """The limits and metrics of the middleware; set when the service starts, before requests."""

    limits: Limits | None = None
    metrics: Metrics | None = None
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    elsewhere: Mapping[str, str] = field(default_factory=dict)  # routes that other processes answer, and what is said

    def knows(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a request carries one of the API keys."""
        return self.limits is not None and self.limits.keys.known(headers) is not None


ADMISSION = AdmissionSettings()
"""The settings of this process, for the middleware and for the HTTP protocol in front of it."""


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
        status, sent, replaced = 0, 0, False

        async def sending(message: Message) -> None:
            nonlocal status, sent
            status, sent = message.get("status", status), sent + len(message.get("body", b""))
            await send(message)

        async def counted(message: Message) -> None:
            nonlocal replaced
            if _is_plain_refusal(message):
                replaced = True
                await _no_such_route(sending, scope, message)
            elif not replaced:
                await sending(message)

        try:
            await self._pass(limits, route, scope, receive, counted)
        except Refused as refused:
            headers = refused.headers
            if refused.status == 429 and limits.keys.known(scope["headers"]) is None:
                headers = (*headers, _CLOSE)  # requests that this connection has sent ahead are dropped unread
            await answer(counted, refused.status, {"error": refused.error}, headers)
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
        if _header_bytes(scope) > MAX_HEADER_BYTES:
            raise Refused(431, f"the headers are larger than {MAX_HEADER_BYTES} bytes")
        address = scope["client"][0] if scope.get("client") else "?"
        # A known key has rates of its own, which nobody without it can use up; wrong keys count for their address.
        key = limits.keys.known(headers)
        sender, requests = (address, limits.keyless) if key is None else (f"{address} {key}", limits.requests)
        if route not in UNLOGGED:
            _within(requests, sender, 1, "requests" if key is not None else KEYLESS_REQUESTS)
        if route not in OPEN:
            refusal = limits.keys.refuses_write(headers) if route in WRITES else limits.keys.refuses_read(headers)
            if refusal is not None:
                challenge = ((b"www-authenticate", b"Bearer"),) if refusal.status == 401 else ()
                raise Refused(refusal.status, refusal.error, challenge)
        if route in self.settings.elsewhere:
            raise Refused(421, self.settings.elsewhere[route])
        if scope["method"] == "POST" and route in MAX_BYTES:
            raw = plain_body(await _body(route, headers, receive), headers, MAX_BYTES[route])
            scope[BODY] = raw if route == "/frames" else _decoded(raw)
            if route == "/events":
                _within(limits.events, sender, _length(scope[BODY], "events"), "events")
            if route == "/frames":
                _within(limits.events, sender, 1, "events")
            if route == "/recommend/many":  # each list counts
                _within(requests, sender, max(0, _length(scope[BODY], "user_ids") - 1), "lists")
            scope["headers"], receive = _plain_headers(headers, len(raw)), _replay(raw, receive)
        if route in UNLOGGED:
            await self.app(scope, receive, send)
            return
        if not limits.in_hand.take(address, keyed=key is not None):  # after the body: slow ones take no place
            raise Refused(429, "too many requests at once; try again in 1 s", ((b"retry-after", b"1"),))
        try:
            await self.app(scope, receive, send)
        finally:
            limits.in_hand.release(address, keyed=key is not None)


async def answer(send: Send, status: int, content: Any, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    """Send one JSON document as a complete response."""
    body = orjson.dumps(content)
    plain = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": plain})
    await send({"type": "http.response.body", "body": body})


def _is_plain_refusal(message: Message) -> bool:
    """Whether a message begins the plain 404 or 405 of Starlette or BentoML."""
    if message["type"] != "http.response.start" or message["status"] not in (404, 405):
        return False
    return not dict(message["headers"]).get(b"content-type", b"").startswith(b"application/json")


async def _no_such_route(send: Send, scope: Scope, start: Message) -> None:
    """The answer to a path or a method that there is not."""
    path = scope["path"][:100]
    if start["status"] == 404:
        paths = sorted({*_KNOWN, *_TEMPLATES.values(), *(route for _, route in _BELOW.values())})
        await answer(send, 404, {"error": f"there is no path {path}; the paths are {', '.join(paths)}"})
        return
    methods = dict(start["headers"]).get(b"allow", b"POST").decode("latin-1")
    allowed = ", ".join(sorted(methods.split(", ")))
    error = f"{path} does not take {scope['method'][:20]}; use {allowed}"
    await answer(send, 405, {"error": error}, ((b"allow", allowed.encode("latin-1")),))


async def _body(route: str, headers: list[tuple[bytes, bytes]], receive: Receive) -> bytes:
    most = MAX_BYTES[route]
    fields = dict(headers)
    media_type = fields.get(b"content-type", b"application/json").split(b";")[0].strip().lower()
    if route == "/frames":
        if media_type.decode("latin-1") not in PICTURES:
            raise Refused(415, f"send one picture as {', '.join(sorted(PICTURES))}")
    elif media_type != b"application/json":
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


def _header_bytes(scope: Scope) -> int:
    line = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
    return line + sum(len(name) + len(value) + 4 for name, value in scope["headers"])


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


def _length(body: Any, name: str) -> int:
    values = body.get(name) if isinstance(body, dict) else None
    return len(values) if isinstance(values, list) else 0


KEYLESS_REQUESTS = f"requests without a key (send one, or set {KEYLESS_VARIABLE})"


def _within(limit: RateLimit, sender: str, cost: int, what: str) -> None:
    if cost and (wait := limit.wait(sender, cost)):
        seconds = max(1, round(wait + 0.5))
        error = f"too many {what}: at most {limit.per_second:g} a second; try again in {seconds} s"
        raise Refused(429, error, ((b"retry-after", b"%d" % seconds),))


def _route(path: str) -> str:
    if path in _KNOWN:
        return path
    first, _, rest = path[1:].partition("/")
    of, _, part = rest.partition("/")
    if of and first in _BELOW and _BELOW[first][0] == part:
        return _BELOW[first][1]
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
