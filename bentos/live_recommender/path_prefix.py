"""The path below which a proxy shows the service: LIVEALIGN_ROOT_PATH, such as `/live`.

It stands in the servers of /docs.json and in redirects. A proxy may take it off the path before it passes a request on, or not.
"""

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from livealign.errors import LiveAlignError

VARIABLE = "LIVEALIGN_ROOT_PATH"
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")


def path_prefix(environment: Mapping[str, str] = os.environ) -> str:
    """The prefix without a slash at its end; empty if there is none.

    Raises:
        LiveAlignError: it is no path.
    """
    text = environment.get(VARIABLE, "").rstrip("/")
    if text and (not _PREFIX.fullmatch(text) or {".", ".."} & set(text.split("/"))):
        raise LiveAlignError(f"{VARIABLE} is {text[:80]!r}; write a path such as /live, of letters, digits and . _ ~ -")
    return text


class PathPrefixMiddleware:
    """ASGI middleware that takes the prefix off paths and puts it into redirects.

    A redirect names the path alone: scheme and host are the proxy's, which the service does not know.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.prefix = app, path_prefix()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        if self.prefix and (path == self.prefix or path.startswith(f"{self.prefix}/")):
            scope = {**scope, "path": path[len(self.prefix) :] or "/"}

        async def prefixed(message: Message) -> None:
            if message["type"] == "http.response.start" and 300 <= message["status"] < 400:
                headers = [
                    (name, self._location(value) if name == b"location" else value) for name, value in message["headers"]
                ]
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, prefixed)

    def _location(self, url: bytes) -> bytes:
        parts = urlsplit(url.decode("latin-1"))
        return f"{self.prefix}{parts.path}{f'?{parts.query}' if parts.query else ''}".encode("latin-1")
