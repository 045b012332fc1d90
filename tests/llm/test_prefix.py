"""Pictures as prefix tokens: their places, their weights, and the numbers of the model's own pass."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from livealign.config import EncoderConfig, SegmentConfig
from livealign.errors import BackboneError, LiveAlignError
from livealign.llm.adapter_folder import adapter_sha256, merged
from livealign.llm.backbone import Backbone, load_backbone
from livealign.llm.embedding_cache import EmbeddingCache
from livealign.llm.encoder import Batch, Encoder
from livealign.llm.encoder_spec import EncoderSpec
from livealign.llm.fused_layers import FusedStack
from livealign.llm.layers import LayerStack, copy_with_own_layers
from livealign.llm.packing import pack_whole
from livealign.llm.pooling import TELLING, Pooling, write_token_weights
from livealign.llm.prefix import FIRST_ID, PROJECTOR_FILE, Pictures, Projector, projected, tokenize, with_prefix
from livealign.llm.ray_embedding import BlockEncoder, block_table
from tests.planted.coloured_texts import IMAGES, TOKENS, WIDTH, pictures_of
from tests.planted.room_texts import random_adapter

CONFIG = EncoderConfig(exit_layer=2, first_adapted_layer=1)
TEXTS = ["minute 10 | host: welcome back", "", "minute 10 | host: welcome back", "gg", "chat: 666 / " + "long " * 200, ""]
PICTURES = Pictures(pictures_of(["chess", "noodles"]).features, np.array([0, 1, 1, -1, 0, -1]))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Backbone:
    return load_backbone("tiny", tmp_path_factory.mktemp("models"), device="cpu")


def seeing_adapter(backbone: Backbone, folder: Path, seed: int = 3) -> Path:
    random_adapter(backbone, folder)
    Projector.fresh(backbone, PICTURES.features, TOKENS, IMAGES, seed).save(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(backbone, tmp_path_factory) -> Path:
    return seeing_adapter(backbone, tmp_path_factory.mktemp("adapter"))


def own_pass(model: torch.nn.Module, backbone: Backbone, text: str, tokens: torch.Tensor, weights=None) -> np.ndarray:
    """transformers' own states of a picture's tokens and a text behind them, alone, and their mean."""
    ids = backbone.tokenizer(text, truncation=True, max_length=SegmentConfig().token_budget)["input_ids"]
    words = model.get_input_embeddings()(torch.tensor([ids], dtype=torch.long)) if ids else torch.zeros(1, 0, tokens.shape[1])
    kept = []
    hook = model.layers[1].register_forward_hook(lambda _, __, output: kept.append(output))
    with torch.inference_mode():
        model(inputs_embeds=torch.cat([tokens[None], words], dim=1))
    hook.remove()
    weight = torch.ones(len(tokens) + len(ids))
    if weights is not None:
        weight[len(tokens) :] = weights[torch.tensor(ids, dtype=torch.long)]
    return ((weight[:, None] * kept[0][0].float()).sum(0) / weight.sum()).numpy()


def test_a_text_with_a_picture_has_the_states_of_the_models_own_pass(backbone, adapter):
    found = Encoder.load(backbone, adapter, CONFIG).encode(TEXTS, pictures=PICTURES)
    model = merged(copy_with_own_layers(backbone.model, 1, 2), adapter)
    with torch.no_grad():
        values = Projector.load(adapter, backbone.device)(torch.from_numpy(PICTURES.features))
    for row, picture in enumerate(PICTURES.row.tolist()):
        if picture >= 0:
            tokens = values[picture * TOKENS : (picture + 1) * TOKENS]
            np.testing.assert_allclose(found[row], own_pass(model, backbone, TEXTS[row], tokens), rtol=1e-3, atol=1e-4)
    assert np.abs(found[0] - found[2]).max() > 0.01  # one text, two pictures


def test_a_token_of_a_picture_has_the_weight_of_a_token_that_no_text_has(backbone, tmp_path):
    folder = seeing_adapter(backbone, tmp_path / "telling")
    weights = torch.rand(backbone.vocabulary, generator=torch.Generator().manual_seed(2))
    write_token_weights(weights, folder)
    found = Encoder.load(backbone, folder, replace(CONFIG, pooling=TELLING)).encode(TEXTS, pictures=PICTURES)
    model = merged(copy_with_own_layers(backbone.model, 1, 2), folder)
    with torch.no_grad():
        tokens = Projector.load(folder, backbone.device)(torch.from_numpy(PICTURES.features))[:TOKENS]
    np.testing.assert_allclose(found[0], own_pass(model, backbone, TEXTS[0], tokens, weights), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_the_fused_layers_and_the_models_own_pass_read_the_same_pictures(backbone, pooling):
    projector = Projector.fresh(backbone, PICTURES.features, TOKENS, IMAGES, 3)
    tokens = tokenize(backbone, TEXTS, 64, PICTURES.row, TOKENS)
    _, batch = pack_whole(tokens, True, backbone.device)
    with torch.no_grad():
        batch = with_prefix(batch, projector(torch.from_numpy(PICTURES.features)))
        fused, plain = FusedStack(backbone.model), LayerStack(backbone.model)
        assert torch.allclose(fused.embed(batch), plain.embed(batch))
        found = [stack.read(stack.embed(batch), batch, 0, 2, Pooling(pooling)) for stack in (fused, plain)]
        halves = plain.run(plain.run(plain.embed(batch), batch, 0, 1), batch, 1, 2)
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(Pooling(pooling)(batch, halves), found[1], rtol=1e-4, atol=1e-5)


def test_only_the_pictures_of_a_batch_are_projected(backbone):
    features = np.random.default_rng(1).normal(size=(40, WIDTH)).astype(np.float32)
    projector, asked = Projector.fresh(backbone, features, TOKENS, IMAGES, 3), []
    row = np.array([37, 3, -1, 37])
    _, batch = pack_whole(tokenize(backbone, ["a", "b", "c", ""], 64, row, TOKENS), True, backbone.device)
    projector.register_forward_pre_hook(lambda _, given: asked.append(len(given[0])))
    with torch.no_grad():
        found = projected(batch, projector, torch.from_numpy(features)).prefix
        expected = with_prefix(batch, projector(torch.from_numpy(features))).prefix
    assert asked == [2, 40]
    assert torch.equal(found.nodes, expected.nodes)
    torch.testing.assert_close(found.values, expected.values)
    _, blind = pack_whole(tokenize(backbone, ["a"], 64), True, backbone.device)
    assert projected(blind, projector, torch.from_numpy(features)) is blind


def test_a_vector_does_not_depend_on_what_else_is_in_the_batch(backbone, adapter):
    encoder = Encoder.load(backbone, adapter, CONFIG)
    together = encoder.encode(TEXTS, pictures=PICTURES)
    small = Encoder.load(backbone, adapter, replace(CONFIG, batch_tokens=8)).encode(TEXTS, pictures=PICTURES)
    alone = [encoder.encode([text], pictures=PICTURES.take(np.array([row])))[0] for row, text in enumerate(TEXTS)]
    # They are rounded to half precision, whose steps are up to a thousandth of a number.
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(small, together, rtol=1e-3, atol=1e-5)


def test_an_empty_text_is_read_from_its_picture_alone(backbone, adapter):
    ids = tokenize(backbone, ["", ""], 64, np.array([1, -1]), TOKENS)
    assert ids == [list(range(FIRST_ID + TOKENS, FIRST_ID + 2 * TOKENS)), tokenize(backbone, [""], 64)[0]]
    encoder = Encoder.load(backbone, adapter, CONFIG)
    chess, noodles = encoder.encode(["", ""], pictures=Pictures(PICTURES.features, np.array([0, 1])))
    assert np.abs(chess - noodles).max() > 0.01


def test_without_pictures_the_vectors_are_exactly_those_of_an_adapter_without_a_projector(backbone, adapter, tmp_path):
    blind = random_adapter(backbone, tmp_path / "blind")
    expected = Encoder.load(backbone, blind, CONFIG).encode_raw_and_tuned(TEXTS)
    encoder = Encoder.load(backbone, adapter, CONFIG)
    none = Pictures(PICTURES.features, np.full(len(TEXTS), -1))
    for pictures in (None, none):
        found = encoder.encode_raw_and_tuned(TEXTS, pictures=pictures)
        assert [one.tobytes() for one in found] == [one.tobytes() for one in expected]


def test_the_raw_vector_reads_no_picture(backbone, adapter):
    encoder = Encoder.load(backbone, adapter, CONFIG)
    raw, tuned = encoder.encode_raw_and_tuned(TEXTS, pictures=PICTURES)
    without, blind = encoder.encode_raw_and_tuned(TEXTS)
    assert raw.tobytes() == without.tobytes()
    seen = PICTURES.row >= 0
    assert (np.abs(tuned - blind)[seen].max(axis=1) > 0.01).all()
    np.testing.assert_allclose(tuned[~seen], blind[~seen], rtol=1e-3, atol=1e-5)


def test_the_cache_knows_a_text_by_its_picture_and_by_the_projector(backbone, adapter, tmp_path):
    cache, seen = EmbeddingCache(tmp_path / "cache"), []
    encoder = Encoder.load(backbone, adapter, CONFIG)
    first = encoder.encode(TEXTS, cache=cache, pictures=PICTURES)
    again = encoder.encode(TEXTS, lambda done, total: seen.append((done, total)), cache, pictures=PICTURES)
    assert seen == [(6, 6)]
    assert again.tobytes() == first.tobytes()
    blind = encoder.encode(TEXTS, cache=cache)
    assert np.abs(blind[0] - first[0]).max() > 0.01
    other = seeing_adapter(backbone, tmp_path / "other", seed=4)
    assert adapter_sha256(other) != adapter_sha256(adapter)
    assert Encoder.load(backbone, other, CONFIG).version(True) != encoder.version(True)
    assert Encoder.load(backbone, other, CONFIG).version(False) == encoder.version(False)


def test_another_process_encodes_pictures_with_the_same_bits(backbone, adapter, tmp_path):
    encoder, rooms = Encoder.load(backbone, adapter, CONFIG), np.arange(len(TEXTS))
    spec = EncoderSpec.of(encoder, adapter, tmp_path)

    class Elsewhere:
        def encode(self, encoder, texts, blocks, kinds, pictures) -> Iterator[Batch]:
            worker = BlockEncoder(spec, kinds)
            for number, rows in enumerate(blocks):
                (answer,) = worker(block_table(number, rows, texts, pictures)).to_pylist()
                yield rows, list(np.frombuffer(answer["vectors"], np.float32).reshape(len(kinds), len(rows), -1))

    threads = torch.get_num_threads()
    try:
        here = encoder.encode_raw_and_tuned(TEXTS, rooms=rooms, pictures=PICTURES)
        there = encoder.encode_raw_and_tuned(TEXTS, rooms=rooms, pictures=PICTURES, engine=Elsewhere())
    finally:
        torch.set_num_threads(threads)
    assert [one.tobytes() for one in here] == [one.tobytes() for one in there]


def test_the_bits_do_not_depend_on_how_pictures_are_numbered(backbone, adapter):
    encoder, rng = Encoder.load(backbone, adapter, CONFIG), np.random.default_rng(4)
    texts = [" ".join(rng.choice(["chess", "gg", "host:", "welcome", "666"], 9)) for _ in range(200)]
    features = pictures_of(["chess", "noodles"] * 6).features
    row, rooms = rng.integers(-1, len(features), len(texts)), np.arange(len(texts)) // 50
    # The same pictures in another order, each of them twice.
    other = np.concatenate([features[::-1], features])
    again = np.where(row < 0, -1, np.where(rng.random(len(row)) < 0.5, len(features) - 1 - row, len(features) + row))
    one = encoder.encode(texts, rooms=rooms, pictures=Pictures(features, row))
    two = encoder.encode(texts, rooms=rooms, pictures=Pictures(other, again))
    assert one.tobytes() == two.tobytes()


def test_the_projector_is_the_same_after_it_was_read_back_and_its_file_has_the_same_bytes(backbone, tmp_path):
    projector = Projector.fresh(backbone, PICTURES.features, TOKENS, IMAGES, 3)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        projector.save(tmp_path / name)
    assert (tmp_path / "one" / PROJECTOR_FILE).read_bytes() == (tmp_path / "two" / PROJECTOR_FILE).read_bytes()
    loaded = Projector.load(tmp_path / "one", backbone.device)
    features = torch.from_numpy(PICTURES.features)
    assert (loaded.tokens, loaded.images, loaded.width) == (TOKENS, IMAGES, WIDTH)
    assert torch.equal(loaded(features), projector(features))
    length = backbone.model.get_input_embeddings().weight.float().square().mean().sqrt()
    assert float(loaded(features).square().mean().sqrt()) == pytest.approx(float(length), rel=0.2)


def test_pictures_that_an_adapter_cannot_read_and_damaged_projectors_are_errors(backbone, adapter, tmp_path):
    encoder = Encoder.load(backbone, adapter, CONFIG)
    with pytest.raises(BackboneError, match="5 features, the adapter reads 12; use its own image encoder"):
        encoder.encode(["a"], pictures=Pictures(np.ones((1, 5), np.float32), np.array([0])))
    blind = Encoder.load(backbone, random_adapter(backbone, tmp_path / "blind"), CONFIG)
    with pytest.raises(BackboneError, match=r"tuned without pictures; set frames\.prefix_tokens"):
        blind.encode(TEXTS, pictures=PICTURES)
    with pytest.raises(BackboneError, match="at most 508 tokens of a text; set it to 508"):
        Encoder.load(backbone, adapter, CONFIG, SegmentConfig(token_budget=512))
    damaged = random_adapter(backbone, tmp_path / "damaged")
    (damaged / PROJECTOR_FILE).write_bytes(b"no tensors")
    with pytest.raises(BackboneError, match=r"projector\.safetensors cannot be read .* tune the adapter again"):
        Encoder.load(backbone, damaged, CONFIG)
    save_file({"a": torch.ones(1)}, damaged / PROJECTOR_FILE, metadata={"livealign": json.dumps({"format": 3})})
    with pytest.raises(LiveAlignError, match="has format '3', and this code reads formats up to 2"):
        Encoder.load(backbone, damaged, CONFIG)
