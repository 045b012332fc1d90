"""Wrong bodies in plain words: what the 400 answers of all endpoints say."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.types import ASGIApp, Receive, Scope, Send

from bentos.live_recommender.admission import BODY, answer
from bentos.live_recommender.list_requests import Filter, RecommendManyRequest, RecommendRequest, UserContext
from bentos.live_recommender.messages import EmbedRequest, Segment
from livealign.field_errors import plain_error

_BODIES: dict[str, type[BaseModel]] = {body.__name__: body for body in (RecommendRequest, RecommendManyRequest, EmbedRequest)}
_PARTS: dict[str, type[BaseModel]] = {"filter": Filter, "context": UserContext, "segments": Segment}


def body_error(error: ValidationError) -> dict[str, Any]:
    """The answer that names the wrong fields, never their values, which are a user's."""
    found = error.errors(include_url=False, include_input=False)
    details = [
        {"type": one["type"], "loc": one["loc"], "msg": plain_error(one, "the body", _fields(error.title, one))}
        for one in found
    ]
    return {"error": details[0]["msg"], "detail": details}


def _fields(body: str, error: ErrorDetails) -> Iterable[str]:
    """The fields that there are where an error is."""
    part = _PARTS.get(str(error["loc"][0])) if len(error["loc"]) > 1 else _BODIES.get(body)
    return () if part is None else part.model_fields


class EmbedBodyMiddleware:
    """ASGI middleware that refuses wrong bodies of /embed.

    BentoML refuses them in pydantic's words, and takes fields that there are not.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") == "/embed" and BODY in scope:
            try:
                EmbedRequest.model_validate(scope[BODY])
            except ValidationError as error:
                await answer(send, 400, body_error(error))
                return
        await self.app(scope, receive, send)
