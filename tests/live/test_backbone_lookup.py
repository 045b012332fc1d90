"""A person's own backbone in the service: packed or moved it is found, and a damaged one leaves the service without refresh."""

import shutil
from pathlib import Path

import pytest

from bentos.live_recommender import settings
from bentos.live_recommender.settings import Settings
from livealign.events.log import EventLog
from livealign.live.core import LiveCore
from livealign.llm.backbone import load_backbone
from livealign.llm.model_folder import identity_of
from tests.planted.live_release import plant_live_platform, with_encoder
from tests.planted.release import PlantedRelease, plant_release


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny backbone as a folder of a person's own."""
    folder = tmp_path_factory.mktemp("own") / "mine"
    tiny = load_backbone("tiny", Path("none"))
    tiny.tokenizer.save_pretrained(folder)
    tiny.model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def release(model: Path, tmp_path_factory: pytest.TempPathFactory) -> PlantedRelease:
    """A release that was made with it, where it no longer lies."""
    named = {"id": "mine", "sha256": identity_of(model).sha256, "path": "/no/longer/mine"}
    folder = tmp_path_factory.mktemp("release")
    plain = plant_release(folder / "plain", plant_live_platform(folder / "marts"))
    return with_encoder(plain, folder / "releases", backbone=named)


def opened(release: PlantedRelease, folder: Path, models: tuple[Path, ...]) -> LiveCore:
    return LiveCore.open(release.bundle, EventLog(folder / "log"), models, clock=lambda: release.taken_at / 1000)


def test_a_packed_or_moved_backbone_is_found_by_its_hash(release: PlantedRelease, model: Path, tmp_path: Path) -> None:
    packed, models = tmp_path / "bento" / "models", tmp_path / "models"
    shutil.copytree(model, packed / "mine")
    core = opened(release, tmp_path / "packed", (packed, models))
    assert core.version().encodes
    core.stop()
    (packed / "mine").rename(tmp_path / "renamed")
    models.mkdir()
    (tmp_path / "renamed").rename(models / "renamed")
    core = opened(release, tmp_path / "moved", (packed, models))
    assert core.version().encodes
    assert not core.status().problems
    core.stop()


def test_a_pointer_in_place_of_weights_leaves_the_service_without_refresh(
    release: PlantedRelease, model: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "models" / "mine"))
    (copy / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0")
    core = opened(release, tmp_path, (tmp_path / "models",))
    assert not core.version().encodes
    assert core.recommend(500, 3).fallbacks[-1] == "no_refresh"
    (problem,) = core.status().problems
    assert "rooms are not refreshed" in problem
    assert "git lfs pull" in problem
    core.stop()


def test_the_service_looks_in_the_bento_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "PACKED_MODELS", tmp_path / "packed")
    found = Settings.from_environment({"LIVEALIGN_HOME": str(tmp_path), "LIVEALIGN_MODELS": str(tmp_path / "mine")})
    assert found.models == (tmp_path / "packed", tmp_path / "mine")
    assert Settings.from_environment({"LIVEALIGN_HOME": str(tmp_path)}).models == (tmp_path / "packed", tmp_path / "models")
