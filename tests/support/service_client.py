"""The service for tests: in this process, or as one of its own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from bentos.smoke import Server, bento_server

KEY = "test-key-" + "k" * 16
READY_SECONDS = 30.0
ROOT = Path(__file__).parents[2]


@contextmanager
def service_client(bundle: Path, folder: Path, **variables: str) -> Iterator[TestClient]:
    """A client of the ready service with `bundle`; its files are in `folder`."""
    environment = {
        "LIVEALIGN_BUNDLE": str(bundle),
        "LIVEALIGN_EVENT_LOG": str(folder / "event_log"),
        "LIVEALIGN_MODELS": str(folder / "models"),
        "LIVEALIGN_API_KEYS": KEY,
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "true",
        **variables,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        from bentos.live_recommender.service import LiveRecommender

        with TestClient(LiveRecommender.to_asgi()) as client:
            until = time.monotonic() + READY_SECONDS
            while client.get("/readyz").status_code != 200:
                assert time.monotonic() < until, "the service does not get ready"
                time.sleep(0.05)
            yield client


@contextmanager
def release_server(bundle: Path, **variables: str) -> Iterator[Server]:
    """The service with `bundle` as a process of its own, from the source tree."""
    environment = {"LIVEALIGN_BUNDLE": str(bundle), "PYTHONPATH": str(ROOT), **variables}
    with bento_server("bentos.live_recommender.service:LiveRecommender", environment=environment) as server:
        yield server
