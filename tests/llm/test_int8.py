"""Products in int8 against the float ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from livealign.config import AUTO, INT8, EncoderConfig
from livealign.errors import BackboneError
from livealign.llm import encoder, int8
from livealign.llm.backbone import Backbone, int8_serves, load_backbone
from livealign.llm.encoder import Encoder, tokenize
from livealign.llm.encoder_spec import EncoderSpec
from livealign.llm.int8 import LINES, Int8Product, NormedInt8Product, with_int8
from livealign.llm.layer_ops import GELU, SILU
from livealign.llm.layers import LayerStack
from livealign.llm.matmul import Product
from livealign.llm.pooling import MEAN, Pooling
from livealign.llm.prefix import Projector
from livealign.llm.tiny_backbone import make_tiny_backbone
from tests.planted.room_texts import random_adapter, room_texts

FLOATS = EncoderConfig(exit_layer=2, first_adapted_layer=1)
INTEGERS = replace(FLOATS, number_type=INT8)
TEXTS = [f"room {number} | host: {word} again" for number in range(6) for word in ("ramen", "guitar", "чат", "a new patch")]
WEIGHT = torch.randn(48, 32, generator=torch.Generator().manual_seed(1)) / 6
ROWS = torch.randn(7, 32, generator=torch.Generator().manual_seed(2)).bfloat16()
TERM = torch.randn(7, 48, generator=torch.Generator().manual_seed(3)).bfloat16()
BIAS = torch.linspace(-1, 1, 48).bfloat16()
STEP = float(ROWS.abs().max()) / 126
MASSIVE = 5

needs_int8 = pytest.mark.skipif(not int8_serves(), reason="this processor has no products of int8")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return load_backbone("tiny", tmp_path_factory.mktemp("models"), "cpu", torch.bfloat16)


def error_of_rows(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Length of each row's difference, in lengths of the row."""
    return (found.float() - wanted.float()).norm(dim=1) / wanted.float().norm(dim=1)


def least_cosine(found: np.ndarray, wanted: np.ndarray) -> float:
    one, other = found - wanted.mean(0), wanted - wanted.mean(0)
    return float(((one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)).min())


@needs_int8
@pytest.mark.parametrize("bias", [None, BIAS])
def test_a_product_in_int8_is_that_in_floats_within_its_steps(bias: torch.Tensor | None) -> None:
    plain = Product(WEIGHT, None if bias is None else bias.float())
    product = Int8Product(WEIGHT, bias)
    assert error_of_rows(product(ROWS), plain(ROWS.float())).max() < 0.02
    assert error_of_rows(product.plus(ROWS, TERM), plain.plus(ROWS.float(), TERM.float())).max() < 0.02


@needs_int8
@pytest.mark.parametrize("bias", [None, BIAS])
def test_a_product_of_normed_rows_is_that_in_floats_within_its_steps(bias: torch.Tensor | None) -> None:
    plain = Product(WEIGHT, None if bias is None else bias.float())
    steps = (ROWS.float() / STEP).bfloat16()
    assert error_of_rows(NormedInt8Product(WEIGHT * STEP, bias)(steps), plain(ROWS.float())).max() < 0.02
    halves = NormedInt8Product(WEIGHT * STEP, bias, halves=True)
    for activation in (SILU, GELU):
        assert error_of_rows(halves.gated(steps, activation), plain.gated(ROWS.float(), activation)).max() < 0.04


@needs_int8
def test_a_normed_number_beyond_the_steps_is_cut_and_never_wraps() -> None:
    rows = torch.tensor([[1000.0, 1.0], [-1000.0, 1.0], [126.0, -3.0]]).bfloat16()
    assert NormedInt8Product(torch.eye(2), None)(rows).tolist() == [[127.0, 1.0], [-127.0, 1.0], [126.0, -3.0]]
    assert rows[0, 0] == 1000, "the caller's rows stay"


@needs_int8
def test_each_row_has_a_scale_of_its_own() -> None:
    lengths = torch.tensor([1e-6, 1e-3, 1.0, 1e3, 1e6, 1.0, 0.0])[:, None]
    found = Int8Product(WEIGHT, None)((ROWS * lengths).bfloat16())
    assert error_of_rows(found[:6], Product(WEIGHT, None)(ROWS.float() * lengths)[:6]).max() < 0.02
    assert not found[6].any()


