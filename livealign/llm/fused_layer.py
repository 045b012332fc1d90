"""One decoder layer for packed batches: fewer, larger matrix products.

The numbers are those of transformers' layers. Matrix products take most of the time, so query, key and value are one product
and gate and up are one, over real tokens only. A LoRA adapter is part of the product's weight, in training too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from livealign.llm.layer_ops import SILU, causal_attention, rotate_heads
from livealign.llm.matmul import Product
from livealign.llm.packing import PackedBatch
from livealign.llm.picture_reading import in_pictures

Norm = Callable[[Tensor], Tensor]  # [..., width] → [..., width]
HeadNorms = tuple[Norm, Norm]  # of queries and of keys
Rotations = Mapping[str, tuple[Tensor, Tensor]]  # by name: cosine and sine of each node, [n, 1, rotated / 2]


@dataclass(frozen=True)
class FusedLayer:
    """RMSNorm, attention, RMSNorm, gated MLP.

    Llama (Touvron et al. 2023, section 2.2), and what later models changed in it.
    """

    qkv: Product
    output: Product
    gate_up: Product
    down: Product
    attention_norm: Norm
    mlp_norm: Norm
    heads: int
    kv_heads: int
    head_size: int
    scale: float
    activation: str = SILU
    head_norms: HeadNorms | None = None  # Qwen3, Gemma 3
    after_attention: Norm | None = None  # of what is added to the residual stream: Gemma 3
    after_mlp: Norm | None = None
    rotation: str | None = ""  # name of the rotation; None: this layer has none (SmolLM3)
    window: int | None = None  # how many tokens a token sees; None: all before it
    both_ways: bool = False  # whether the tokens of a picture see each other: Gemma 3 with vision

    def attend(self, hidden: Tensor, batch: PackedBatch, rotations: Rotations) -> Tensor:
        """hidden [n, hidden] with its attention added."""
        qkv = self.qkv(self.attention_norm(hidden)).view(len(hidden), -1, self.head_size)
        if self.head_norms is not None:
            query, key, value = qkv.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
            qkv = torch.cat([self.head_norms[0](query), self.head_norms[1](key), value], dim=1)
        if self.rotation is not None:
            qkv = rotate_heads(qkv, self.heads + self.kv_heads, *rotations[self.rotation])
        attended = []
        pictures = in_pictures(batch) if self.both_ways else [None] * len(batch.groups)
        for paths, seen in zip(batch.to_paths(qkv.flatten(1)), pictures, strict=True):
            of_heads = paths.view(*paths.shape[:2], -1, self.head_size).transpose(1, 2)  # [rows, heads, length, size]
            query, key, value = of_heads.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
            means = causal_attention(query, key, value, self.scale, self.window, seen)
            attended.append(means.transpose(1, 2).flatten(2))
        nodes = batch.to_nodes(attended)
        return (
            self.output.plus(nodes, hidden) if not self.after_attention else hidden + self.after_attention(self.output(nodes))
        )

    def activations(self, hidden: Tensor) -> Tensor:
        """hidden [n, hidden] → the inputs of the MLP's last product [n, inner]."""
        return self.gate_up.gated(self.mlp_norm(hidden), self.activation)

    def __call__(self, hidden: Tensor, batch: PackedBatch, rotations: Rotations) -> Tensor:
        """Hidden states [n, hidden] after the layer."""
        hidden = self.attend(hidden, batch, rotations)
        activations = self.activations(hidden)
        return self.down.plus(activations, hidden) if not self.after_mlp else hidden + self.after_mlp(self.down(activations))
