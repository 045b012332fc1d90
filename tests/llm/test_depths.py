"""One pass that stops at several layers gives what passes up to each of them give."""

import numpy as np
import pytest
from transformers import BertConfig, BertModel

from livealign.config import EncoderConfig, SegmentConfig
from livealign.llm.backbone import load_backbone
from livealign.llm.depths import encode_at_depths
from livealign.llm.encoder import Encoder
from livealign.llm.pooling import LAST, MEAN, Pooling
from livealign.llm.tiny_backbone import make_tiny_backbone

TEXTS = ["minute 0 | host: we cook noodles", "gg", "", "minute 0 | host: we cook rice today " * 4]
POOLINGS = {MEAN: Pooling(MEAN), LAST: Pooling(LAST)}


@pytest.mark.parametrize(("own_layers", "layers"), [(False, [1, 2]), (True, [1, 3])])
def test_each_layer_agrees_with_an_encoder_that_ends_there(tmp_path, own_layers, layers):
    name = "tiny"
    if own_layers:
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
        make_tiny_backbone()[1].save_pretrained(tmp_path)
        BertModel(BertConfig(vocab_size=606, **sizes)).save_pretrained(tmp_path)
        name = str(tmp_path)
    backbone = load_backbone(name, tmp_path, device="cpu")
    found = encode_at_depths(backbone, TEXTS, layers, lambda _: POOLINGS, 64)
    assert found.fused is not own_layers
    assert set(found.vectors) == {(layer, pooling) for layer in layers for pooling in POOLINGS}
    for (layer, pooling), vectors in found.vectors.items():
        config = EncoderConfig(exit_layer=layer, first_adapted_layer=0, pooling=pooling)
        expected = Encoder.load(backbone, None, config, SegmentConfig(token_budget=64)).encode(TEXTS)
        np.testing.assert_allclose(vectors, expected, rtol=1e-3, atol=2e-2 if backbone.dtype.itemsize == 2 else 1e-5)


def test_deeper_takes_more_time_and_more_weights_and_nothing_beyond_the_last_layer(tmp_path):
    backbone = load_backbone("tiny", tmp_path, device="cpu")
    found = encode_at_depths(backbone, TEXTS, [1, 2], lambda _: POOLINGS, 64)
    assert 0 < found.seconds[1] <= found.seconds[2]
    layer = sum(weight.nbytes for weight in backbone.model.layers[1].parameters())
    assert found.weight_bytes[2] - found.weight_bytes[1] == layer
    assert found.weight_bytes[2] == sum(weight.nbytes for weight in backbone.model.parameters())


def test_the_poolings_are_made_from_the_tokens_of_these_texts(tmp_path):
    backbone = load_backbone("tiny", tmp_path, device="cpu")
    given = []
    encode_at_depths(backbone, TEXTS, [1], lambda tokens: given.extend(tokens) or POOLINGS, 5)
    assert [len(row) for row in given] == [5, *(len(row) for row in given[1:])]
    assert max(map(len, given)) == 5
    assert len(given) == len(TEXTS)
