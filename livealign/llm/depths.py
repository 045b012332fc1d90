"""Vectors of texts after several layers of a backbone, all from one forward pass.

The pass stops at each wanted layer, pools what is there, and continues from it. Vectors are the frozen backbone's.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from livealign.llm.backbone import Backbone, choose_batch_tokens
from livealign.llm.fitting import check_length
from livealign.llm.fused_layers import FusedStack, stack_of
from livealign.llm.layers import Stack, layers_path
from livealign.llm.packing import PackedBatch, pack
from livealign.llm.pooling import Pooling
from livealign.llm.prefix import tokenize

WARM_UP_TEXTS = 8  # read before the clock starts: libraries prepare their products on first use


@dataclass(frozen=True)
class Depths:
    """The results of one pass: vectors, time and memory by number of layers."""

    vectors: dict[tuple[int, str], np.ndarray]  # (layers run, pooling) → float32 [texts, hidden]
    seconds: dict[int, float]  # layers run → processor time of all texts, tokenizer included
    weight_bytes: dict[int, int]  # layers run → bytes of the weights that such a pass reads
    fused: bool  # False: transformers' own layers


def encode_at_depths(
    backbone: Backbone,
    texts: Sequence[str],
    layers: Sequence[int],
    poolings: Callable[[list[list[int]]], Mapping[str, Pooling]],
    budget: int,
    advance: Callable[[int, int], None] | None = None,
) -> Depths:
    """Read each text once, up to the deepest of `layers`.

    Args:
        layers: numbers of layers, ascending, each from 1 to the backbone's depth.
        poolings: from the texts' token ids to poolings by name.
        budget: tokens of a text.
        advance: is called with texts done and texts in all.

    Raises:
        BackboneError: the backbone cannot be run, or reads no texts of `budget` tokens.
    """
    check_length(backbone, budget)
    stack = stack_of(backbone.model, last=layers[-1])
    started = time.process_time()
    tokens = tokenize(backbone, texts, budget)
    tokenizing = time.process_time() - started
    ways = poolings(tokens)
    vectors = {(layer, name): np.empty((len(texts), backbone.hidden_size), np.float32) for layer in layers for name in ways}
    spent = dict.fromkeys(layers, 0.0)
    done, most = 0, choose_batch_tokens(backbone.device, backbone.dtype)
    with torch.inference_mode():
        for _, batch in pack(tokens[:WARM_UP_TEXTS], most, stack.causal, backbone.device):
            stack.run(stack.embed(batch), batch, 0, layers[-1])
        for rows, batch in pack(tokens, most, stack.causal, backbone.device):
            for layer, hidden, seconds in _states(stack, batch, layers):
                spent[layer] += seconds
                for name, pooling in ways.items():
                    vectors[layer, name][rows] = pooling(batch, hidden).cpu().numpy()
            done += len(rows)
            if advance:
                advance(done, len(texts))
    so_far = np.cumsum([spent[layer] for layer in layers]).tolist()
    return Depths(
        vectors,
        {layer: tokenizing + seconds for layer, seconds in zip(layers, so_far, strict=True)},
        {layer: weight_bytes(backbone.model, layer) for layer in layers},
        isinstance(stack, FusedStack),
    )


def _states(stack: Stack, batch: PackedBatch, layers: Sequence[int]) -> Iterator[tuple[int, Tensor, float]]:
    """(layers run, hidden states, processor time since the layer before) at each of `layers`."""
    started = time.process_time()
    hidden, first = stack.embed(batch), 0
    for layer in layers:
        hidden = stack.run(hidden, batch, first, layer)
        if hidden.is_cuda:
            torch.cuda.synchronize(hidden.device)
        yield layer, hidden, time.process_time() - started
        started, first = time.process_time(), layer


def weight_bytes(model: nn.Module, layers: int) -> int:
    """Bytes of the weights of a pass through the first `layers`; a shared weight counts once."""
    stacked: Any = model.get_submodule(layers_path(model))
    unread = {id(weight) for layer in stacked[layers:] for weight in layer.parameters()}
    return sum(weight.nbytes for weight in model.parameters() if id(weight) not in unread)
