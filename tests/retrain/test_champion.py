"""The champion scores a day once, and scores of anything else are never read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livealign.errors import BackboneError
from livealign.retrain import champion as champions
from livealign.retrain.champion import champion_scores
from tests.planted.night import Night, plant_night


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Night:
    night = plant_night(tmp_path_factory.mktemp("night") / "home")
    night.champion_scores()
    return night


@pytest.fixture
def night(planted: Night, tmp_path: Path) -> Night:
    return planted.copied(tmp_path / "home")


@pytest.fixture
def encoders(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The releases whose encoder was loaded."""
    loaded: list[str] = []

    def load(bundle, *rest):
        loaded.append(bundle.release_id)
        return load_encoder(bundle, *rest)

    load_encoder = champions.load_encoder
    monkeypatch.setattr(champions, "load_encoder", load)
    return loaded


def test_the_second_reader_of_a_night_loads_no_encoder_and_gets_the_same_bytes(night: Night, encoders: list[str]) -> None:
    (night.artifacts.champion / f"{night.champion.release_id}.json").unlink()  # as if nothing had been scored yet
    first = night.champion_scores()
    assert encoders == [night.champion.release_id]
    assert first.shape == (len(night.corpus.test), 5)
    assert first.dtype == np.float32
    second = night.champion_scores()
    assert encoders == [night.champion.release_id]
    assert second.tobytes() == first.tobytes()
    assert second.dtype == first.dtype


def test_scores_of_other_data_are_not_read(night: Night, encoders: list[str]) -> None:
    before = night.champion_scores()
    assert encoders == []
    mart = night.home.marts / "segments" / f"dt={night.corpus.day}" / "part-0.parquet"
    table = pq.ParquetFile(mart).read()
    place = table.schema.get_field_index("speech_text")
    pq.write_table(table.set_column(place, "speech_text", pa.array(["quite another matter"] * len(table))), mart)
    after = night.champion_scores()
    assert encoders == [night.champion.release_id]
    assert not np.array_equal(after, before)


def test_scores_of_other_settings_another_code_or_another_release_are_not_read(
    night: Night, encoders: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = replace(night.profile.dataset, train_days=1)
    champion_scores(night.champion, night.corpus, night.home, fewer)
    assert len(encoders) == 1
    night.champion_scores()
    assert len(encoders) == 2, "those of the other settings took the place"
    champion_scores(night.challenger, night.corpus, night.home, night.profile.dataset)
    assert encoders[2:] == [night.challenger.release_id]
    night.champion_scores()
    (tmp_path / "edited").mkdir()
    (tmp_path / "edited" / "__init__.py").write_text("X = 1\n")
    monkeypatch.setattr(champions.livealign, "__file__", str(tmp_path / "edited" / "__init__.py"))
    night.champion_scores()
    assert len(encoders) == 5


@pytest.mark.parametrize("damage", [b"", b"no array", None])
def test_damaged_scores_are_computed_again(night: Night, encoders: list[str], damage: bytes | None) -> None:
    whole = night.champion_scores()
    file = night.artifacts.champion / f"{night.champion.release_id}.npy"
    if damage is None:
        np.save(file, whole[:-1], allow_pickle=False)
    else:
        file.write_bytes(damage)
    assert night.champion_scores().tobytes() == whole.tobytes()
    assert len(encoders) == 1
    assert np.load(file).tobytes() == whole.tobytes()


def test_a_champion_of_another_backbone_says_which_and_how_to_get_it(night: Night) -> None:
    (night.artifacts.champion / f"{night.champion.release_id}.json").unlink()
    other = replace(night.champion, manifest={**night.champion.manifest, "backbone": {"id": "tiny", "sha256": "0" * 64}})
    with pytest.raises(
        BackboneError, match=f"{night.champion.release_id} was made with backbone tiny 000000000000.*build the release again"
    ):
        champion_scores(other, night.corpus, night.home, night.profile.dataset)
