"""The routes that the service mounts beside BentoML's endpoints, and the page at `/`."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bentos.live_recommender.admission import Refused
from bentos.live_recommender.endpoints import Endpoints, invalid, refused
from bentos.live_recommender.openapi import document, query_parameters
from bentos.live_recommender.path_prefix import path_prefix
from bentos.live_recommender.wall_files import WALL_FILES
from livealign.field_errors import nearest

# The page connects to this service alone, runs only its own script, and may not be framed.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}

Handler = Callable[[Request], Awaitable[Response]]


def make_app(endpoints: Callable[[], Endpoints], bentoml_document: Callable[[], dict[str, Any]]) -> Starlette:
    """The application that the service mounts.

    Args:
        endpoints: returns the handlers of the running service.
        bentoml_document: returns the OpenAPI document of BentoML's own endpoints.
    """

    takes = query_parameters()

    def asks(name: str) -> Handler:
        async def handler(request: Request) -> Response:
            refuse_unknown_parameters(request, takes)
            answer: Response = await getattr(endpoints(), name)(request)
            return answer

        return handler

    async def openapi(_: Request) -> Response:
        """GET /docs.json: the OpenAPI document."""
        return Response(orjson.dumps(document(bentoml_document(), path_prefix())), media_type="application/json")

    routes = [
        Route("/recommend", asks("recommend"), methods=["POST"]),
        Route("/recommend/many", asks("recommend_many"), methods=["POST"]),
        Route("/events", asks("events"), methods=["POST"]),
        Route("/rooms", asks("rooms"), methods=["GET"]),
        Route("/rooms/{room_id}", asks("room"), methods=["GET"]),
        Route("/rooms/{room_id}/frame", asks("frame"), methods=["GET"]),
        Route("/frames", asks("frames"), methods=["POST"]),
        Route("/similar/{room_id}", asks("similar"), methods=["GET"]),
        Route("/explain/{room_id}", asks("explain"), methods=["GET"]),
        Route("/users", asks("users"), methods=["GET"]),
        Route("/users/{user_id}/similar", asks("similar_users"), methods=["GET"]),
        Route("/users/{user_id}", asks("delete_user"), methods=["DELETE"]),
        Route("/version", asks("version"), methods=["GET"]),
        Route("/status", asks("status"), methods=["GET"]),
        Route("/experiments", asks("experiments"), methods=["GET"]),
        Route("/metrics", asks("series"), methods=["GET"]),
        Route("/docs.json", openapi, methods=["GET"]),
        *(Route(path, _file(*about), methods=["GET"]) for path, about in WALL_FILES.items()),
    ]
    return Starlette(routes=routes, exception_handlers={ValidationError: invalid, Refused: refused})


def refuse_unknown_parameters(request: Request, takes: Mapping[str, frozenset[str]]) -> None:
    """Refuse a query parameter that would be ignored in silence.

    It is one that the path does not take, or one that stands there twice.

    Args:
        takes: path → names of its parameters; a path that is not there takes any.

    Raises:
        Refused: there is one; the reason names it and the nearest that the path takes.
    """
    path = request.scope["route"].path
    if path not in takes:
        return
    known = takes[path]
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if names.count(name) > 1 and name in known:
            raise Refused(400, f"{name} stands in the query more than once")
        if name not in known:
            there = f"the parameters are {', '.join(sorted(known))}" if known else "it takes none"
            raise Refused(400, f"{path} has no query parameter {name[:60]!r}{nearest(name, known) or f'; {there}'}")


def _file(file: Path, media_type: str) -> Handler:
    async def handler(_: Request) -> Response:
        return Response(file.read_bytes(), media_type=media_type, headers=_HEADERS)

    return handler
