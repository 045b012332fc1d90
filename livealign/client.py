"""A client of the live service, typed by its OpenAPI document; it needs nothing but Python.

    client = Client("http://127.0.0.1:3000", key="…")
    client.events([{"kind": "like", "event_id": "e1", "at": 1748950000000, "room_id": 7, "author_id": 3, "user_id": 17}])
    for room in client.recommend(17, k=5)["rooms"]:
        print(room["title"], room["reason"])

`livealign.event_sender` sends events in batches, from a thread of its own.

A call tries again while the service is away or busy, with growing, random waits, or as `Retry-After` says. A call that may
have been carried out is repeated only where that changes nothing: events have ids, so a batch may be sent again; a list
whose answer was lost is not asked for again, because its rooms would be logged as shown twice.
"""

import http.client
import json
import random
import selectors
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict, Unpack, cast
from urllib.parse import urlencode, urlsplit

from livealign.client_types import (
    DeletedUser,
    EmbeddedSegment,
    Experiments,
    Explanation,
    Filter,
    FrameResponse,
    IngestResponse,
    KnownUsers,
    RecommendManyResponse,
    RecommendResponse,
    RejectedEvent,
    Room,
    RoomPage,
    Segment,
    SentEvent,
    SimilarRooms,
    SimilarUsers,
    Status,
    UserContext,
    Version,
)
from livealign.errors import LiveAlignError

MAX_EVENTS = 1_000  # of one batch; the service refuses more
BATCH_BYTES = 1 << 20  # of one batch, about: the service refuses larger bodies
_BUSY = (429, 502, 503, 504)


class ClientError(LiveAlignError):
    """The service refused a call, or did not answer.

    `status` is the HTTP status, 0 where there was no answer; `answer` is what the service said, decoded.
    """

    def __init__(self, message: str, status: int = 0, answer: Any = None) -> None:
        super().__init__(message)
        self.status, self.answer = status, answer


class Wanted(TypedDict, total=False):
    """The options of a list; see `RecommendRequest`."""

    k: int
    exclude: list[int]
    among: list[int] | None
    filter: Filter
    context: UserContext
    surface: str | None
    at: str | None
    record: bool
    content: bool


