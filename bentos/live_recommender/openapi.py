"""The OpenAPI document of all endpoints of the service, at /docs.json.

BentoML describes its own endpoints; this module adds the others, made of the models in `messages.py`. Examples run as they
stand: their times are those of the request for the document, because old events are rejected.
"""

import time
from collections.abc import Sequence

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import livealign
from bentos.live_recommender import experiment_messages, list_requests, messages
from bentos.live_recommender.openapi_operations import REF, Json, operation, query, with_refusals
from livealign.ids import MAX_ID
from livealign.live.answers import MAX_K

_BODIES: tuple[type[BaseModel], ...] = (
    list_requests.RecommendRequest,
    list_requests.RecommendManyRequest,
    messages.EventBatch,
)
_ANSWERS: tuple[type[BaseModel], ...] = (
    messages.RecommendResponse,
    messages.RecommendManyResponse,
    messages.IngestResponse,
    messages.FrameResponse,
    messages.RoomPage,
    messages.Room,
    messages.SimilarRooms,
    messages.KnownUsers,
    messages.SimilarUsers,
    messages.Explanation,
    messages.DeletedUser,
    messages.Version,
    messages.Status,
    experiment_messages.Experiments,
    messages.ErrorBody,
)


def document(bentoml_document: Json, prefix: str = "") -> Json:
    """The whole OpenAPI document.

    Args:
        prefix: the path below which a proxy shows the service.
        bentoml_document: BentoML's document of its own endpoints and of the health checks.
    """
    paths: Json = {path: item for path, item in bentoml_document["paths"].items() if path != "/embed"}
    embed = bentoml_document["paths"]["/embed"]["post"]
    embed["responses"] = {"200": embed["responses"][200]}  # BentoML's refusals are not the middleware's
    embed["requestBody"]["content"]["application/json"]["example"] = {"segments": [EXAMPLE_SEGMENT]}
    embed |= {**with_refusals(embed, "413", "415", "421", "503"), "operationId": "embed"}
    of_bentoml = bentoml_document["components"]["schemas"]
    schemas = {**{name: of_bentoml[name] for name in ("Segment", "EmbeddedSegment")}, **schemas_of()}
    return {
        **bentoml_document,
        "openapi": "3.1.0",
        "info": {
            "title": "LiveAlign live recommender",
            "version": livealign.__version__,
            "description": "Live rooms ranked by what each is about at this moment, from events that arrive while it runs.",
        },
        "servers": [{"url": prefix or "/"}],
        "paths": {
            **paths,
            **_paths(int(time.time() * 1000)),
            "/embed": {"post": embed},
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def schemas_of(bodies: Sequence[type[BaseModel]] = (), answers: Sequence[type[BaseModel]] = ()) -> Json:
    """The schemas of all requests and answers, and of the models given, by name."""
    wanted = [(model, "validation") for model in (*_BODIES, *bodies)]
    wanted += [(model, "serialization") for model in (*_ANSWERS, *answers)]
    _, definitions = models_json_schema(wanted, ref_template=REF)  # type: ignore[arg-type]
    found: Json = definitions["$defs"]
    return found


EXAMPLE_SEGMENT = {
    "title": "Ranked climb",
    "category": "Elden Ring",
    "speech": "one more try at the last boss",
    "chat": ["dodge left!", "so close"],
    "minute": 42,
}


def _paths(now: int) -> Json:
    limit = query("limit", 1, messages.MAX_ROOMS, 50)
    return {
        "/recommend": {
            "post": operation(
                "recommend",
                "Rooms that are live, best first, each with its scores, its codes and a reason. With a key that may write the "
                "rooms are logged as impressions under the request id.",
                "RecommendResponse",
                body=("RecommendRequest", {"user_id": 17, "k": 5, "surface": "home"}),
                refusals=("413", "415", "421"),
                open_to_readers=True,
            )
        },
        "/recommend/many": {
            "post": operation(
                "recommend_many",
                "A list for each of at most 100 viewers, in their order.",
                "RecommendManyResponse",
                body=("RecommendManyRequest", {"user_ids": [17, 18], "k": 5}),
                refusals=("413", "415", "421"),
                open_to_readers=True,
            )
        },
        "/events": {
            "post": operation(
                "events",
                "Events of the platform, at most 1,000. Those that the answer counts as accepted or duplicate are on disk. "
                "An event_id that was sent before is the same event, so that a batch may be sent again.",
                "IngestResponse",
                body=("EventBatch", {"events": example_events(now)}),
                refusals=("413", "415", "422", "503"),
            )
        },
        "/frames": {
            "post": {
                **operation(
                    "frames",
                    "One picture of a live room: JPEG, PNG or WebP of at most 256 KB and 1,048,576 pixels. The newest of a "
                    "30-second window counts.",
                    "FrameResponse",
                    parameters=[{**_ROOM_ID, "in": "query"}, _AT],
                    refusals=("404", "413", "415", "422", "503"),
                ),
                "requestBody": {
                    "required": True,
                    "content": {kind: {"schema": _PICTURE} for kind in ("image/jpeg", "image/png", "image/webp")},
                },
            }
        },
        "/rooms/{room_id}/frame": {
            "get": _picture_of_a_room(),
        },
        "/rooms": {
            "get": operation(
                "rooms",
                "Live rooms, those with most viewers first, each with its newest window.",
                "RoomPage",
                parameters=[limit, query("offset", 0, 1_000_000, 0), _SEARCH],
                open_to_readers=True,
            )
        },
        "/rooms/{room_id}": {
            "get": operation(
                "room",
                "One room with its last windows.",
                "Room",
                parameters=[_ROOM_ID],
                refusals=("404",),
                open_to_readers=True,
            )
        },
        "/similar/{room_id}": {
            "get": operation(
                "similar",
                "The live rooms whose content is most similar to this room's right now.",
                "SimilarRooms",
                parameters=[_ROOM_ID, query("k", 1, MAX_K, 10)],
                refusals=("404",),
                open_to_readers=True,
            )
        },
        "/explain/{room_id}": {
            "get": operation(
                "explain",
                "Why a room stands where it stands for a viewer: its rank, its scores, and what content, counts and "
                "history add to the log-odds of a click.",
                "Explanation",
                parameters=[_ROOM_ID, {**_ROOM_ID, "name": "user_id", "in": "query", "example": 17}],
                refusals=("404",),
                open_to_readers=True,
            )
        },
        "/users": {
            "get": operation(
                "users",
                "Users with a history, the latest active first, each with what they entered most.",
                "KnownUsers",
                parameters=[query("limit", 1, messages.MAX_USERS, 20)],
                open_to_readers=True,
            )
        },
        "/users/{user_id}/similar": {
            "get": operation(
                "similar_users",
                "Users with a history, of the 2,000 that were active last, whose taste is most similar to this user's now.",
                "SimilarUsers",
                parameters=[{**_ROOM_ID, "name": "user_id", "example": 17}, query("k", 1, MAX_K, 10)],
                refusals=("404",),
                open_to_readers=True,
            )
        },
        "/users/{user_id}": {
            "delete": operation(
                "delete_user",
                "Forget what a user did: in the state, in the event log and, by a tombstone, in the next landing. It may be "
                "repeated.",
                "DeletedUser",
                parameters=[{**_ROOM_ID, "name": "user_id", "example": 4_000_000_002}],
                refusals=("503",),
            )
        },
        "/version": {"get": operation("version", "The release in service.", "Version", open_to_readers=True)},
        "/status": {"get": operation("status", "The health of the service.", "Status", open_to_readers=True)},
        "/experiments": {
            "get": operation(
                "experiments",
                "What is served side by side: the challengers beside the champion, what followed the lists of each, and "
                "whether they differ, by a test that may be looked at at any time.",
                "Experiments",
                open_to_readers=True,
            )
        },
    }


def query_parameters() -> dict[str, frozenset[str]]:
    """The names of the query parameters that each path takes."""
    return {
        path: frozenset(
            one["name"] for operation in methods.values() for one in operation["parameters"] if one["in"] == "query"
        )
        for path, methods in _paths(0).items()
    }


def example_events(now: int) -> list[Json]:
    """A short broadcast that has just begun: one event of each kind.

    Args:
        now: epoch milliseconds.
    """
    tag = f"example-{now}"
    base = {"at": now - 10_000, "room_id": 4_000_000_001, "author_id": 900}
    viewer = {**base, "user_id": 17}
    return [
        {
            **base,
            "event_id": f"{tag}-1",
            "kind": "room_started",
            "title": "Ranked climb",
            "category": "Elden Ring",
            "language": "en",
        },
        {**base, "event_id": f"{tag}-2", "kind": "speech", "ended_at": now - 7_000, "text": "one more try at the last boss"},
        {**viewer, "event_id": f"{tag}-3", "kind": "impression", "request_id": "list-1", "position": 0, "surface": "home"},
        {**viewer, "event_id": f"{tag}-4", "kind": "play_started", "request_id": "list-1", "source": "home"},
        {**viewer, "event_id": f"{tag}-5", "kind": "comment", "text": "dodge left!"},
        {**viewer, "event_id": f"{tag}-6", "kind": "like", "count": 3},
        {**viewer, "event_id": f"{tag}-7", "kind": "gift", "count": 1, "value": 0.5},
        {**viewer, "event_id": f"{tag}-8", "kind": "follow"},
        {**viewer, "event_id": f"{tag}-9", "kind": "share"},
        {**viewer, "event_id": f"{tag}-10", "kind": "play_ended", "play_id": f"{tag}-4"},
        {**base, "event_id": f"{tag}-11", "at": now, "kind": "room_ended"},
    ]


_ROOM_ID = {
    "name": "room_id",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "minimum": 0, "maximum": MAX_ID},
    "example": 4_000_000_001,
}


_AT = {
    "name": "at",
    "in": "query",
    "required": False,
    "schema": {"type": "string", "maxLength": 40},
    "description": "When it was taken: epoch milliseconds or ISO 8601 text; now if it is left out.",
}
_SEARCH = {
    "name": "search",
    "in": "query",
    "required": False,
    "schema": {"type": "string", "maxLength": messages.MAX_SEARCH, "default": ""},
    "example": "climb",
    "description": "Words that a room has to have: in title, category, names of codes, or in what was said last; or its id.",
}
_PICTURE = {"type": "string", "format": "binary", "maxLength": 256 << 10}


def _picture_of_a_room() -> Json:
    picture = operation(
        "frame",
        "The newest picture of a room, of 224 × 224 pixels whatever its proportions were.",
        "ErrorBody",
        parameters=[_ROOM_ID],
        refusals=("404",),
        open_to_readers=True,
    )
    picture["responses"]["200"] = {"description": "The picture.", "content": {"image/webp": {"schema": _PICTURE}}}
    return picture
