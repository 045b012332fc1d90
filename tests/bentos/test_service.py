"""The service over HTTP, its refusals, and the smoke test of its Bento."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from starlette.testclient import TestClient

from bentos.build import BentoError, build_bento, requirements
from bentos.serve import champion_bento
from bentos.smoke import smoke_test
from livealign.errors import BundleError, LiveAlignError
from livealign.home import Home
from livealign.release.bundle import open_bundle
from livealign.release.registry import promote
from tests.planted.live_release import plant_live_releases
from tests.planted.release import PlantedRelease
from tests.support.service_client import service_client

ROOT = Path(__file__).parents[2]
UNKNOWN = 2**62


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> PlantedRelease:
    return plant_live_releases(tmp_path_factory.mktemp("live"))[0]


@pytest.fixture(scope="module")
def client(release: PlantedRelease, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The service in this process."""
    with service_client(release.bundle, tmp_path_factory.mktemp("service")) as client:
        yield client


def test_it_is_ready_and_says_what_it_serves(client: TestClient, release: PlantedRelease) -> None:
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200
    about = client.get("/version").json()
    assert about["release_id"] == release.bundle.name
    assert about["data_window"] == {"start": "2025-03-01", "end": "2025-03-02"}
    assert about["profile"] == "tiny"


def test_it_recommends_live_rooms_best_first(client: TestClient, release: PlantedRelease) -> None:
    user = int(release.corpus.test.user_id[-1])
    response = client.post("/recommend", json={"user_id": user, "k": 3})
    answer = response.json()
    assert response.status_code == 200
    assert answer["model_version"] == release.bundle.name
    assert answer["at"].startswith("2025-03-02T")
    assert len(answer["rooms"]) == 3
    assert [room["score"] for room in answer["rooms"]] == sorted((r["score"] for r in answer["rooms"]), reverse=True)
    stranger = client.post("/recommend", json={"user_id": UNKNOWN, "k": 3, "surface": "home"}).json()
    assert "unknown_user" in stranger["fallbacks"]
    listed = [room["room_id"] for room in stranger["rooms"]]
    others = client.post("/recommend", json={"user_id": UNKNOWN, "k": 3, "exclude": listed}).json()
    assert not set(listed) & {room["room_id"] for room in others["rooms"]}