class Client:
    """A client of one service; every thread has a connection of its own.

    Args:
        url: of the service, with the prefix of a proxy if there is one: `https://live.example.org/recommender`.
        key: of an API key; "" where readers need none.
        timeout: seconds for one attempt.
        patience: seconds that a call tries again while the service is away or busy; 0: one attempt.

    Raises:
        ClientError: `url` is no address, or `key` can be no header.
    """

    def __init__(self, url: str, key: str = "", *, timeout: float = 10.0, patience: float = 30.0) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:  # a port that is no number, half an IPv6 address
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or not url.isprintable() or " " in url:
            raise ClientError(f"{url!r} is no address of a service; write e.g. http://127.0.0.1:3000")
        if not (key.isascii() and key.isprintable()):
            raise ClientError("the key has characters that no HTTP header takes; copy it again")
        self.url, self._timeout, self._patience = url.rstrip("/"), timeout, patience
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, port
        self._prefix = parts.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._own = threading.local()

    # Lists and rooms

    def recommend(self, user_id: int, **wanted: Unpack[Wanted]) -> RecommendResponse:
        """Rooms that are live, best first."""
        return cast(RecommendResponse, self._post("/recommend", {"user_id": user_id, **wanted}, _records_nothing(wanted)))

    def recommend_many(self, user_ids: Sequence[int], **wanted: Unpack[Wanted]) -> RecommendManyResponse:
        """A list for each of at most 100 viewers, in their order."""
        body = {"user_ids": list(user_ids), **wanted}
        return cast(RecommendManyResponse, self._post("/recommend/many", body, _records_nothing(wanted)))

    def rooms(self, limit: int = 50, offset: int = 0, search: str = "") -> RoomPage:
        """Live rooms, those with most viewers first; with `search`, those that have all its words."""
        query = {"limit": limit, "offset": offset} | ({"search": search} if search else {})
        return cast(RoomPage, self._call("GET", f"/rooms?{urlencode(query)}"))

    def all_rooms(self, page: int = 200) -> Iterator[Room]:
        """Every live room, page by page.

        A room may be missing or come twice if others start or end meanwhile.
        """
        offset = 0
        while rooms := self.rooms(page, offset)["rooms"]:
            yield from rooms
            offset += len(rooms)

    def room(self, room_id: int) -> Room | None:
        """One room with its last windows; None if the service does not know it."""
        return cast(Room | None, self._call("GET", f"/rooms/{int(room_id)}", absent=True))

    def frame(self, room_id: int) -> bytes | None:
        """The newest picture of a room, as WebP; None if there is none."""
        return cast(bytes | None, self._call("GET", f"/rooms/{int(room_id)}/frame", absent=True))

    def similar(self, room_id: int, k: int = 10) -> SimilarRooms | None:
        """The live rooms whose content is most similar now; None if the room is unknown."""
        return cast(SimilarRooms | None, self._call("GET", f"/similar/{int(room_id)}?{urlencode({'k': k})}", absent=True))

    def users(self, limit: int = 20) -> KnownUsers:
        """Users with a history, the latest active first."""
        return cast(KnownUsers, self._call("GET", f"/users?{urlencode({'limit': limit})}"))

    def similar_users(self, user_id: int, k: int = 10) -> SimilarUsers | None:
        """The users active lately whose taste is most similar; None if the user has no history."""
        path = f"/users/{int(user_id)}/similar?{urlencode({'k': k})}"
        return cast(SimilarUsers | None, self._call("GET", path, absent=True))

    def explain(self, user_id: int, room_id: int) -> Explanation | None:
        """The reasons for a room's rank for a user now; None if the room is unknown."""
        path = f"/explain/{int(room_id)}?{urlencode({'user_id': user_id})}"
        return cast(Explanation | None, self._call("GET", path, absent=True))

    def embed(self, segments: Sequence[Segment]) -> list[EmbeddedSegment]:
        """The embedding, vector and codes of each segment, at most 64."""
        return cast(list[EmbeddedSegment], self._post("/embed", {"segments": list(segments)}))

    # What happened

    def events(self, events: Sequence[SentEvent]) -> IngestResponse:
        """Send events, in batches that the service takes; the rejections name their places.

        An event that is no JSON, or larger than a batch, is among the rejections and not sent.

        Raises:
            ClientError: a batch could not be sent; those before it are on disk, and all may be sent again.
        """
        encoded, unsendable = _encoded(events)
        whole: IngestResponse = {
            "accepted": 0,
            "late": 0,
            "duplicate": 0,
            "rejected": len(unsendable),
            "rejections": unsendable,
        }
        for places, body in _bodies(encoded):
            answer = cast(IngestResponse, self._call("POST", "/events", body, accepts=(200, 422)))
            whole["accepted"] += answer["accepted"]
            whole["late"] += answer.get("late", 0)  # an older service does not count them
            whole["duplicate"] += answer["duplicate"]
            whole["rejected"] += answer["rejected"]
            whole["rejections"] += [{**rejected, "place": places[rejected["place"]]} for rejected in answer["rejections"]]
        whole["rejections"].sort(key=lambda rejected: rejected["place"])
        return whole

    def send_frame(self, room_id: int, picture: bytes, at: int | str | None = None, kind: str = "image/jpeg") -> FrameResponse:
        """Send a picture of a live room.

        Args:
            at: epoch milliseconds or ISO 8601 text; None for now.
            kind: image/jpeg, image/png or image/webp.
        """
        query = {"room_id": room_id} | ({} if at is None else {"at": at})
        return cast(FrameResponse, self._call("POST", f"/frames?{urlencode(query)}", picture, kind))

    def delete_user(self, user_id: int) -> DeletedUser:
        """Forget what a user did: in the state, in the event log and in the next landing."""
        return cast(DeletedUser, self._call("DELETE", f"/users/{int(user_id)}"))

    # The service

    def version(self) -> Version:
        """The release in service."""
        return cast(Version, self._call("GET", "/version"))

    def status(self) -> Status:
        """The health of the service."""
        return cast(Status, self._call("GET", "/status"))

    def experiments(self) -> Experiments:
        """What is served side by side, and what followed the lists of each release."""
        return cast(Experiments, self._call("GET", "/experiments"))

    def close(self) -> None:
        """Close the connection of this thread; the next call opens another."""
        connection = getattr(self._own, "connection", None)
        if connection is not None:
            connection.close()

    # One call

    def _post(self, path: str, body: object, repeatable: bool = True, accepts: tuple[int, ...] = (200,)) -> Any:
        return self._call("POST", path, json.dumps(body).encode(), repeatable=repeatable, accepts=accepts)

    def _call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        kind: str = "application/json",
        *,
        repeatable: bool = True,
        absent: bool = False,
        accepts: tuple[int, ...] = (200,),
    ) -> Any:
        """The decoded answer; with `absent`, None where the service says that there is no such thing."""
        until, wait = time.monotonic() + self._patience, 0.1
        headers = self._headers | ({} if body is None else {"Content-Type": kind})
        while True:
            sent, asked = False, None
            try:
                connection = self._connection()
                if connection.sock is None:
                    connection.connect()
                sent = True
                connection.request(method, f"{self._prefix}{path}", body, headers)
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.close()
                problem = ClientError(f"{self.url} does not answer ({error!r}); is the service running?")
                if sent and not repeatable:
                    raise problem from error
            else:
                answer = _decoded(content, response.getheader("Content-Type", ""))
                if response.status in accepts:
                    return answer
                if absent and response.status == 404:
                    return None
                said = (
                    answer["error"]
                    if isinstance(answer, dict) and "error" in answer
                    else content[:200].decode(errors="replace")
                )
                problem = ClientError(f"{method} {self.url}{path}: {response.status}: {said}", response.status, answer)
                if response.status not in _BUSY:
                    raise problem
                asked = _seconds(response.getheader("Retry-After"))
            pause = random.uniform(wait / 2, wait) if asked is None else asked
            if time.monotonic() + pause > until:
                raise problem
            time.sleep(pause)
            wait = min(5.0, 2 * wait)

    def _connection(self) -> http.client.HTTPConnection:
        """The connection of this thread; one that the service closed while it was idle is opened anew."""
        own: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if own is None:
            make = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            own = self._own.connection = make(self._host, self._port, timeout=self._timeout)
        elif own.sock is not None and _was_closed(own.sock):
            own.close()
        return own


