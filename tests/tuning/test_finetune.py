import json
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from livealign.config import EncoderConfig, FinetuneConfig, SegmentConfig
from livealign.errors import BackboneError, TrainingError
from livealign.llm.backbone import Backbone, load_backbone
from livealign.llm.encoder import Encoder
from livealign.llm.fused_layers import FusedStack, stack_of
from livealign.llm.layers import LayerStack
from livealign.llm.packing import pack_whole
from livealign.llm.pooling import Pooling, read_token_weights
from livealign.tuning.adapter import (
    _adapter_parameters,
    _with_adapter,
    keep_adapter,
    read_report,
    split_for_validation,
    tune_adapter,
)
from livealign.tuning.descriptions import choose_descriptions, description_loss, read_captions
from livealign.tuning.loop import learning_rate_factor
from livealign.tuning.losses import contrastive_loss, false_negatives, whitening
from livealign.tuning.pairs import NOBODY, TextPairs, choose_pairs

ENCODER = EncoderConfig(exit_layer=2, first_adapted_layer=1)
SEGMENTS = SegmentConfig()
CONFIG = FinetuneConfig(steps=60, batch_size=16, learning_rate=5e-3, validate_every=20, validation_share=0.2, temperature=0.1)
SUBJECTS = {
    "noodles": "garlic chili boil salt egg soup",
    "chess": "knight bishop mate endgame rook pawn",
    "squats": "sets straight breathe weight rest back",
    "guitar": "chorus strings tune verse chord song",
    "travel": "train lake temple market ferry hotel",
    "makeup": "lipstick shades brush powder blush skin",
    "fishing": "rod hook bait river trout worm",
    "coding": "loop compile branch merge bug test",
    "garden": "seed soil roses prune compost shade",
    "racing": "lap pit tyre brake corner engine",
    "pottery": "clay wheel glaze kiln bowl spin",
    "space": "orbit rocket comet moon crater probe",
}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Backbone:
    return load_backbone("tiny", tmp_path_factory.mktemp("models"), device="cpu")


FILLER = [
    "the",
    "and",
    "so",
    "now",
    "you",
    "we",
    "stream",
    "lol",
    "hello",
    "everyone",
    "today",
    "again",
    "that",
    "very",
    "just",
    "let",
    "go",
]


def sentence(subject: str, rng: np.random.Generator) -> str:
    """Three words about the subject among six that are about nothing."""
    words = [*rng.choice(SUBJECTS[subject].split(), 3), *rng.choice(FILLER, 6)]
    return " ".join(rng.permutation(words))


def planted_pairs(count: int = 1_000, seed: int = 3) -> TextPairs:
    """Both sides of a pair are about one subject, in words drawn apart."""
    rng = np.random.default_rng(seed)
    subjects = rng.choice(list(SUBJECTS), count)
    rooms = np.arange(count)
    zeros = np.zeros(count, np.int64)
    left, right = ([sentence(subject, rng) for subject in subjects] for _ in range(2))
    return TextPairs(left, right, rooms, rooms, zeros, zeros, np.full(count, NOBODY))


def separation(vectors: np.ndarray, subjects: np.ndarray) -> float:
    """How far texts about one subject are closer than others, in standard deviations of the cosines seen through whitening."""
    centred = (vectors - vectors.mean(axis=0)) @ whitening(torch.from_numpy(vectors)).numpy()
    centred = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    pairs = np.triu_indices(len(vectors), 1)
    cosines, same = (centred @ centred.T)[pairs], (subjects[:, None] == subjects)[pairs]
    return float((cosines[same].mean() - cosines[~same].mean()) / cosines.std())


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
    assert separation(better, subjects) > 1.15 * separation(raw, subjects) > 0


def test_moments_of_several_texts_are_compared_by_their_means(backbone, tmp_path):
    rng = np.random.default_rng(7)
    about = rng.choice(list(SUBJECTS), 400).repeat(2)
    left, right = ([sentence(subject, rng) for subject in about] for _ in range(2))
    rooms, zeros = np.arange(400).repeat(2), np.zeros(800, np.int64)
    pairs = TextPairs(left, right, rooms, rooms, zeros, zeros, np.full(800, NOBODY), windows=2)
    report = tune_adapter(backbone, pairs, SEGMENTS, ENCODER, replace(CONFIG, steps=40), tmp_path / "adapter")
    assert report.validated_on == "rooms"
    assert min(report.validation_losses) < 0.9 * report.validation_losses[0]
    with pytest.raises(TrainingError, match="leave 1 to train on"):
        tune_adapter(
            backbone, pairs.take(np.arange(2)), SEGMENTS, ENCODER, replace(CONFIG, validation_share=0.0), tmp_path / "b"
        )


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


