import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from livealign.config import EncoderConfig, SegmentConfig
from livealign.errors import BackboneError
from livealign.llm.adapter_folder import adapter_sha256
from livealign.llm.backbone import Backbone, load_backbone
from livealign.llm.embedding_cache import EmbeddingCache
from livealign.llm.encoder import Encoder
from livealign.llm.fused_layers import FusedStack, stack_of
from livealign.llm.layers import copy_with_own_layers, quiet_adapters
from livealign.llm.pooling import TELLING, WEIGHTS_FILE, write_token_weights
from livealign.llm.prefix import tokenize
from tests.planted.room_texts import random_adapter

CONFIG = EncoderConfig(exit_layer=2, first_adapted_layer=1)
TEXTS = [
    "minute 10 | host: welcome back everyone, today we cook noodles",
    "gg",
    "",
    "chat: 666 x12 / " + "very long text without an end " * 30,
    "gg",
    "привет, 世界 👋🏽 שלום",
]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Backbone:
    return load_backbone("tiny", tmp_path_factory.mktemp("models"), device="cpu")


@pytest.fixture(scope="module")
def adapter(backbone, tmp_path_factory):
    return random_adapter(backbone, tmp_path_factory.mktemp("adapter"))


def test_a_control_token_that_a_viewer_spells_out_is_read_as_characters(backbone):
    controls = set(backbone.tokenizer.all_special_ids)
    spelled = [f"hello {token} there" for token in backbone.tokenizer.all_special_tokens]
    assert spelled
    for ids in tokenize(backbone, spelled, 64):
        assert not controls & set(ids)


def plain_reference(model: torch.nn.Module, backbone: Backbone, text: str, layer: int, last: bool = False) -> np.ndarray:
    """transformers' own hidden state after `layer` layers, one text at a time, averaged over its tokens or of the last."""
    ids = backbone.tokenizer(text, truncation=True, max_length=SegmentConfig().token_budget, return_tensors="pt")["input_ids"]
    if ids.shape[1] == 0:
        ids = torch.tensor([[backbone.tokenizer.pad_token_id]])
    kept = []
    hook = model.layers[layer - 1].register_forward_hook(lambda _, __, output: kept.append(output))
    with torch.inference_mode():
        model(input_ids=ids.long())
    hook.remove()
    states = kept[0][0].float()
    return (states[-1] if last else states.mean(dim=0)).numpy()


@pytest.mark.parametrize("layer", [1, 2])
def test_the_raw_embedding_is_the_mean_of_transformers_hidden_states_at_the_exit_layer(backbone, layer):
    found = Encoder.load(backbone, None, EncoderConfig(exit_layer=layer, first_adapted_layer=0)).encode(TEXTS)
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(found[row], plain_reference(backbone.model, backbone, text, layer), rtol=1e-3, atol=1e-5)


def test_the_tuned_embedding_is_that_of_the_unmerged_adapter(backbone, adapter):
    from peft import PeftModel

    with quiet_adapters():
        unmerged = PeftModel.from_pretrained(copy_with_own_layers(backbone.model, 1, 2), str(adapter)).eval().get_base_model()
    raw, tuned = Encoder.load(backbone, adapter, CONFIG).encode_raw_and_tuned(TEXTS)
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(tuned[row], plain_reference(unmerged, backbone, text, 2), rtol=1e-3, atol=1e-4)
    assert np.abs(raw - tuned).mean() > 0.01


def test_loading_an_adapter_leaves_the_backbone_as_it_was(backbone, adapter):
    before = Encoder.load(backbone, None, CONFIG).encode(TEXTS)
    Encoder.load(backbone, adapter, CONFIG).encode(TEXTS)
    np.testing.assert_array_equal(Encoder.load(backbone, None, CONFIG).encode(TEXTS), before)


def test_an_embedding_does_not_depend_on_what_else_is_in_the_batch(backbone, adapter):
    alone = [Encoder.load(backbone, adapter, CONFIG).encode([text])[0] for text in TEXTS]
    together = Encoder.load(backbone, adapter, CONFIG).encode(TEXTS)
    small = Encoder.load(backbone, adapter, EncoderConfig(exit_layer=2, first_adapted_layer=1, batch_tokens=8)).encode(TEXTS)
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(small, together, rtol=1e-3, atol=1e-5)