def _records_nothing(wanted: Mapping[str, Any]) -> bool:
    """Whether a list may be asked for again: it leaves no impression."""
    return wanted.get("record") is False or wanted.get("at") is not None or wanted.get("content") is False


def _encoded(events: Sequence[SentEvent]) -> tuple[list[tuple[int, bytes]], list[RejectedEvent]]:
    """(place, JSON) of each event, and a rejection for each that no body can hold."""
    encoded, rejected = list[tuple[int, bytes]](), list[RejectedEvent]()
    for place, event in enumerate(events):
        try:
            content = json.dumps(event, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            rejected.append(_unsendable(place, event, f"the event cannot be written as JSON: {error}"))
            continue
        if len(content) > BATCH_BYTES:
            detail = f"the event has {len(content):,} bytes; at most {BATCH_BYTES:,} are sent"
            rejected.append(_unsendable(place, event, detail))
        else:
            encoded.append((place, content))
    return encoded, rejected


def _unsendable(place: int, event: Any, detail: str) -> RejectedEvent:
    event_id = event.get("event_id") if isinstance(event, dict) else None
    known = event_id if isinstance(event_id, str) else None
    return {"place": place, "event_id": known, "reason": "invalid", "detail": detail[:300]}


def _bodies(encoded: Sequence[tuple[int, bytes]]) -> Iterator[tuple[list[int], bytes]]:
    """(places of its events, body) of each batch, within the service's bounds."""
    places, batch, size = list[int](), list[bytes](), 0
    for place, content in encoded:
        if batch and (len(batch) == MAX_EVENTS or size + len(content) > BATCH_BYTES):
            yield places, _body(batch)
            places, batch, size = [], [], 0
        places.append(place)
        batch.append(content)
        size += len(content) + 1
    if batch:
        yield places, _body(batch)


def _body(encoded: list[bytes]) -> bytes:
    return b'{"events":[' + b",".join(encoded) + b"]}"


def _decoded(content: bytes, kind: str) -> Any:
    if kind.split(";")[0].strip() != "application/json":
        return content
    try:
        return json.loads(content)
    except ValueError:
        return content


def _seconds(retry_after: str | None) -> float | None:
    """The seconds of a Retry-After header; None if it has none or is a date."""
    try:
        return None if retry_after is None else max(0.0, float(retry_after))
    except ValueError:
        return None


def _was_closed(sock: socket.socket) -> bool:
    """Whether the other side has closed an idle connection: only then there is something to read."""
    with selectors.DefaultSelector() as selector:  # select() takes no descriptor above 1,023
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))