def test_a_moment_without_live_rooms_gives_an_empty_list(client: TestClient) -> None:
    for at in ("2031-01-01T00:00:00", "2031-01-01T02:00:00+02:00"):
        answer = client.post("/recommend", json={"user_id": 1, "at": at}).json()
        assert answer["rooms"] == []
        assert answer["at"] == "2031-01-01T00:00:00Z"
        assert "no_live_rooms" in answer["fallbacks"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "user_id"),
        ({"user_id": "nobody"}, "user_id"),
        ({"user_id": 2**63}, "user_id"),
        ({"user_id": 1, "k": 0}, "k"),
        ({"user_id": 1, "k": 101}, "k"),
        ({"user_id": 1, "k": 1.5}, "k"),
        ({"user_id": 1, "exclude": ["x"]}, "exclude"),
        ({"user_id": 1, "exclude": list(range(1_001))}, "exclude"),
        ({"user_id": 1, "at": "yesterday"}, "at"),
        ({"user_id": 1, "at": "1970-01-01T00:00:00Z"}, "at"),
        ({"user_id": 1, "at": "9999-12-31T23:59:59-12:00"}, "at"),
        ({"user_id": 1, "surface": "x" * 65}, "surface"),
        ({"user_id": 1, "wants": "rooms"}, "wants"),
    ],
)
def test_a_wrong_request_is_told_which_field_is_wrong(body: dict, named: str, client: TestClient) -> None:
    response = client.post("/recommend", json=body)
    assert response.status_code == 400
    assert named in response.json()["detail"][0]["loc"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[1, 2]", b"\xff\xfe", b"[" * 10_000, b'{"user_id": NaN}', b'{"user_id": 1e400}']
)
def test_a_body_that_is_no_request_is_a_4xx(body: bytes, client: TestClient) -> None:
    response = client.post("/recommend", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert response.json()["error"]


@pytest.mark.parametrize("media_type", ["multipart/form-data; boundary=x", "text/plain", "application/vnd.bentoml+pickle"])
def test_only_json_is_read(media_type: str, client: TestClient) -> None:
    response = client.post("/recommend", content=b"{}", headers={"Content-Type": media_type})
    assert response.status_code == 415
    assert "application/json" in response.json()["error"]


def test_the_guard_lets_other_methods_and_small_bodies_through(client: TestClient) -> None:
    assert client.get("/recommend").status_code == 405
    assert client.get("/nowhere").status_code == 404


def test_importing_the_service_loads_no_model(tmp_path: Path) -> None:
    code = "import bentos.live_recommender.service, sys; assert 'torch' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "BENTOML_HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)


def test_a_bento_takes_the_exact_versions_of_this_environment() -> None:
    pins = dict(line.split("==") for line in requirements())
    assert pins["torch"].replace(".", "").isdigit()  # no local build such as +cpu
    assert {"numpy", "pyarrow", "safetensors", "torch"} <= pins.keys()
    assert ("redis" in pins) == (find_spec("redis") is not None)  # readers and rankers need it


@pytest.fixture(scope="module")
def built(release: PlantedRelease, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Bento of the planted release, in a workspace of its own."""
    home = Home(tmp_path_factory.mktemp("home"), "simulator")
    return build_bento(release.bundle, home.bento_store).path


def test_a_bento_holds_the_code_the_bundle_and_nothing_of_this_machine(built: Path, release: PlantedRelease) -> None:
    assert built.name == release.bundle.name
    assert open_bundle(built / "src" / "bundle").release_id == release.bundle.name
    assert (built / "src" / "livealign" / "live" / "recommender.py").exists()
    assert not list(built.rglob("__pycache__"))
    assert "torch==" in (built / "env" / "python" / "requirements.txt").read_text()
    assert str(ROOT) not in (built / "bento.yaml").read_text()
    assert [path.name for path in built.parents[2].iterdir()] == ["bentos"]  # no leftovers in BENTOML_HOME


def test_a_built_bento_passes_its_smoke_test_and_leaves_no_process(built: Path, release: PlantedRelease) -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    result = smoke_test(built)
    assert result.release_id == release.bundle.name
    assert result.rooms >= 3
    assert {process.pid for process in psutil.Process().children(recursive=True)} <= before


@pytest.mark.slow
def test_a_bento_that_cannot_serve_fails_its_smoke_test_with_the_servers_words(built: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(built, broken)
    service = broken / "src" / "livealign" / "live" / "recommender.py"
    service.write_text("raise RuntimeError('this release is broken on purpose')\n")
    with pytest.raises(BentoError, match="broken on purpose"):
        smoke_test(broken, timeout=60)


def test_a_damaged_bundle_is_neither_built_nor_tried(built: Path, release: PlantedRelease, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(release.bundle, copy)
    (copy / "code_names.json").write_text("{}")
    with pytest.raises(BundleError, match=r"code_names\.json is damaged"):
        build_bento(copy, tmp_path / "bentoml")
    assert not (tmp_path / "bentoml").exists()


def test_the_champion_is_the_bento_that_is_served(built: Path, release: PlantedRelease, tmp_path: Path) -> None:
    home = Home(built.parents[5], "simulator")
    assert home.bento(release.bundle.name) == built
    home.releases.mkdir(parents=True, exist_ok=True)
    with pytest.raises(LiveAlignError, match="no champion yet; run `make retrain`"):
        champion_bento(home)
    shutil.copytree(release.bundle, home.releases / release.bundle.name)
    promote(home.releases, release.bundle.name)
    assert champion_bento(home) == built
    elsewhere = Home(tmp_path, "simulator")
    shutil.copytree(home.releases, elsewhere.releases)
    with pytest.raises(LiveAlignError, match="the champion has no Bento"):
        champion_bento(elsewhere)