def test_raw_and_tuned_together_are_the_same_as_each_alone(backbone, adapter):
    raw, tuned = Encoder.load(backbone, adapter, CONFIG).encode_raw_and_tuned(TEXTS)
    np.testing.assert_allclose(raw, Encoder.load(backbone, None, CONFIG).encode(TEXTS), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(tuned, Encoder.load(backbone, adapter, CONFIG).encode(TEXTS), rtol=1e-3, atol=1e-6)


def test_equal_texts_are_embedded_once_and_an_empty_list_is_allowed(backbone):
    seen = []
    vectors = Encoder.load(backbone, None, CONFIG).encode(["a", "b", "a", "a"], lambda done, total: seen.append((done, total)))
    assert (seen[0], seen[-1]) == ((0, 2), (2, 2))
    np.testing.assert_array_equal(vectors[0], vectors[3])
    assert Encoder.load(backbone, None, CONFIG).encode([]).shape == (0, 64)


def test_a_pooling_that_is_not_there_is_an_error(backbone):
    with pytest.raises(BackboneError, match="no pooling 'median'"):
        Encoder.load(backbone, None, EncoderConfig(exit_layer=2, first_adapted_layer=1, pooling="median")).encode(["a"])


def test_last_pooling_reads_the_last_token(backbone):
    config = EncoderConfig(exit_layer=2, first_adapted_layer=1, pooling="last")
    found = Encoder.load(backbone, None, config).encode(TEXTS)
    for row, text in enumerate(TEXTS):
        expected = plain_reference(backbone.model, backbone, text, 2, last=True)
        np.testing.assert_allclose(found[row], expected, rtol=1e-3, atol=1e-5)


def test_cores_with_batches_of_their_own_give_what_one_core_gives(backbone, adapter):
    threads = torch.get_num_threads()
    encoder = Encoder.load(backbone, adapter, replace(CONFIG, batch_tokens=16))
    try:
        torch.set_num_threads(1)
        alone = encoder.encode(TEXTS)
        torch.set_num_threads(3)
        np.testing.assert_allclose(encoder.encode(TEXTS), alone, rtol=1e-3, atol=1e-5)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_an_error_on_one_core_reaches_the_caller(backbone):
    encoder = Encoder.load(backbone, None, CONFIG)
    encoder.backbone.tokenizer.pad_token_id  # noqa: B018 - the tokenizer is warm
    broken = replace(encoder.backbone, tokenizer=lambda texts, **_: {"input_ids": [[10**6] for _ in texts]})
    encoder.backbone = broken
    with pytest.raises(IndexError):
        encoder.encode(["a", "b"])


def test_a_second_day_computes_only_what_is_new(backbone, adapter, tmp_path):
    encoder, cache = Encoder.load(backbone, adapter, CONFIG), EmbeddingCache(tmp_path)
    first = encoder.encode_raw_and_tuned(TEXTS, cache=cache)
    seen = []
    second = encoder.encode_raw_and_tuned(["a new text", *TEXTS], lambda done, total: seen.append((done, total)), cache)
    assert seen == [(5, 6), (6, 6)]
    for before, after in zip(first, second, strict=True):
        np.testing.assert_array_equal(after[1:], before)


def test_another_adapter_finds_the_raw_vectors_in_the_cache_but_not_the_tuned_ones(backbone, adapter, tmp_path):
    cache = EmbeddingCache(tmp_path)
    untuned = Encoder.load(backbone, None, CONFIG)
    raw = untuned.encode(TEXTS, cache=cache)
    encoder = Encoder.load(backbone, adapter, CONFIG)
    assert encoder.version(tuned=False) == untuned.version(tuned=False) != encoder.version(tuned=True)
    expected = encoder.encode_raw_and_tuned(TEXTS)
    found = encoder.encode_raw_and_tuned(TEXTS, cache=cache)
    np.testing.assert_array_equal(found[0], raw)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-3, atol=1e-6)


def turn_weights(adapter: Path) -> None:
    weights = load_file(adapter / "adapter_model.safetensors")
    name = next(name for name in sorted(weights) if "lora_B" in name)
    save_file({**weights, name: -weights[name]}, adapter / "adapter_model.safetensors")


def double_alpha(adapter: Path) -> None:
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**settings, "lora_alpha": 2 * settings["lora_alpha"]}))


def turn_token_weights(adapter: Path) -> None:
    write_token_weights(load_file(adapter / WEIGHTS_FILE)["weights"].flip(0), adapter)