@pytest.mark.parametrize("dropout", [0.0, 0.1])  # the fused layers, and peft's own
def test_tuning_learns_in_bfloat16_too(tmp_path, dropout):
    backbone = load_backbone("tiny", tmp_path, device="cpu", dtype=torch.bfloat16)
    report = tune_adapter(
        backbone, planted_pairs(300), SEGMENTS, ENCODER, replace(CONFIG, steps=20, dropout=dropout), tmp_path / "adapter"
    )
    assert min(report.validation_losses) < report.validation_losses[0]


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


def test_a_loss_that_is_not_finite_is_an_error_and_leaves_the_old_adapter(backbone, tmp_path):
    out = tmp_path / "adapter"
    tune_adapter(backbone, planted_pairs(60), SEGMENTS, ENCODER, replace(CONFIG, steps=1), out)
    before = (out / "adapter_model.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="learning_rate"):
        tune_adapter(backbone, planted_pairs(60), SEGMENTS, ENCODER, replace(CONFIG, learning_rate=math.inf), out)
    assert (out / "adapter_model.safetensors").read_bytes() == before


class KilledError(Exception):
    """What a killed process looks like from within."""


def kill_at(step: int):
    def progress(done: int, _: int) -> None:
        if done == step:
            raise KilledError

    return progress


def test_a_killed_run_goes_on_and_ends_as_an_undisturbed_one(backbone, tmp_path):
    config = replace(CONFIG, steps=6, save_every=2, validate_every=2)
    undisturbed = tune_adapter(backbone, planted_pairs(60), SEGMENTS, ENCODER, config, tmp_path / "a")
    with pytest.raises(KilledError):
        tune_adapter(backbone, planted_pairs(60), SEGMENTS, ENCODER, config, tmp_path / "b", progress=kill_at(5))
    assert not (tmp_path / "b").exists()
    resumed = tune_adapter(backbone, planted_pairs(60), SEGMENTS, ENCODER, config, tmp_path / "b")
    assert (resumed.resumed_at, undisturbed.resumed_at) == (4, 0)
    assert resumed.adapter_sha256 == undisturbed.adapter_sha256
    assert resumed.losses == undisturbed.losses
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("damage", ["other input", "truncated"])
def test_a_checkpoint_that_does_not_belong_to_the_run_or_is_damaged_is_not_used(backbone, tmp_path, damage):
    config = replace(CONFIG, steps=3, save_every=1)
    with pytest.raises(KilledError):
        tune_adapter(backbone, planted_pairs(60), SEGMENTS, ENCODER, config, tmp_path / "a", progress=kill_at(2))
    state = tmp_path / "a.checkpoint" / "state.safetensors"
    pairs = planted_pairs(60, seed=4) if damage == "other input" else planted_pairs(60)
    if damage == "truncated":
        state.write_bytes(state.read_bytes()[:100])
    assert tune_adapter(backbone, pairs, SEGMENTS, ENCODER, config, tmp_path / "a").resumed_at == 0


@pytest.mark.parametrize("change", [{"chunk_tokens": 64}, {"checkpoint_layers": True}], ids=["chunks", "checkpointing"])
def test_saving_memory_changes_the_losses_by_rounding_only(backbone, tmp_path, change):
    config = replace(CONFIG, steps=3)
    whole, saving = (
        tune_adapter(backbone, planted_pairs(60), SEGMENTS, ENCODER, replace(config, **changes), tmp_path / name).losses
        for name, changes in (("whole", {}), ("saving", change))
    )
    assert saving == pytest.approx(whole, rel=1e-3)


def test_training_through_the_fused_layers_has_the_gradients_of_peft(backbone):
    model = _with_adapter(backbone, ENCODER, CONFIG, None)
    parameters = _adapter_parameters(model)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    _, batch = pack_whole([[5, 6, 7, 8], [5, 6, 9], [40, 41]], True, backbone.device)
    found = []
    stacks = [LayerStack(model.get_base_model()), stack_of(model.get_base_model())]
    for stack in stacks:
        shared = stack.run(stack.embed(batch), batch, 0, 1).detach()
        vectors = stack.read(shared, batch, 1, 2, Pooling("mean"))
        found.append(torch.autograd.grad(vectors.square().sum(), parameters))
    assert isinstance(stacks[1], FusedStack)
    for of_peft, of_fused in zip(*found, strict=True):
        assert float((of_fused - of_peft).norm()) < 1e-4 * float(of_peft.norm())


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
    keep_adapter(tmp_path / "second", tmp_path / "third")
    assert torch.equal(read_token_weights(tmp_path / "third"), weights)
    versions = {Encoder.load(backbone, tmp_path / name, encoder).version(tuned=False) for name in ("first", "second", "third")}
    assert len(versions) == 1


def test_descriptions_are_learned_beside_the_pairs(backbone, tmp_path):
    segments, _ = planted_marts()
    descriptions = choose_descriptions(segments, SEGMENTS, CONFIG)
    assert descriptions.descriptions[0].startswith("live, title of ")
    assert not any("title of" in said for said in descriptions.said)
    config = replace(CONFIG, steps=40, description_weight=0.5)
    inputs = (backbone, planted_pairs(200), SEGMENTS, ENCODER, config)
    report = tune_adapter(*inputs, tmp_path / "a", descriptions=descriptions)
    # The tiny backbone's output weights are small and frozen: no reading of it is far from log(606) = 6.41 nats.
    assert np.mean(report.description_losses[-5:]) < np.mean(report.description_losses[:3]) - 0.05
    with pytest.raises(TrainingError, match="set it to 0"):
        tune_adapter(*inputs, tmp_path / "b")


def test_the_description_loss_is_that_of_the_model_itself(backbone):
    tokens, begins = [[5, 6, 7, 8, 9], [10, 11, 12]], [2, 1]
    rows, batch = pack_whole(tokens, True, backbone.device)
    stack = stack_of(backbone.model)
    found = description_loss(backbone.model, stack.run(stack.embed(batch), batch, 0, 2), batch, [begins[row] for row in rows])
    losses = []
    for ids, begin in zip(tokens, begins, strict=True):
        logits = backbone.model(input_ids=torch.tensor([ids])).last_hidden_state[0] @ backbone.model.embed_tokens.weight.T
        losses += [-float(logits[place - 1].log_softmax(dim=0)[ids[place]]) for place in range(begin, len(ids))]
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-4)


