"""A tuned adapter: what it learns, what is saved with it, and when it is refused."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from livealign.errors import BackboneError, TrainingError
from livealign.llm.backbone import Backbone, load_backbone
from livealign.llm.encoder import Encoder
from livealign.llm.pooling import read_token_weights
from livealign.tuning.adapter import (
    copy_adapter,
    read_report,
    split_for_validation,
    tune_adapter,
)
from livealign.tuning.losses import whitening
from livealign.tuning.pairs import NO_USER, TextPairs, choose_pairs
from tests.planted.text_pairs import CONFIG, ENCODER, SEGMENTS, SUBJECTS, planted_marts, planted_pairs, sentence


def separation(vectors: np.ndarray, subjects: np.ndarray) -> float:
    """How far texts about one subject are closer than others, in standard deviations of the cosines seen through whitening."""
    centred = (vectors - vectors.mean(axis=0)) @ whitening(torch.from_numpy(vectors)).numpy()
    centred = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    pairs = np.triu_indices(len(vectors), 1)
    cosines, same = (centred @ centred.T)[pairs], (subjects[:, None] == subjects)[pairs]
    return float((cosines[same].mean() - cosines[~same].mean()) / cosines.std())


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Backbone:
    return load_backbone("tiny", tmp_path_factory.mktemp("models"), device="cpu")


@pytest.fixture(scope="module")
def tuned(backbone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned") / "adapter"
    return folder, tune_adapter(backbone, planted_pairs(), SEGMENTS, ENCODER, CONFIG, folder)


def test_tuning_lowers_the_loss_on_rooms_it_never_saw(tuned):
    _, report = tuned
    assert len(report.losses) == 60
    assert min(report.validation_losses) < 0.9 * report.validation_losses[0]
    assert report.validation_losses[report.validation_steps.index(report.best_step)] == min(report.validation_losses)
    assert report.tokens_per_second > 0


def test_a_tuned_embedding_tells_subjects_apart_better_than_the_raw_one(backbone, tuned):
    rng = np.random.default_rng(99)
    subjects = rng.choice(list(SUBJECTS), 240)
    texts = [sentence(subject, rng) for subject in subjects]
    raw, better = Encoder.load(backbone, tuned[0], ENCODER).encode_raw_and_tuned(texts)
    raw, better = (vectors.astype(np.float32) for vectors in (raw, better))
    assert separation(better, subjects) > 1.15 * separation(raw, subjects) > 0


def test_a_frozen_llm_keeps_its_vectors_and_gets_the_token_weights_of_the_texts(backbone, tmp_path):
    encoder, config = replace(ENCODER, pooling="telling", half_share=0.01), replace(CONFIG, steps=4)
    tune_adapter(backbone, planted_pairs(200), SEGMENTS, encoder, config, tmp_path / "tuned")
    report = tune_adapter(backbone, planted_pairs(200), SEGMENTS, encoder, replace(config, frozen=True), tmp_path / "frozen")
    assert (report.losses, report.validation_steps, report.best_step) == ([], [0], 0)
    assert torch.equal(read_token_weights(tmp_path / "frozen"), read_token_weights(tmp_path / "tuned"))
    rng = np.random.default_rng(99)
    texts = [sentence(subject, rng) for subject in SUBJECTS]
    raw, frozen = Encoder.load(backbone, tmp_path / "frozen", encoder).encode_raw_and_tuned(texts)
    np.testing.assert_array_equal(frozen, raw)
    of_tuned, tuned = Encoder.load(backbone, tmp_path / "tuned", encoder).encode_raw_and_tuned(texts)
    np.testing.assert_array_equal(raw, of_tuned)
    assert np.abs(tuned.astype(np.float32) - raw).max() > 1e-3


def test_only_the_adapter_trains(backbone, tmp_path):
    before = {name: weight.clone() for name, weight in backbone.model.state_dict().items()}
    report = tune_adapter(backbone, planted_pairs(60), SEGMENTS, ENCODER, replace(CONFIG, steps=3), tmp_path / "adapter")
    assert all(torch.equal(weight, before[name]) for name, weight in backbone.model.state_dict().items())
    assert report.trainable_parameters == 8 * (
        2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 128)
    )  # q, o; k, v; the three of the MLP


def test_the_same_seed_gives_the_same_adapter_and_another_seed_another(backbone, tmp_path):
    def tune(name: str, seed: int) -> str:
        config = replace(CONFIG, steps=3, seed=seed)
        return tune_adapter(backbone, planted_pairs(60), SEGMENTS, ENCODER, config, tmp_path / name).adapter_sha256

    assert tune("a", 1) == tune("b", 1) != tune("c", 2)
    files = [(tmp_path / name / "adapter_config.json").read_bytes() for name in "ab"]
    assert files[0] == files[1]


def test_an_adapter_reloads_to_the_same_embeddings(backbone, tuned):
    texts = planted_pairs(20).left
    first, second = (Encoder.load(backbone, tuned[0], ENCODER).encode(texts) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_what_was_done_is_saved_beside_the_adapter(backbone, tuned):
    folder, report = tuned
    assert sorted(file.name for file in folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "finetune.json",
    ]
    record = json.loads((folder / "finetune.json").read_text())
    assert record["backbone_sha256"] == backbone.sha256
    assert record["finetune"]["rank"] == CONFIG.rank
    assert read_report(folder) == report


def test_a_warm_start_begins_where_the_earlier_adapter_ended(backbone, tuned, tmp_path):
    report = tune_adapter(
        backbone, planted_pairs(), SEGMENTS, ENCODER, replace(CONFIG, steps=2), tmp_path / "warm", warm_start=tuned[0]
    )
    assert report.warm_started
    assert report.validation_losses[0] == pytest.approx(min(tuned[1].validation_losses), rel=0.02)


@pytest.mark.parametrize("change", [{"rank": 4}, {"target_modules": ("no_such",)}])
def test_an_adapter_that_does_not_fit_is_refused(backbone, tuned, tmp_path, change):
    with pytest.raises(TrainingError, match=r"target_modules|without warm start"):
        tune_adapter(
            backbone, planted_pairs(60), SEGMENTS, ENCODER, replace(CONFIG, **change), tmp_path / "x", warm_start=tuned[0]
        )


def test_a_telling_mean_is_tuned_with_its_weights_and_they_stay_with_the_adapter(backbone, tmp_path):
    encoder, config = replace(ENCODER, pooling="telling", half_share=0.01), replace(CONFIG, steps=4)
    tune_adapter(backbone, planted_pairs(200), SEGMENTS, encoder, config, tmp_path / "first")
    weights = read_token_weights(tmp_path / "first")
    said, unsaid = backbone.tokenizer("the")["input_ids"][0], backbone.tokenizer("Z")["input_ids"][0]
    assert weights[said] < 0.9
    assert weights[unsaid] == 1
    tune_adapter(backbone, planted_pairs(200), SEGMENTS, ENCODER, config, tmp_path / "mean")
    with pytest.raises(BackboneError, match="tune the adapter again"):
        Encoder.load(backbone, tmp_path / "mean", encoder)
    # Going on, what is common today does not change how yesterday's vectors were made.
    others = planted_pairs(200, seed=8)
    again = replace(config, warm_steps=2)
    tune_adapter(backbone, others, SEGMENTS, encoder, again, tmp_path / "second", warm_start=tmp_path / "first")
    copy_adapter(tmp_path / "second", tmp_path / "third")
    assert torch.equal(read_token_weights(tmp_path / "third"), weights)
    versions = {Encoder.load(backbone, tmp_path / name, encoder).version(tuned=False) for name in ("first", "second", "third")}
    assert len(versions) == 1


def test_the_last_day_is_for_validation_and_no_room_is_on_both_sides():
    segments, interactions = planted_marts(rooms=12, windows=20)
    a_day = 86_400 // SEGMENTS.window_seconds
    rooms, windows = segments["room_id"].to_numpy(), segments["window"].to_numpy()
    segments = segments.set_column(2, "window", pa.array(windows + a_day * (rooms // 4)))
    pairs = choose_pairs(segments, interactions, SEGMENTS, replace(CONFIG, steps=4))
    train, validation, on = split_for_validation(pairs, SEGMENTS, CONFIG)
    assert on == "last day"
    assert len(train) == 4 * 16
    assert len(validation) == 16
    assert train.right_window.max() < 2 * a_day <= validation.left_window.min()
    assert not set(train.left_room) & set(validation.left_room)


def test_too_few_pairs_are_an_error(backbone, tmp_path):
    with pytest.raises(TrainingError, match="more days"):
        tune_adapter(backbone, planted_pairs(1), SEGMENTS, ENCODER, CONFIG, tmp_path / "x")


def test_validation_rooms_are_never_trained_on_and_do_not_depend_on_the_number_of_pairs():
    pairs = planted_pairs(400)
    train, validation, on = split_for_validation(pairs, SEGMENTS, CONFIG)
    assert on == "rooms"
    assert not set(train.left_room) & set(validation.left_room)
    assert 0.1 < len(validation) / len(pairs) < 0.3
    fewer = split_for_validation(pairs.take(np.arange(100)), SEGMENTS, CONFIG)[1]
    assert set(fewer.left_room) == {room for room in validation.left_room if room < 100}


def test_a_pair_of_two_days_neither_trains_nor_validates_if_the_later_is_the_last():
    a_day, n = 86_400 // SEGMENTS.window_seconds, 8
    kinds = np.repeat([0, 1, 2], n)  # within the first day; across; within the last day
    rooms = np.arange(3 * n)
    left, right = np.where(kinds == 2, a_day, 5), np.where(kinds == 0, 6, a_day + 1)
    texts = [str(room) for room in rooms]
    pairs = TextPairs(texts, texts, rooms, rooms, left, right, np.full(3 * n, NO_USER))
    train, validation, on = split_for_validation(pairs, SEGMENTS, CONFIG)
    assert on == "last day"
    assert train.left_room.tolist() == rooms[kinds == 0].tolist()
    assert set(validation.left_room) <= set(rooms[kinds == 2])
    assert len(validation) > 0