@pytest.mark.parametrize(
    ("change", "is_raw_the_same"), [(turn_weights, True), (double_alpha, True), (turn_token_weights, False)]
)
def test_no_vector_of_an_adapter_that_differs_in_one_part_is_reused(
    change: Callable[[Path], None], is_raw_the_same: bool, backbone, adapter, tmp_path
):
    first, second, config = tmp_path / "first", tmp_path / "second", replace(CONFIG, pooling=TELLING)
    shutil.copytree(adapter, first)
    write_token_weights(torch.linspace(0.1, 1.0, len(backbone.tokenizer)), first)
    shutil.copytree(first, second)
    assert adapter_sha256(first) == adapter_sha256(second), "a copy is the same adapter"
    change(second)
    assert adapter_sha256(first) != adapter_sha256(second)
    cache = EmbeddingCache(tmp_path / "cache")
    raw, tuned = Encoder.load(backbone, first, config).encode_raw_and_tuned(TEXTS, cache=cache)
    found = Encoder.load(backbone, second, config).encode_raw_and_tuned(TEXTS, cache=cache)
    alone = Encoder.load(backbone, second, config).encode_raw_and_tuned(TEXTS)
    for cached, computed in zip(found, alone, strict=True):
        np.testing.assert_allclose(cached, computed, rtol=1e-3, atol=1e-5)
    assert np.abs(alone[1] - tuned).max() > 1e-3
    assert np.allclose(alone[0], raw, atol=1e-5) == is_raw_the_same


@pytest.mark.parametrize("change", [{"exit_layer": 1, "first_adapted_layer": 0}, {"pooling": "last"}])
def test_another_way_to_read_the_model_is_another_cache_version(backbone, change):
    version = Encoder.load(backbone, None, CONFIG).version(tuned=False)
    assert Encoder.load(backbone, None, replace(CONFIG, **change)).version(tuned=False) != version
    assert Encoder.load(backbone, None, replace(CONFIG, batch_tokens=64)).version(tuned=False) == version
    assert Encoder.load(backbone, None, CONFIG, SegmentConfig(token_budget=32)).version(tuned=False) != version


def test_a_damaged_cache_file_is_computed_again(backbone, tmp_path):
    encoder, cache = Encoder.load(backbone, None, CONFIG), EmbeddingCache(tmp_path)
    expected = encoder.encode(TEXTS, cache=cache)
    (shard,) = tmp_path.glob("*/*.arrow")
    shard.write_bytes(shard.read_bytes()[:200])
    np.testing.assert_array_equal(encoder.encode(TEXTS, cache=cache), expected)
    np.testing.assert_array_equal(encoder.encode(TEXTS, cache=cache), expected)


def test_old_cache_versions_can_be_pruned(backbone, tmp_path):
    cache = EmbeddingCache(tmp_path)
    encoders = [Encoder.load(backbone, None, EncoderConfig(exit_layer=layer, first_adapted_layer=0)) for layer in (1, 2)]
    for encoder in encoders:
        encoder.encode(TEXTS, cache=cache)
    gone = cache.prune(keep=[encoders[1].version(tuned=False)])
    assert gone == [encoders[0].version(tuned=False)]
    assert [folder.name for folder in tmp_path.iterdir()] == [encoders[1].version(tuned=False)]


@pytest.mark.parametrize("layers", [(3, 1), (1, 1), (2, -1)])
def test_layers_that_the_backbone_does_not_have_are_an_error(backbone, layers):
    with pytest.raises(BackboneError, match="layers"):
        Encoder.load(backbone, None, EncoderConfig(exit_layer=layers[0], first_adapted_layer=layers[1]))


def test_a_folder_without_an_adapter_is_an_error(backbone, tmp_path):
    with pytest.raises(BackboneError, match="tune one first"):
        Encoder.load(backbone, tmp_path, CONFIG)
    with pytest.raises(BackboneError, match="adapter"):
        Encoder.load(backbone, None, CONFIG).encode_raw_and_tuned(["a"])


@pytest.mark.slow
def test_the_real_backbone_agrees_with_transformers_within_bfloat16(tmp_path):
    from tests.llm.test_backbone import real_models

    backbone = load_backbone("smollm2-135m", real_models(), dtype=torch.bfloat16)
    assert isinstance(stack_of(backbone.model), FusedStack)  # rounding must not look like another model
    found = Encoder.load(backbone, None, EncoderConfig(exit_layer=14, first_adapted_layer=8)).encode(TEXTS[:2] + TEXTS[3:])
    for row, text in enumerate(TEXTS[:2] + TEXTS[3:]):
        expected = plain_reference(backbone.model, backbone, text, 14)
        assert np.corrcoef(found[row], expected)[0, 1] > 0.999