def test_a_teachers_captions_take_the_place_of_category_and_title(tmp_path):
    segments, _ = planted_marts()
    (tmp_path / "captions.csv").write_text("segment_id,caption\n0,he adds salt\n1,\n")
    chosen = choose_descriptions(segments, SEGMENTS, CONFIG, read_captions(tmp_path / "captions.csv"))
    assert list(chosen.descriptions).count("he adds salt") == 1
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(TrainingError, match="segment_id and caption"):
        read_captions(tmp_path / "other.csv")


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


def test_tuning_stops_when_validation_no_longer_improves(backbone, tmp_path):
    config = replace(CONFIG, steps=40, learning_rate=1e-9, validate_every=2, patience=2)
    report = tune_adapter(backbone, planted_pairs(60), SEGMENTS, ENCODER, config, tmp_path / "x")
    assert len(report.losses) < 40


def test_the_loss_agrees_with_a_plain_reference():
    generator = torch.Generator().manual_seed(1)
    left, right = torch.randn(5, 8, generator=generator), torch.randn(5, 8, generator=generator)
    mask = torch.rand(10, 10, generator=generator) < 0.2
    vectors = [v / v.norm() for v in [*left, *right]]
    terms = []
    for i in range(10):
        partner = (i + 5) % 10
        kept = [j for j in range(10) if j == partner or (j != i and not mask[i, j])]
        total = sum(math.exp(float(vectors[i] @ vectors[j]) / 0.1) for j in kept)
        terms.append(math.log(total) - float(vectors[i] @ vectors[partner]) / 0.1)
    assert float(contrastive_loss(left, right, mask, 0.1)[0]) == pytest.approx(np.mean(terms), rel=1e-5)


def test_same_text_same_user_and_near_windows_are_no_negatives():
    pairs = TextPairs(
        ["a", "b", "c", "a"],
        ["e", "f", "g", "h"],
        np.array([1, 1, 1, 2]),
        np.array([5, 6, 7, 8]),
        np.array([100, 105, 200, 0]),
        np.array([0, 0, 0, 0]),
        np.array([NOBODY, 9, 9, NOBODY]),
    )
    mask = false_negatives(pairs, near_windows=20)
    assert mask[0, 1]  # one room, five windows apart
    assert not mask[0, 2]  # one room, fifty minutes apart: a hard negative
    assert mask[1, 2]  # one user
    assert mask[0, 3]  # the same text
    assert not mask[0, 7]
    assert torch.equal(mask, mask.T)


