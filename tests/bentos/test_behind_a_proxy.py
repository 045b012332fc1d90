"""The service below a proxy's path, and asked by pages of other origins."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount
from starlette.testclient import TestClient

from bentos.live_recommender.admission import AdmissionMiddleware, AdmissionSettings, Limits
from bentos.live_recommender.api_keys import WRITE_VARIABLE, ApiKeys
from bentos.live_recommender.cross_origin import VARIABLE as ORIGINS
from bentos.live_recommender.cross_origin import CrossOriginMiddleware, allowed_origins
from bentos.live_recommender.metrics import process_metrics
from bentos.live_recommender.path_prefix import VARIABLE as PREFIX
from bentos.live_recommender.path_prefix import PathPrefixMiddleware, path_prefix
from bentos.live_recommender.routes import make_app
from livealign.errors import LiveAlignError

KEY = "writer-" + "w" * 16


class Answers:
    """Handlers that answer with the path of the request."""

    def __getattr__(self, name: str) -> Any:
        async def handler(request: Request) -> Response:
            return JSONResponse({"asked": name, "path": request.url.path})

        return handler


def bentoml_document() -> dict[str, Any]:
    embed = {"responses": {200: {}}, "requestBody": {"content": {"application/json": {}}}}
    schemas: dict[str, Any] = {"Segment": {}, "EmbeddedSegment": {}}
    return {"paths": {"/embed": {"post": embed}}, "info": {"version": "1"}, "components": {"schemas": schemas}}


def service(
    monkeypatch: pytest.MonkeyPatch, prefix: str = "", origins: str = "", base: str = "http://inside:3000"
) -> TestClient:
    """Our routes with the three middlewares as the service adds them."""
    monkeypatch.setenv(PREFIX, prefix)
    monkeypatch.setenv(ORIGINS, origins)
    app = Starlette(routes=[Mount("/", make_app(Answers, bentoml_document))])  # type: ignore[arg-type]
    keys = ApiKeys.from_environment({WRITE_VARIABLE: KEY})
    admitted = AdmissionMiddleware(app, AdmissionSettings(Limits(keys), process_metrics()))
    return TestClient(PathPrefixMiddleware(CrossOriginMiddleware(admitted)), base_url=base)


@pytest.mark.parametrize("passed_on", ["", "/live"])
def test_the_prefix_of_a_proxy_stands_in_the_document_and_in_redirects_whether_or_not_it_is_passed_on(
    passed_on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = service(monkeypatch, "/live/")
    assert client.get(f"{passed_on}/docs.json").json()["servers"] == [{"url": "/live"}]
    assert client.get(f"{passed_on}/rooms").json()["asked"] == "rooms"
    assert client.get(passed_on or "/").status_code == 200
    for asked, to in (("/rooms/", "/live/rooms"), ("/rooms/?limit=3", "/live/rooms?limit=3")):
        answer = client.get(f"{passed_on}{asked}", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (307, to)


def test_without_a_prefix_redirects_name_a_path_and_no_host_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    client = service(monkeypatch)
    assert client.get("/docs.json").json()["servers"] == [{"url": "/"}]
    assert client.get("/rooms/", follow_redirects=False).headers["location"] == "/rooms"
    assert client.get("/live/rooms").status_code == 404
    assert service(monkeypatch, "/live").get("/lively/rooms").status_code == 404, "the prefix ends with a name"


@pytest.mark.parametrize("wrong", ["live", "/li ve", "/live?x", "//live", "/../live", "http://host/live", "/a//b", "/\u4e2d"])
def test_a_prefix_that_is_no_path_is_refused_at_the_start(wrong: str) -> None:
    with pytest.raises(LiveAlignError, match=PREFIX):
        path_prefix({PREFIX: wrong})
    assert path_prefix({PREFIX: "/a/b-c/"}) == "/a/b-c"
    assert path_prefix({PREFIX: "/"}) == path_prefix({}) == ""


PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,authorization"}


def test_pages_of_other_origins_are_answered_only_where_they_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    client = service(monkeypatch, origins="https://live.example, http://[::1]:8080")
    for origin, allowed in (("https://live.example", True), ("http://[::1]:8080", True), ("https://other.example", False)):
        asked = client.options("/recommend", headers={"Origin": origin, **PREFLIGHT})
        assert (asked.status_code == 200) == allowed
        assert (asked.headers.get("access-control-allow-origin") == origin) == allowed
        removal = {**PREFLIGHT, "Access-Control-Request-Method": "DELETE"}
        assert (client.options("/users/7", headers={"Origin": origin, **removal}).status_code == 200) == allowed
        answer = client.get("/rooms", headers={"Origin": origin})
        assert (answer.headers.get("access-control-allow-origin") == origin) == allowed
        assert "access-control-allow-credentials" not in answer.headers
    refused = client.post("/events", json={}, headers={"Origin": "https://live.example"})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://live.example", "the page can read why"


def test_no_other_origin_is_allowed_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    client = service(monkeypatch)
    asked = client.options("/recommend", headers={"Origin": "https://live.example", **PREFLIGHT})
    assert asked.status_code != 200
    assert "access-control-allow-origin" not in asked.headers
    assert "access-control-allow-origin" not in client.get("/rooms", headers={"Origin": "https://live.example"}).headers


@pytest.mark.parametrize(
    "wrong", ["live.example", "https://live.example/", "ftp://x", "https://", "null", "http://h:99999", "**"]
)
def test_an_origin_that_is_none_is_refused_at_the_start(wrong: str) -> None:
    with pytest.raises(LiveAlignError, match=ORIGINS):
        allowed_origins({ORIGINS: f"https://live.example {wrong}"})
    assert allowed_origins({ORIGINS: "*"}) == ("*",)
    assert allowed_origins({}) == ()
