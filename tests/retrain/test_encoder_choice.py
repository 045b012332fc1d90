"""Layers and pooling chosen on the landed days: measured, kept beside the adapter, and taken over from a release."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pyarrow.parquet as pq
import pytest

from livealign.config import EncoderConfig
from livealign.dataset.corpus import RAW, TUNED
from livealign.errors import TrainingError
from livealign.llm.backbone import load_backbone
from livealign.profiles import Profile, load_profile
from livealign.release.bundle import Bundle
from livealign.retrain.content import embed_segments
from livealign.retrain.encoder_choice import choose_encoder, with_encoder_of, with_encoder_of_release, write_encoder
from livealign.tuning.backbone_comparison import Candidate, choose, compare_layers
from livealign.tuning.comparison_sample import choose_windows
from tests.planted.broadcasts import FIRST_DAY, WINDOWS, planted_broadcasts, write_broadcasts
from tests.planted.release import plant_platform
from tests.planted.room_texts import random_adapter
from tests.retrain.test_engines import add_texts

DAYS = [FIRST_DAY, FIRST_DAY + timedelta(days=1)]


def profile_with(choice: str) -> Profile:
    profile = load_profile("tiny")
    return replace(profile, encoder=replace(profile.encoder, choice=choice))


def the_comparison(profile: Profile, models: Path) -> Candidate:
    backbone = load_backbone("tiny", models, device="cpu")
    sample = choose_windows(planted_broadcasts(), profile.segments, 400, profile.seed)
    return choose(compare_layers(backbone, "tiny", sample, profile.segments, profile.encoder, profile.finetune))


def test_the_choice_is_that_of_the_comparison_and_says_why(tmp_path: Path) -> None:
    profile = profile_with("auto")
    write_broadcasts(tmp_path / "marts")
    backbone = load_backbone("tiny", tmp_path, device="cpu")
    encoder, reason = choose_encoder(profile, backbone, tmp_path / "marts", DAYS)
    best = the_comparison(profile, tmp_path)
    assert (encoder.exit_layer, encoder.pooling) == (best.layers, best.pooling)
    assert isinstance(encoder.first_adapted_layer, int)
    assert 0 <= encoder.first_adapted_layer < encoder.exit_layer
    assert f"Layer {best.layers} with pooling '{best.pooling}'" in reason
    assert encoder.half_share == profile.encoder.half_share


def test_days_with_too_few_broadcasts_leave_the_settings(tmp_path: Path) -> None:
    profile = profile_with("auto")
    write_broadcasts(tmp_path / "marts")
    for file in (tmp_path / "marts" / "segments").glob("dt=*/*.parquet"):
        pq.write_table(pq.ParquetFile(file).read().slice(0, WINDOWS), file)  # one broadcast a day
    backbone = load_backbone("tiny", tmp_path, device="cpu")
    encoder, reason = choose_encoder(profile, backbone, tmp_path / "marts", DAYS)
    assert (encoder.exit_layer, encoder.pooling) == (profile.encoder.exit_layer, profile.encoder.pooling)
    assert reason == "As the settings say: too few broadcasts to choose by."


def test_the_days_later_stages_read_what_lies_beside_the_adapter(tmp_path: Path) -> None:
    chosen = EncoderConfig(exit_layer=4, first_adapted_layer=1, pooling="last", choice="auto")
    write_encoder(chosen, "because", tmp_path)
    found = with_encoder_of(profile_with("auto"), tmp_path).encoder
    assert (found.exit_layer, found.first_adapted_layer, found.pooling) == (4, 1, "last")
    assert with_encoder_of(profile_with("set"), tmp_path) == profile_with("set")


@pytest.mark.parametrize("written", [None, "{", '{"exit_layer": 4}'])
def test_a_missing_or_damaged_choice_is_one_line_with_the_remedy(written: str | None, tmp_path: Path) -> None:
    if written is not None:
        (tmp_path / "encoder.json").write_text(written)
    with pytest.raises(TrainingError, match="materialize llm_adapter again"):
        with_encoder_of(profile_with("auto"), tmp_path)


def test_a_kept_adapter_keeps_the_layers_that_were_chosen_for_it() -> None:
    theirs = {"exit_layer": 5, "first_adapted_layer": 2, "pooling": "mean", "choice": "auto"}
    release = cast(Bundle, SimpleNamespace(manifest={"config": {"encoder": theirs}}))
    found = with_encoder_of_release(profile_with("auto"), release).encoder
    assert (found.exit_layer, found.first_adapted_layer, found.pooling) == (5, 2, "mean")
    assert with_encoder_of_release(profile_with("auto"), None) == profile_with("auto")
    by_settings = cast(Bundle, SimpleNamespace(manifest={"config": {"encoder": theirs | {"choice": "set"}}}))
    assert with_encoder_of_release(profile_with("auto"), by_settings) == profile_with("auto")
    assert with_encoder_of_release(profile_with("set"), release) == profile_with("set")


def test_segments_are_embedded_by_the_layers_that_were_chosen(tmp_path: Path) -> None:
    planted = plant_platform(tmp_path / "marts", days=3)
    topics = dict(zip(planted.segment_ids.tolist(), planted.segment_topic.tolist(), strict=True))
    add_texts(tmp_path / "marts", topics)
    adapter = random_adapter(load_backbone("tiny", tmp_path, device="cpu"), tmp_path / "adapter")
    by_settings = load_profile("tiny")
    by_settings = replace(by_settings, encoder=EncoderConfig(exit_layer=2, first_adapted_layer=1, pooling="mean"))
    by_choice = replace(by_settings, encoder=EncoderConfig(exit_layer=3, first_adapted_layer=0, pooling="last", choice="auto"))
    write_encoder(by_settings.encoder, "because", adapter)

    def embedded(profile: Profile, name: str) -> list[bytes]:
        folders = {"adapter": adapter, "models": tmp_path, "cache": tmp_path / f"{name} cache", "out": tmp_path / name}
        embed_segments(tmp_path / "marts", planted.days[-1], profile.dataset, profile, **folders)
        return [(tmp_path / name / f"{kind}.npy").read_bytes() for kind in (RAW, TUNED)]

    wanted = embedded(by_settings, "set")
    assert embedded(by_choice, "auto") == wanted
