"""The steps of tuning: what is learned, resumed, stopped and refused."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from livealign.config import FinetuneConfig
from livealign.errors import TrainingError
from livealign.llm.backbone import Backbone, load_backbone
from livealign.llm.encoder import Encoder
from livealign.llm.fused_layers import FusedStack, stack_of
from livealign.llm.layers import LayerStack
from livealign.llm.packing import pack_whole
from livealign.llm.pooling import Pooling
from livealign.tuning.adapted_model import adapter_parameters, with_adapter
from livealign.tuning.adapter import tune_adapter
from livealign.tuning.batches import learning_rate_factor
from livealign.tuning.descriptions import choose_descriptions
from livealign.tuning.pairs import NO_USER, TextPairs
from tests.planted.text_pairs import CONFIG, ENCODER, SEGMENTS, SUBJECTS, planted_marts, planted_pairs, sentence


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Backbone:
    return load_backbone("tiny", tmp_path_factory.mktemp("models"), device="cpu")


class KilledError(Exception):
    """What a killed process looks like from within."""


def kill_at(step: int):
    def progress(done: int, _: int) -> None:
        if done == step:
            raise KilledError

    return progress


def test_moments_of_several_texts_are_compared_by_their_means(backbone, tmp_path):
    rng = np.random.default_rng(7)
    about = rng.choice(list(SUBJECTS), 400).repeat(2)
    left, right = ([sentence(subject, rng) for subject in about] for _ in range(2))
    rooms, zeros = np.arange(400).repeat(2), np.zeros(800, np.int64)
    pairs = TextPairs(left, right, rooms, rooms, zeros, zeros, np.full(800, NO_USER), windows=2)
    report = tune_adapter(backbone, pairs, SEGMENTS, ENCODER, replace(CONFIG, steps=40), tmp_path / "adapter")
    assert report.validated_on == "rooms"
    assert min(report.validation_losses) < 0.9 * report.validation_losses[0]
    with pytest.raises(TrainingError, match="leave 1 to train on"):
        tune_adapter(
            backbone, pairs.take(np.arange(2)), SEGMENTS, ENCODER, replace(CONFIG, validation_share=0.0), tmp_path / "b"
        )


@pytest.mark.parametrize("dropout", [0.0, 0.1])  # the fused layers, and peft's own
def test_tuning_learns_in_bfloat16_too(tmp_path, dropout):
    backbone = load_backbone("tiny", tmp_path, device="cpu", dtype=torch.bfloat16)
    report = tune_adapter(
        backbone, planted_pairs(300), SEGMENTS, ENCODER, replace(CONFIG, steps=20, dropout=dropout), tmp_path / "adapter"
    )
    assert min(report.validation_losses) < report.validation_losses[0]


def test_a_loss_that_is_not_finite_is_an_error_and_leaves_the_old_adapter(backbone, tmp_path):
    out = tmp_path / "adapter"
    tune_adapter(backbone, planted_pairs(60), SEGMENTS, ENCODER, replace(CONFIG, steps=1), out)
    before = (out / "adapter_model.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="learning_rate"):
        tune_adapter(backbone, planted_pairs(60), SEGMENTS, ENCODER, replace(CONFIG, learning_rate=math.inf), out)
    assert (out / "adapter_model.safetensors").read_bytes() == before


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
    model = with_adapter(backbone, ENCODER, CONFIG, None)
    parameters = adapter_parameters(model)
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


def test_tuning_stops_when_validation_no_longer_improves(backbone, tmp_path):
    config = replace(CONFIG, steps=40, learning_rate=1e-9, validate_every=2, patience=2)
    report = tune_adapter(backbone, planted_pairs(60), SEGMENTS, ENCODER, config, tmp_path / "x")
    assert len(report.losses) < 40


def test_the_learning_rate_warms_up_and_ends_near_zero():
    factors = [learning_rate_factor(step, FinetuneConfig(steps=100, warmup_share=0.1)) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[9] == 1.0
    assert factors[-1] < 0.01


def test_texts_of_one_users_engagements_are_no_negatives_of_each_other(backbone, tmp_path):
    pairs = replace(planted_pairs(60), user=np.ones(60, np.int64))
    report = tune_adapter(backbone, pairs, SEGMENTS, ENCODER, replace(CONFIG, steps=2), tmp_path / "a")
    assert report.losses == pytest.approx([0, 0], abs=1e-6)


def test_at_a_high_temperature_every_text_is_as_likely_a_partner(backbone, tmp_path):
    config = replace(CONFIG, steps=1, temperature=1e4)
    report = tune_adapter(backbone, planted_pairs(60), SEGMENTS, ENCODER, config, tmp_path / "a")
    assert report.losses == pytest.approx([math.log(2 * CONFIG.batch_size - 1)], rel=1e-3)


def test_weights_that_only_got_worse_are_not_those_that_are_saved(backbone, tmp_path):
    config = replace(CONFIG, steps=6, validate_every=2, learning_rate=1.0)
    report = tune_adapter(backbone, planted_pairs(60), SEGMENTS, ENCODER, config, tmp_path / "a")
    assert report.best_step == 0
    assert min(report.validation_losses[1:]) > report.validation_losses[0]
    raw, tuned = Encoder.load(backbone, tmp_path / "a", ENCODER).encode_raw_and_tuned(planted_pairs(5).left)
    np.testing.assert_allclose(tuned, raw, atol=1e-6)
