"""The OpenAPI document against the service: its examples run, its answers fit."""

import json
import time
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from starlette.testclient import TestClient

import livealign
from bentos.live_recommender.admission import MAX_BYTES
from tests.planted.live_release import plant_live_releases
from tests.planted.release import PlantedRelease
from tests.support.service_client import KEY, service_client

PUBLIC = {
    "/events",
    "/recommend",
    "/embed",
    "/recommend/many",
    "/users",
    "/users/{user_id}",
    "/users/{user_id}/similar",
    "/rooms",
    "/rooms/{room_id}",
    "/similar/{room_id}",
    "/explain/{room_id}",
    "/version",
    "/status",
    "/experiments",
}
OF_PICTURES = {"/frames", "/rooms/{room_id}/frame"}  # their bodies are no JSON: tests/bentos/test_frames.py


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> PlantedRelease:
    return plant_live_releases(tmp_path_factory.mktemp("live"))[0]


@pytest.fixture(scope="module")
def client(release: PlantedRelease, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with service_client(release.bundle, tmp_path_factory.mktemp("service")) as client:
        yield client


@pytest.fixture(scope="module")
def document(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/docs.json").json()
    return found


def test_it_names_every_endpoint_of_the_service(document: dict[str, Any]) -> None:
    assert document["paths"].keys() == PUBLIC | OF_PICTURES | {"/healthz", "/livez", "/readyz", "/metrics"}
    assert (document["info"]["title"], document["info"]["version"]) == ("LiveAlign live recommender", livealign.__version__)
    assert MAX_BYTES.keys() <= document["paths"].keys()


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    named = {part.split('"')[0] for part in json.dumps(document).split("#/components/schemas/")[1:]}
    assert named <= schemas.keys()
    assert schemas.keys() <= named  # and every schema is used


def test_every_example_runs_as_it_stands_and_answers_what_is_promised(client: TestClient, document: dict[str, Any]) -> None:
    asked = []
    # Events first: the room that the other examples name is theirs.
    for path in sorted(PUBLIC, key=lambda path: path != "/events"):
        for method, operation in document["paths"][path].items():
            parameters = operation.get("parameters", [])
            url = path.format(**{one["name"]: one["example"] for one in parameters if one["in"] == "path"})
            query = {one["name"]: one["example"] for one in parameters if one["in"] == "query"}
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
            answer = client.request(method, url, params=query, json=body, headers={"Authorization": f"Bearer {KEY}"})
            assert answer.status_code == 200, (method, url, answer.text)
            schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
            jsonschema.validate(answer.json(), {**schema, "components": document["components"]})
            asked.append(path)
            if path == "/events":
                assert (answer.json()["accepted"], answer.json()["rejected"]) == (11, 0)
                time.sleep(0.5)  # the picture of the rooms is a quarter of a second behind
    assert set(asked) == PUBLIC


def test_examples_for_bodies_are_valid_by_their_own_schema(document: dict[str, Any]) -> None:
    for path in ("/events", "/recommend", "/recommend/many", "/embed"):
        content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        jsonschema.validate(content["example"], {**content["schema"], "components": document["components"]})


def test_a_refusal_is_what_is_promised(client: TestClient, document: dict[str, Any]) -> None:
    problem = {"$ref": "#/components/schemas/ErrorBody", "components": document["components"]}
    for answer in (
        client.post("/recommend", json={"user_id": "nobody"}),
        client.post("/events", json={"events": []}),
        client.get("/rooms/4711"),
        client.get("/rooms?limit=many"),
        client.post("/embed", json={"segments": [{"minute": "late"}]}, headers={"Authorization": f"Bearer {KEY}"}),
    ):
        assert 400 <= answer.status_code < 500
        jsonschema.validate(answer.json(), problem)
