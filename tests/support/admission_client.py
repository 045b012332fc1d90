"""The admission of requests in front of an application that echoes them."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from bentos.live_recommender.admission import (
    BODY,
    AdmissionMiddleware,
    AdmissionSettings,
    Limits,
)
from bentos.live_recommender.api_keys import ApiKeys
from bentos.live_recommender.metrics import process_metrics

WRITER, READER = "writer-" + "w" * 16, "reader-" + "r" * 16


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers with the decoded body, and with the body as it reads it."""
    read = (await Request(scope, receive).body()).decode()
    await JSONResponse({"decoded": scope.get(BODY), "read": read})(scope, receive, send)


def client_of(keys: dict[str, str] | None = None, app: Any = echo, **limits: Any) -> TestClient:
    settings = AdmissionSettings(Limits(ApiKeys.from_environment(keys or {}), **limits), process_metrics())
    return TestClient(AdmissionMiddleware(app, settings))


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
