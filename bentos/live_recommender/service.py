"""The live recommender as a BentoML service: one process, one model, one live state.

    bentoml serve bentos.live_recommender.service:LiveRecommender

It serves the release bundle that `LIVEALIGN_BUNDLE` names, else the one packed beside the code (`bundle/` in a Bento).
"""

import os
from pathlib import Path
from tempfile import mkdtemp

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bentos.live_recommender.api import RecommendRequest, RecommendResponse, Version
from bentos.live_recommender.guard import RequestGuard

ROOT = Path(__file__).resolve().parents[2]  # of the Bento's code, or of the source tree
REQUIREMENTS = ROOT / "requirements.txt"  # written by bentos.build; the source tree has none
MAX_BODY_BYTES = 1_000_000


def _image() -> bentoml.images.Image:
    """The container: Python and the packages that the Bento was built and tried with."""
    image = bentoml.images.Image(python_version="3.11", lock_python_packages=False)  # exact already: nothing to lock
    return image.python_packages(*REQUIREMENTS.read_text().split()) if REQUIREMENTS.exists() else image


def bundle_path() -> Path:
    """The bundle to serve."""
    return Path(os.environ.get("LIVEALIGN_BUNDLE") or ROOT / "bundle")


async def version(_: Request) -> JSONResponse:
    """GET /version: what is being served."""
    return JSONResponse(bentoml.get_current_service().version().model_dump())


@bentoml.service(
    name="live_recommender",
    image=_image(),
    envs=[{"name": "BENTOML_DO_NOT_TRACK", "value": "true"}],
    workers=1,  # the process owns the model and the live state
    traffic={"timeout": 30, "max_concurrency": 256},
)
@bentoml.asgi_app(Starlette(routes=[Route("/version", version, methods=["GET"])]), path="/")
class LiveRecommender:
    """Ranked live rooms for a viewer, by what each room is about at this moment."""

    def __init__(self) -> None:
        from livealign.event_log import EventLog
        from livealign.live_core import LiveCore  # heavy: only the process that serves imports the models

        self.core = LiveCore.open(bundle_path(), EventLog(Path(mkdtemp(prefix="livealign-log-"))), Path("models"))

    @bentoml.api(route="/recommend")
    def recommend(self, request: RecommendRequest, /) -> RecommendResponse:
        """Rooms that are live, best first, each with its scores, its codes and a reason."""
        answer = self.core.recommend(request.user_id, request.k, request.exclude, at=request.at_milliseconds())
        return RecommendResponse.of(answer)

    def version(self) -> Version:
        """The release in service."""
        told = self.core.version()
        return Version(
            release_id=told.release_id,
            livealign=told.livealign,
            platform=told.platform,
            data_window=dict(told.data_window),
            profile=told.profile,
            codebook_version=told.codebook_version,
        )


LiveRecommender.add_asgi_middleware(RequestGuard, max_bytes=MAX_BODY_BYTES)  # type: ignore[attr-defined]  # a Service now
