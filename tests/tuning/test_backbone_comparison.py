"""Comparing backbones, layers and poolings, and choosing among them."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest

from livealign.config import EncoderConfig, SegmentConfig
from livealign.llm.backbone import load_backbone
from livealign.llm.fitting import layers_of
from livealign.profiles import load_profile
from livealign.setting_types import toml_text
from livealign.tuning.backbone_comparison import Candidate, choose, compare_layers, counted_words, within_noise
from livealign.tuning.comparison_sample import choose_windows
from livealign.tuning.content_measures import Measures, chance_of
from tests.planted.broadcasts import planted_broadcasts

NOISE = np.random.default_rng(0).normal(0, 0.05, 40)


def candidate(layers: int, scores: np.ndarray, pooling: str = "mean") -> Candidate:
    return Candidate("one", layers / 10, layers, pooling, Measures(scores, np.full(40, np.nan), None), 100.0, 1_000, True)


def test_a_shallower_layer_is_chosen_only_within_the_noise_of_the_best() -> None:
    level = np.full(40, 0.5)
    worse, near, best = (
        candidate(2, level + NOISE - 0.1),
        candidate(4, level + NOISE),
        candidate(9, level + NOISE[::-1] + 0.001),
    )
    assert choose([worse, near, best]) is near
    assert choose([best, worse]) is best
    steady = candidate(4, best.measures.score - 0.001)  # worse by little, but by the same for every author: not noise
    assert choose([worse, steady, best]) is best


def test_of_one_layer_the_best_pooling_is_chosen() -> None:
    first, second = candidate(4, 0.5 + NOISE, "last"), candidate(4, 0.5 + NOISE[::-1] + 0.001, "mean")
    assert choose([first, second]) is second


def test_one_author_or_none_of_a_difference_is_no_noise() -> None:
    assert within_noise(np.zeros(1))
    assert not within_noise(np.full(1, 0.1))


def test_subjects_in_words_are_found_above_chance_and_every_way_is_measured(tmp_path) -> None:
    profile = load_profile("tiny")
    sample = choose_windows(planted_broadcasts(), SegmentConfig(), 96, seed=1)
    backbone = load_backbone("tiny", tmp_path, device="cpu")
    steps: list[tuple[int, int]] = []
    found = compare_layers(
        backbone,
        "tiny",
        sample,
        profile.segments,
        profile.encoder,
        profile.finetune,
        lambda done, total: steps.append((done, total)),
    )
    assert {(one.layers, one.pooling) for one in found} == {
        (layers, pooling) for layers in (1, 2) for pooling in ("mean", "last", "telling")
    }
    assert steps[-1] == (96, 96)
    best, chance = max(found, key=lambda one: one.score), chance_of(sample)
    assert best.pooling == "telling"  # most words of a planted sentence are fillers
    assert best.measures.half_to_half.mean() > 2 * chance.half_to_half
    again = compare_layers(backbone, "tiny", sample, profile.segments, profile.encoder, profile.finetune)
    assert [one.score for one in again] == [one.score for one in found]


def test_counted_words_find_what_says_the_same_words_and_nothing_in_other_words() -> None:
    sample = choose_windows(planted_broadcasts(), SegmentConfig(), 96, seed=1)
    chance = chance_of(sample)
    assert counted_words(sample).half_to_half.mean() > 2 * chance.half_to_half
    telling = replace(sample, texts=[f"minute 0 | host: name{room} and so on {row}" for row, room in enumerate(sample.room)])
    assert counted_words(telling).half_to_half.min() == 1.0
    unlike = replace(sample, texts=[f"minute 0 | host: word{row} other{row}" for row in range(96)])
    assert counted_words(unlike).half_to_half.mean() < 1.2 * chance.half_to_half


@pytest.mark.parametrize(("share", "layers"), [(0.1, 3), (0.33, 10), (1.0, 30)])
def test_the_settings_can_be_read_and_give_the_layer(share: float, layers: int, tmp_path, monkeypatch) -> None:
    chosen = replace(candidate(layers, NOISE, "last"), share=share, backbone='my "model"\n')
    read = tomllib.loads(chosen.settings())
    assert read["backbone"] == 'my "model"\n'
    backbone = load_backbone("tiny", tmp_path, device="cpu")
    monkeypatch.setattr(type(backbone), "n_layers", 30)
    encoder = EncoderConfig(**read["encoder"])
    first, last = layers_of(backbone, encoder)
    assert last == layers
    assert first == layers // 3
    assert encoder.pooling == "last"


def test_a_string_of_toml_is_read_back_as_it_was() -> None:
    for text in ("a\\b", 'say "hi"', "tab\t and \x00 and \U0001f680", "модель"):
        assert tomllib.loads(f"x = {toml_text(text)}") == {"x": text}
