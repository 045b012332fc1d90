"""HTTP endpoints beside BentoML's own, which would add milliseconds to an answer of a few.

Each calls the live core and writes JSON; nothing is decided here. Work for the processor runs in threads, so that the event
loop stays free: lists and events have separate threads and do not wait for each other.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from bentos.live_recommender.admission import BODY, Limits, Refused
from bentos.live_recommender.body_errors import body_error
from bentos.live_recommender.experiment_messages import experiments_json
from bentos.live_recommender.json_answers import recommended_json, room_json, status_json, timestamp, user_json
from bentos.live_recommender.list_requests import RecommendManyRequest, RecommendRequest
from bentos.live_recommender.messages import MAX_EVENTS, MAX_ROOMS, MAX_SEARCH, MAX_USERS
from bentos.live_recommender.metrics import Metrics, exposition
from livealign.errors import EventLogError
from livealign.events.intake import IngestReport
from livealign.events.models import milliseconds_of
from livealign.frames.decode import FrameError
from livealign.ids import MAX_ID
from livealign.live.answers import MAX_K

if TYPE_CHECKING:
    from livealign.live.core import LiveCore

T = TypeVar("T")

ROOMS_SECONDS = 1.0  # a page of rooms is made at most this often, however many clients ask for it
PAGES = 64  # that are kept for that time


@dataclass
class Endpoints:
    """The routes of the live core as HTTP handlers."""

    core: "LiveCore"
    limits: Limits
    metrics: Metrics
    _lists: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "lists"), init=False)
    _many: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "many"), init=False)
    _events: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "events"), init=False)
    _looks: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "looks"), init=False)
    _pages: dict[tuple[int, int, str], bytes] = field(default_factory=dict, init=False)
    _paged_at: float = field(default=-ROOMS_SECONDS, init=False)

    def close(self) -> None:
        """Finish the requests in hand and take no more."""
        for pool in (self._lists, self._many, self._events, self._looks):
            pool.shutdown()

    async def recommend(self, request: Request) -> Response:
        """POST /recommend: ranked live rooms."""
        asked = RecommendRequest.model_validate(request.scope[BODY])
        logged = self._logs(asked, request)
        return _json(await self._in(self._lists, lambda: self._list(asked.user_id, asked, logged)))

    async def recommend_many(self, request: Request) -> Response:
        """POST /recommend/many: a list for each of many users.

        They have a thread of their own: single lists do not wait for them.
        """
        asked = RecommendManyRequest.model_validate(request.scope[BODY])
        logged = self._logs(asked, request)
        lists = await self._in(
            self._many, lambda: [{"user_id": user_id, **self._list(user_id, asked, logged)} for user_id in asked.user_ids]
        )
        return _json({"lists": lists})

    def _logs(self, asked: RecommendRequest | RecommendManyRequest, request: Request) -> bool:
        """Whether the lists are logged as impressions."""
        wanted = asked.record and asked.content and asked.at is None
        return wanted and self.limits.keys.refuses_write(request.scope["headers"]) is None

    def _list(self, user_id: int, asked: RecommendRequest | RecommendManyRequest, logged: bool) -> dict[str, Any]:
        """One list as JSON values."""
        context = asked.context.known()
        self.metrics.context([field for field, value in context._asdict().items() if value])
        answer = self.core.recommend(
            user_id,
            asked.k,
            asked.exclude,
            asked.surface,
            asked.at_milliseconds(),
            asked.content,
            logged,
            asked.among,
            asked.filter.wanted(),
            context,
        )
        return recommended_json(answer)

    async def events(self, request: Request) -> Response:
        """POST /events: a batch of events for the log and the live state."""
        body = request.scope[BODY]
        events = body.get("events") if isinstance(body, dict) else None
        if not isinstance(events, list) or len(body) != 1:
            raise Refused(400, 'the body is not {"events": […]}')
        if len(events) > MAX_EVENTS:
            raise Refused(413, f"{len(events)} events in one batch; send at most {MAX_EVENTS}")
        try:
            report: IngestReport = await self._in(self._events, lambda: self.core.ingest(events))
        except EventLogError as error:
            self.metrics.failed("log", str(error))
            reason = "the events could not be put on disk, none was kept; send the batch again later"
            raise Refused(503, reason, ((b"retry-after", b"5"),)) from error
        content = {
            "accepted": len(report.accepted),
            "late": report.late,
            "duplicate": report.duplicate,
            "rejected": len(report.rejected),
            "rejections": [rejection._asdict() for rejection in report.rejected],
        }
        if report.rejected and not report.accepted and not report.duplicate:
            return _json({"error": f"no event was taken; the first: {report.rejected[0].detail}", **content}, 422)
        return _json(content)

    async def delete_user(self, request: Request) -> Response:
        """DELETE /users/{user_id}: forget what a user did."""
        user_id = _id(request, "user_id", "a user id")
        try:
            erased = await self._in(self._events, lambda: self.core.delete_user(user_id))
        except EventLogError as error:
            self.metrics.failed("log", str(error))
            reason = "the user's records could not be erased from the log; delete the user again later"
            raise Refused(503, reason, ((b"retry-after", b"5"),)) from error
        return _json({"user_id": user_id, "erased_records": erased})

    async def frames(self, request: Request) -> Response:
        """POST /frames: one picture of the room that the query names, as the body."""
        room_id, at = _number(request, "room_id", -1, 0, MAX_ID), request.query_params.get("at")
        taken_at = None if at is None else _milliseconds(at)
        try:
            outcome = await self._in(self._events, lambda: self.core.frame(room_id, taken_at, request.scope[BODY]))
        except FrameError as error:
            return _json({"error": str(error), "reason": error.reason}, 422)
        except EventLogError as error:
            self.metrics.failed("log", str(error))
            reason = "the picture could not be put on disk and was not kept; send it again later"
            raise Refused(503, reason, ((b"retry-after", b"5"),)) from error
        if outcome is None:
            raise Refused(404, f"there is no room {room_id} now; send its room_started first")
        return _json({"outcome": outcome})

    async def frame(self, request: Request) -> Response:
        """GET /rooms/{room_id}/frame: the room's newest picture."""
        room_id = _room_id(request)
        picture = await self._in(self._looks, lambda: self.core.newest_frame(room_id))
        if picture is None:
            raise Refused(404, f"there is no picture of room {room_id} now")
        headers = {"x-content-type-options": "nosniff", "cache-control": "no-cache"}
        return Response(picture, media_type="image/webp", headers=headers)

    async def rooms(self, request: Request) -> Response:
        """GET /rooms: a page of live rooms."""
        limit, offset = _number(request, "limit", 50, 1, MAX_ROOMS), _number(request, "offset", 0, 0, 1_000_000)
        search = request.query_params.get("search", "")
        if len(search) > MAX_SEARCH:
            raise Refused(400, f"search has {len(search)} characters; at most {MAX_SEARCH} are looked for")
        page = await self._in(self._looks, lambda: self._page(limit, offset, search))
        return Response(page, media_type="application/json")

    async def users(self, request: Request) -> Response:
        """GET /users: users with a history, the latest active first."""
        limit = _number(request, "limit", 20, 1, MAX_USERS)
        users = await self._in(self._looks, lambda: self.core.users(limit))
        return _json({"users": [user_json(user) for user in users]})

    async def room(self, request: Request) -> Response:
        """GET /rooms/{room_id}: one room with its last windows."""
        room_id = _room_id(request)
        room = await self._in(self._looks, lambda: self.core.room(room_id))
        if room is None:
            raise Refused(404, f"there is no room {room_id} now")
        return _json(room_json(room))

    async def similar(self, request: Request) -> Response:
        """GET /similar/{room_id}: live rooms with the most similar vectors."""
        room_id, k = _room_id(request), _number(request, "k", 10, 1, MAX_K)
        similar = await self._in(self._looks, lambda: self.core.similar(room_id, k))
        if similar is None:
            raise Refused(404, f"there is no room {room_id} now")
        rooms = [{"similarity": item.similarity, "room": room_json(item.room)} for item in similar]
        return _json({"room_id": room_id, "rooms": rooms})

    async def similar_users(self, request: Request) -> Response:
        """GET /users/{user_id}/similar: users whose taste is most similar."""
        user_id, k = _id(request, "user_id", "a user id"), _number(request, "k", 10, 1, MAX_K)
        similar = await self._in(self._looks, lambda: self.core.similar_users(user_id, k))
        if similar is None:
            raise Refused(404, f"user {user_id} has no history here now")
        users = [{"similarity": item.similarity, "user": user_json(item.user)} for item in similar]
        return _json({"user_id": user_id, "users": users})

    async def explain(self, request: Request) -> Response:
        """GET /explain/{room_id}: why the room stands where it stands for a user."""
        room_id, user_id = _room_id(request), _number(request, "user_id", -1, 0, MAX_ID)
        explanation = await self._in(self._looks, lambda: self.core.explain(user_id, room_id))
        if explanation is None:
            raise Refused(404, f"there is no room {room_id} now")
        return _json({**explanation._asdict(), "at": timestamp(explanation.at)})

    async def version(self, request: Request) -> Response:
        """GET /version: the release in service."""
        return _json(self.core.version()._asdict())

    async def status(self, request: Request) -> Response:
        """GET /status: the health of the service."""
        rates = self.metrics.events_rate.per_second(), self.metrics.lists_rate.per_second()
        return _json(status_json(self.core.status(), *rates))

    async def experiments(self, request: Request) -> Response:
        """GET /experiments: what is served side by side, and what came of it."""
        return _json(experiments_json(await self._in(self._looks, self.core.experiment)))

    async def series(self, request: Request) -> Response:
        """GET /metrics: the Prometheus series."""

        def now() -> tuple[bytes, str]:
            self.metrics.experiments.report(self.core.experiment())
            return exposition()

        content, media_type = await self._in(self._looks, now)
        return Response(content, media_type=media_type)

    def _page(self, limit: int, offset: int, search: str) -> bytes:
        """A RoomPage as JSON, made at most once in ROOMS_SECONDS: a large one takes the event loop milliseconds."""
        now = time.monotonic()
        if now - self._paged_at > ROOMS_SECONDS or len(self._pages) >= PAGES:
            self._pages, self._paged_at = {}, now
        if (limit, offset, search) not in self._pages:
            total, rooms = self.core.found_rooms(search, limit, offset)
            page = {
                "at": timestamp(self.core.now()),
                "total": total,
                "from_snapshot": self.core.status().from_snapshot,
                "rooms": [room_json(room) for room in rooms],
            }
            self._pages[limit, offset, search] = _encoded(page)
        return self._pages[limit, offset, search]

    @staticmethod
    async def _in(pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, work)


