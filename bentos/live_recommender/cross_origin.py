"""Answers to browsers on other origins (CORS), for the origins in LIVEALIGN_CORS_ORIGINS.

The variable holds origins such as `https://live.example`, separated by commas, or `*` for all. It is not set by default: no
page of another origin then reads an answer. Credentials of a browser are never allowed; a page sends an API key.
"""

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from livealign.errors import LiveAlignError

VARIABLE = "LIVEALIGN_CORS_ORIGINS"
HEADERS = ("authorization", "content-type", "x-api-key")
PREFLIGHT_SECONDS = 600  # for which a browser remembers the answer


def allowed_origins(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The origins in LIVEALIGN_CORS_ORIGINS.

    Raises:
        LiveAlignError: a part is no origin.
    """
    origins = tuple(part for part in environment.get(VARIABLE, "").replace(",", " ").split())
    for origin in origins:
        if origin != "*" and not _is_origin(origin):
            raise LiveAlignError(f"{VARIABLE} holds {origin[:80]!r}; write origins such as https://live.example, or *")
    return origins


class CrossOriginMiddleware:
    """ASGI middleware that answers preflights and marks answers for the allowed origins."""

    def __init__(self, app: ASGIApp) -> None:
        origins = allowed_origins()
        self.app: ASGIApp = app
        if origins:
            self.app = CORSMiddleware(
                app,
                allow_origins=origins,
                allow_methods=("GET", "POST", "DELETE"),
                allow_headers=HEADERS,
                expose_headers=("retry-after",),
                max_age=PREFLIGHT_SECONDS,
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return parts.scheme in ("http", "https") and text == f"{parts.scheme}://{host}{'' if port is None else f':{port}'}"
