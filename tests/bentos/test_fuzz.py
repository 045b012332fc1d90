"""Fuzzing by the OpenAPI document: every answer fits it, and none is a 5xx."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from bentos.smoke import Server
from tests.planted.live_release import plant_live_releases
from tests.support.service_client import release_server

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 40  # of each operation, valid and not
OPERATIONS = (
    ("POST", "/recommend"),
    ("POST", "/recommend/many"),
    ("DELETE", "/users/{user_id}"),
    ("POST", "/events"),
    ("POST", "/embed"),
    ("GET", "/rooms"),
    ("GET", "/rooms/{room_id}"),
    ("GET", "/similar/{room_id}"),
    ("GET", "/explain/{room_id}"),
    ("GET", "/users"),
    ("GET", "/users/{user_id}/similar"),
    ("GET", "/version"),
    ("GET", "/status"),
    ("GET", "/experiments"),
)
MODES = {"valid": [GenerationMode.POSITIVE], "invalid": [GenerationMode.NEGATIVE]}
OF_PICTURES = {("POST", "/frames"), ("GET", "/rooms/{room_id}/frame")}  # no JSON: tests/bentos/test_frames.py
NOTHING_TO_GET_WRONG = ("/version", "/status", "/experiments")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    (release,) = plant_live_releases(tmp_path_factory.mktemp("live"))
    with release_server(release.bundle) as server:
        yield server


@pytest.fixture(scope="module")
def document(server: Server) -> Any:
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/docs.json")


def test_every_operation_is_tried(document: Any) -> None:
    described = {(one.ok().method.upper(), one.ok().path) for one in document.get_all_operations()}
    assert described == {*OPERATIONS, *OF_PICTURES, *(("GET", path) for path in ("/healthz", "/livez", "/readyz", "/metrics"))}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_the_service_answers_as_its_document_says(method: str, path: str, mode: str, document: Any, server: Server) -> None:
    if mode == "invalid" and path in NOTHING_TO_GET_WRONG:
        pytest.skip("it takes nothing that could be wrong")
    document.config.generation.update(modes=MODES[mode])

    @given(case=document[path][method].as_strategy(generation_mode=MODES[mode][0]))
    @settings(max_examples=EXAMPLES, derandomize=True, suppress_health_check=list(HealthCheck))
    def run(case: Any) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {server.key}"}, checks=CHECKS)

    run()


def test_it_still_answers_after_all_that(server: Server) -> None:
    status, answer = server.request("POST", "/recommend", {"user_id": 500, "k": 3})
    assert status == 200
    assert answer["model_version"]
