"""The live recommender as a BentoML service: one process, one model, one live state.

    LIVEALIGN_EVENT_LOG=/var/lib/livealign/event_log bentoml serve bentos.live_recommender.service:LiveRecommender

It starts or ends with one line (`start_check.py`, `supervision.py`). `settings.py` lists its environment variables,
`api_keys.py` who may do what; `endpoints.py` holds the handlers.
"""

import sys
import threading
from typing import Annotated, Any

import bentoml
from pydantic import Field

from bentos.live_recommender import json_logs as logs
from bentos.live_recommender.admission import ADMISSION, AdmissionMiddleware, Limits
from bentos.live_recommender.body_errors import EmbedBodyMiddleware
from bentos.live_recommender.cross_origin import CrossOriginMiddleware
from bentos.live_recommender.endpoints import Endpoints
from bentos.live_recommender.http_protocol import install
from bentos.live_recommender.json_answers import embedded_segments
from bentos.live_recommender.messages import MAX_SEGMENTS, EmbeddedSegment, Segment
from bentos.live_recommender.metrics import process_metrics
from bentos.live_recommender.path_prefix import PathPrefixMiddleware
from bentos.live_recommender.routes import make_app
from bentos.live_recommender.settings import ELSEWHERE, ROOT, Settings
from bentos.live_recommender.start_check import check_start
from bentos.live_recommender.supervision import end_service, end_with_supervisor, supervise
from bentos.live_recommender.trusted_proxies import TrustedProxies
from livealign.errors import LiveAlignError

REQUIREMENTS = ROOT / "requirements.txt"  # written by bentos.build; the source tree has none

install()  # BentoML makes its server after this import


def _image() -> bentoml.images.Image:
    """The container: Python and the packages that the Bento was built and tried with."""
    image = bentoml.images.Image(python_version="3.11", lock_python_packages=False)  # exact already: nothing to lock
    return image.python_packages(*REQUIREMENTS.read_text().split()) if REQUIREMENTS.exists() else image


def _endpoints() -> Endpoints:
    endpoints: Endpoints = bentoml.get_current_service().endpoints
    return endpoints


def _bentoml_document() -> dict[str, Any]:
    document: dict[str, Any] = LiveRecommender.openapi_spec.asdict()  # type: ignore[attr-defined]  # a Service by then
    return document


@bentoml.service(
    name="live_recommender",
    image=_image(),
    envs=[{"name": "BENTOML_DO_NOT_TRACK", "value": "true"}],
    workers=1,  # the process owns the model and the live state
    # No `max_concurrency`: BentoML's refuses writers and probes too, and is not counted. Ours is in admission.py.
    traffic={"timeout": 30},
    # Ours instead: BentoML's access log is not JSON, and its series are labelled by path, so that requests for many rooms
    # would make many series. Traces are not exported; a span for each request costs more than a small answer.
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    tracing={"excluded_urls": ["."]},
)
@bentoml.asgi_app(make_app(_endpoints, _bentoml_document), path="/")
class LiveRecommender:
    """Ranked live rooms for a viewer, by what each room is about at this moment."""

    def __init__(self) -> None:
        logs.configure()
        end_with_supervisor()
        try:
            self._open()
        except Exception as error:
            end_service(error)
        threading.Thread(target=self._get_warm, name="warm-up", daemon=True).start()

    @bentoml.on_deployment  # makes it a static method
    def check() -> None:
        """Check in the supervisor what the worker will need; end with one line if it cannot start."""
        supervise()
        try:
            check_start()
        except LiveAlignError as error:
            sys.exit(f"error: {error}")

    def _open(self) -> None:
        try:
            from bentos.live_recommender.startup import open_core, warm_up  # only the process that serves imports the models
        except Exception as error:  # nothing of a user has been read yet: the log may hold the error's text
            raise LiveAlignError(
                f"the code cannot be loaded ({type(error).__name__}: {error}); build the Bento again"
            ) from error

        self._metrics = process_metrics()
        self._settings = Settings.from_environment()
        limits = Limits()
        self.core = open_core(self._settings, self._metrics)
        self._warm_up, self._warm = warm_up, threading.Event()
        self.endpoints = Endpoints(self.core, limits, self._metrics)
        ADMISSION.limits, ADMISSION.metrics, ADMISSION.proxies = limits, self._metrics, TrustedProxies.from_environment()
        ADMISSION.elsewhere = ELSEWHERE[self._settings.role]

    def _get_warm(self) -> None:
        try:
            if self._settings.releases is not None:
                self.core.follow_challengers(self._settings.releases)  # their users' lists are theirs from the first on
            seconds = self._warm_up(self.core)
            self.core.start(self._settings.releases)
        except Exception as error:
            end_service(error)
        self._metrics.serving(self.core.version().release_id)
        self._warm.set()
        logs.log("ready", release_id=self.core.version().release_id, warm_up_seconds=seconds)

    async def __is_ready__(self) -> bool:
        """The answer of /readyz: true after each model has run once, with the challengers.

        A ranker loads challengers later, if readers have not read their rooms yet. BentoML would ask in a thread if this were
        not asynchronous, which takes longer than the answer.
        """
        return self._warm.is_set()

    @bentoml.api(route="/embed", batchable=True, max_batch_size=4 * MAX_SEGMENTS, max_latency_ms=10_000)
    def embed(self, segments: Annotated[list[Segment], Field(max_length=MAX_SEGMENTS)]) -> list[EmbeddedSegment]:
        """Segments as text → embedding, aligned vector and semantic codes.

        Calls that come together share a batch.
        """
        try:
            return embedded_segments(self.core.embed([segment.text() for segment in segments]))
        except LiveAlignError as error:
            logs.log("embed", 40, **logs.error_fields(error))
            raise bentoml.exceptions.ServiceUnavailable(str(error)) from error

    @bentoml.on_shutdown
    def close(self) -> None:
        """Finish the requests in hand, then let the core write what is waiting and close the log."""
        self.endpoints.close()
        self.core.stop()


LiveRecommender.add_asgi_middleware(PathPrefixMiddleware)  # type: ignore[attr-defined]  # a Service now; the outermost first
LiveRecommender.add_asgi_middleware(CrossOriginMiddleware)  # type: ignore[attr-defined]
LiveRecommender.add_asgi_middleware(AdmissionMiddleware, settings=ADMISSION)  # type: ignore[attr-defined]
LiveRecommender.add_asgi_middleware(EmbedBodyMiddleware)  # type: ignore[attr-defined]