def test_validation_rooms_are_never_trained_on_and_do_not_depend_on_the_number_of_pairs():
    pairs = planted_pairs(400)
    train, validation, on = split_for_validation(pairs, SEGMENTS, CONFIG)
    assert on == "rooms"
    assert not set(train.left_room) & set(validation.left_room)
    assert 0.1 < len(validation) / len(pairs) < 0.3
    fewer = split_for_validation(pairs.take(np.arange(100)), SEGMENTS, CONFIG)[1]
    assert set(fewer.left_room) == {room for room in validation.left_room if room < 100}


def test_the_learning_rate_warms_up_and_ends_near_zero():
    factors = [learning_rate_factor(step, FinetuneConfig(steps=100, warmup_share=0.1)) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[9] == 1.0
    assert factors[-1] < 0.01


def planted_marts(rooms: int = 12, windows: int = 20) -> tuple[pa.Table, pa.Table]:
    """Rooms about one subject each; users 0..3 each love one subject and watch its rooms, the others click on nothing."""
    rng = np.random.default_rng(1)
    names = list(SUBJECTS)[:4]
    rows, views = [], []
    for room in range(rooms):
        subject = names[room % 4]
        for window in range(windows):
            words = sentence(subject, rng)
            chat = "\n".join([f"{subject} 666", sentence(subject, rng)])
            rows.append((room * 1_000 + window, room, 50 + window, window, f"title of {subject}", "live", words, chat))
        views.append((room % 4, room, room * 1_000 + windows - 1, room * 60_000, 1))
        views.append((77, room, room * 1_000, room * 60_000, 0))
    segments = ["segment_id", "room_id", "window", "segment_index", "title", "category", "speech_text", "chat_text"]
    interactions = ["user_id", "room_id", "segment_id", "shown_at", "long_view"]
    table = pa.table(dict(zip(segments, map(list, zip(*rows, strict=True)), strict=True)))
    shown = pa.table(dict(zip(interactions, map(list, zip(*views, strict=True)), strict=True)))
    return table, shown.set_column(3, "shown_at", shown["shown_at"].cast(pa.timestamp("ms")))


def test_engagement_pairs_join_what_one_user_watched_in_different_rooms():
    config = replace(CONFIG, engagement_share=1.0, neighbour_share=0.0, steps=1, batch_size=1_000)
    pairs = choose_pairs(*planted_marts(), SEGMENTS, config)
    engaged = pairs.take(np.flatnonzero(pairs.user != NOBODY))
    assert len(engaged) > 0
    assert np.all(engaged.left_room != engaged.right_room)
    assert np.all(engaged.left_room % 4 == engaged.right_room % 4)
    assert 77 not in engaged.user


def test_other_pairs_stay_in_their_room_and_never_show_the_title_on_both_sides():
    config = replace(CONFIG, engagement_share=0.0, neighbour_share=0.5, steps=10)
    pairs = choose_pairs(*planted_marts(), SEGMENTS, config)
    assert len(pairs) == math.ceil(10 * 16 / 0.8)
    np.testing.assert_array_equal(pairs.left_room, pairs.right_room)
    assert np.abs(pairs.left_window - pairs.right_window).max() <= config.neighbour_windows
    assert len(np.unique(pairs.left_window - pairs.right_window)) > 1
    assert not any("title of" in left and "title of" in right for left, right in zip(pairs.left, pairs.right, strict=True))


def test_pairs_are_the_same_for_the_same_seed():
    marts = planted_marts()
    first, second, other = (choose_pairs(*marts, SEGMENTS, CONFIG, seed).left for seed in (1, 1, 2))
    assert first == second != other


def test_segments_without_words_or_viewers_are_an_error():
    segments, interactions = planted_marts()
    silent = segments
    for name in ("title", "speech_text", "chat_text"):
        silent = silent.set_column(silent.schema.get_field_index(name), name, pa.nulls(len(silent), pa.string()))
    with pytest.raises(TrainingError, match="more days"):
        choose_pairs(silent, interactions.slice(0, 0), SEGMENTS, CONFIG)
    with pytest.raises(TrainingError, match="more days"):
        choose_pairs(segments.slice(0, 0), interactions.slice(0, 0), SEGMENTS, CONFIG)


def test_a_single_window_has_no_neighbours_but_its_views():
    segments, interactions = planted_marts()
    pairs = choose_pairs(segments.slice(0, 1), interactions.slice(0, 0), SEGMENTS, CONFIG)
    assert len(pairs) == 1
    assert pairs.left[0] != pairs.right[0]
