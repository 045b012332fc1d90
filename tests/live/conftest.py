"""Planted releases, one backbone for the cores of a file, and a core on a log of its own."""

import functools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from livealign.release import models as release_models
from livealign.release.registry import promote
from tests.planted.live_release import plant_live_releases
from tests.planted.release import PlantedRelease
from tests.support.live_stage import Stage


@pytest.fixture(scope="module")
def one_backbone() -> Iterator[None]:
    """The tiny backbone is made once for all cores; it is the real one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(release_models, "load_backbone", functools.cache(release_models.load_backbone))
        yield


@pytest.fixture(scope="module")
def releases(one_backbone: None, tmp_path_factory: pytest.TempPathFactory) -> list[PlantedRelease]:
    """Two releases with an encoder; the same without one lies beside them, in `plain`."""
    return plant_live_releases(tmp_path_factory.mktemp("releases"), 2)


@pytest.fixture
def stage(releases: list[PlantedRelease], tmp_path: Path) -> Iterator[Stage]:
    stage = Stage.open(releases[0], tmp_path)
    yield stage
    stage.core.stop()


@pytest.fixture
def folder(releases: list[PlantedRelease], tmp_path: Path) -> Path:
    """A releases folder with both releases, the first of them the champion."""
    folder = tmp_path / "champions"
    for one in releases:
        shutil.copytree(one.bundle, folder / one.bundle.name)
    promote(folder, releases[0].bundle.name)
    return folder