@needs_int8
def test_the_largest_number_of_a_row_never_wraps() -> None:
    rows = torch.linspace(1, 2, 997).bfloat16()[:, None] * torch.tensor([1.0, -1.0]).bfloat16()  # each is its row's largest
    found = Int8Product(torch.eye(2), None)(rows)
    assert (found.float() / rows.float() - 1).abs().max() < 0.02


@pytest.fixture(scope="module")
def massive(backbone: Backbone) -> Backbone:
    """The tiny model with a dimension of its stream 150 times the others, as trained models have, which its norms damp."""
    model: Any = make_tiny_backbone()[0].to(torch.bfloat16).eval()
    with torch.no_grad():
        model.embed_tokens.weight[:, MASSIVE] = 150 * model.embed_tokens.weight.std()
        for layer in model.layers:
            for norm in (layer.input_layernorm, layer.post_attention_layernorm):
                norm.weight[MASSIVE] = 1 / 150
    return replace(backbone, model=model)


@needs_int8
def test_a_massive_dimension_does_not_take_the_steps_of_the_others(massive: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Encoder.load(massive, None, FLOATS).encode(TEXTS)
    apart = 1 - least_cosine(Encoder.load(massive, None, INTEGERS).encode(TEXTS), wanted)
    assert apart < 0.01
    monkeypatch.setattr(int8, "_divisors", lambda rows, weight: torch.ones(weight.shape[1]))
    assert 1 - least_cosine(Encoder.load(massive, None, INTEGERS).encode(TEXTS), wanted) > 4 * apart


@needs_int8
def test_a_model_whose_vectors_would_be_others_is_refused(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "_whole", lambda product: product.weight.float().flip(0))
    with pytest.raises(BackboneError, match=r"this model's vectors would be others \(cosine -?0\.\d+ to those of"):
        Encoder.load(backbone, None, INTEGERS)


@needs_int8
def test_raw_and_tuned_vectors_in_int8_are_near_the_float_ones(backbone: Backbone, tmp_path: Path) -> None:
    adapter = random_adapter(backbone, tmp_path)
    floats, integers = (Encoder.load(backbone, adapter, config) for config in (FLOATS, INTEGERS))
    for wanted, found in zip(floats.encode_raw_and_tuned(TEXTS), integers.encode_raw_and_tuned(TEXTS), strict=True):
        assert not np.array_equal(found, wanted)
        assert least_cosine(found, wanted) > 0.97
    raw, tuned = integers.encode_raw_and_tuned(TEXTS)
    assert least_cosine(tuned, raw) < 0.9, "the adapter is merged into the integers"


@needs_int8
def test_vectors_in_int8_have_the_same_bits_on_any_number_of_cores_and_after_loading_again(backbone: Backbone) -> None:
    texts, rooms = room_texts(40, 60)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(Encoder.load(backbone, None, INTEGERS).encode(texts, rooms=rooms))
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(*found)


@needs_int8
def test_the_number_type_is_part_of_the_version_and_auto_changes_nothing(backbone: Backbone) -> None:
    versions = {Encoder.load(backbone, None, config).version(False) for config in (FLOATS, INTEGERS)}
    assert len(versions) == 2
    assert Encoder.load(backbone, None, replace(FLOATS, number_type=AUTO)).version(False) in versions
    spec = EncoderSpec.of(Encoder.load(backbone, None, INTEGERS), None, Path("models"))
    assert spec.load().version(False) == Encoder.load(backbone, None, INTEGERS).version(False)


@needs_int8
def test_a_model_in_float32_or_on_layers_of_its_own_is_refused(backbone: Backbone) -> None:
    with pytest.raises(BackboneError, match=r"set encoder\.number_type = auto"):
        Encoder.load(load_backbone("tiny", Path("models"), "cpu"), None, INTEGERS)
    with pytest.raises(BackboneError, match=r"set encoder\.number_type = auto"):
        with_int8(LayerStack(backbone.model), tokenize(backbone, LINES, 64))


def test_a_processor_without_int8_is_refused_in_one_line(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "int8_serves", lambda: False)
    with pytest.raises(BackboneError, match="this processor has no products of int8; set it to auto"):
        Encoder.load(backbone, None, INTEGERS)


@needs_int8
def test_a_model_that_reads_pictures_is_refused(backbone: Backbone) -> None:
    projector = Projector(12, 4, backbone.hidden_size, "an image encoder")
    with pytest.raises(BackboneError, match="reads no pictures; set it to auto"):
        Encoder(backbone, None, None, Pooling(MEAN), INTEGERS, 64, projector)