async def invalid(_: Request, error: Exception) -> Response:
    """The 400 answer to a body that is not what an endpoint takes."""
    assert isinstance(error, ValidationError)
    return _json(body_error(error), 400)


async def refused(_: Request, error: Exception) -> Response:
    """The answer to a request that a handler refuses, in the middleware's form."""
    assert isinstance(error, Refused)
    response = _json({"error": error.error}, error.status)
    response.raw_headers.extend(error.headers)
    return response


def _json(content: Any, status: int = 200) -> Response:
    return Response(_encoded(content), status, media_type="application/json")


def _encoded(content: Any) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_UTC_Z)


def _number(request: Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    if not least <= number <= most:
        raise Refused(400, f"{name} has to be a number from {least} to {most}")
    return number


def _milliseconds(text: str) -> int:
    """Epoch milliseconds, or ISO 8601 text (UTC if it names no zone)."""
    try:
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else milliseconds_of(text)
    except (ValueError, OverflowError):
        raise Refused(400, "at is not a time: give epoch milliseconds or ISO 8601 text") from None


def _room_id(request: Request) -> int:
    return _id(request, "room_id", "a room id")


def _id(request: Request, parameter: str, name: str) -> int:
    text = request.path_params[parameter]
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    if not 0 <= number <= MAX_ID:
        raise Refused(400, f"{name} is a number from 0 to {MAX_ID}")
    return number
