"""Llama layers for packed batches: fewer, larger matrix products.

The numbers are those of transformers' layers. Matrix products take most of the time, so query, key and value are one product
and gate and up are one, over real tokens only. A LoRA adapter is part of the product's weight, in training too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from livealign.llm.layer_ops import causal_attention, rms_norm, rotate_heads, unit_rms
from livealign.llm.layers import LayerStack, Stack, agrees_with
from livealign.llm.lora import LoraPart, LoraProduct, lora_part
from livealign.llm.matmul import OneDnnProduct, Product, onednn_serves
from livealign.llm.packing import PackedBatch
from livealign.llm.pooling import Pooling

Norm = Callable[[Tensor], Tensor]  # [n, hidden] → [n, hidden]


@dataclass(frozen=True)
class FusedLayer:
    """One Llama layer: RMSNorm, rotary attention, RMSNorm, SwiGLU.

    Touvron et al. 2023, section 2.2.
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

    def attend(self, hidden: Tensor, batch: PackedBatch, cosine: Tensor, sine: Tensor) -> Tensor:
        """hidden [n, hidden] with its attention added.

        cosine, sine: [n, 1, head_size / 2], the rotation of each node.
        """
        qkv = self.qkv(self.attention_norm(hidden)).view(len(hidden), -1, self.head_size)
        qkv = rotate_heads(qkv, self.heads + self.kv_heads, cosine, sine)
        attended = []
        for paths in batch.to_paths(qkv.flatten(1)):
            of_heads = paths.view(*paths.shape[:2], -1, self.head_size).transpose(1, 2)  # [rows, heads, length, size]
            query, key, value = of_heads.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
            attended.append(causal_attention(query, key, value, self.scale).transpose(1, 2).flatten(2))
        return self.output.plus(batch.to_nodes(attended), hidden)

    def activations(self, hidden: Tensor) -> Tensor:
        """hidden [n, hidden] → the inputs of the MLP's last product [n, inner]."""
        return self.gate_up.swiglu(self.mlp_norm(hidden))

    def __call__(self, hidden: Tensor, batch: PackedBatch, cosine: Tensor, sine: Tensor) -> Tensor:
        hidden = self.attend(hidden, batch, cosine, sine)
        return self.down.plus(self.activations(hidden), hidden)


class FusedStack:
    """The layers of one model as FusedLayers.

    The model's own weights become views of the fused ones, so no memory is added. Only the oneDNN products
    (`livealign.llm.matmul`) keep copies of their weights.

    `checkpoint_layers`: keep only each layer's input for the backward pass and compute the rest again.
    `last`: how many layers will be run, None for all; the rest is not built.
    """

    causal = True

    def __init__(self, model: nn.Module, checkpoint_layers: bool = False, last: int | None = None) -> None:
        plain = LayerStack(model)
        self.model: Any = model
        self.n_layers, self.hidden_size, self.checkpoint_layers = plain.n_layers, plain.hidden_size, checkpoint_layers
        self.layers = [_fused(layer) for layer in plain.layers[:last]]

    def embed(self, batch: PackedBatch) -> Tensor:
        """Layer-0 hidden states [nodes, hidden]."""
        embedded: Tensor = self.model.embed_tokens(batch.ids)
        return embedded

    def run(self, hidden: Tensor, batch: PackedBatch, first: int, last: int) -> Tensor:
        """Hidden states [nodes, hidden] after layers first..last-1."""
        rotation = self._rotation(hidden, batch)
        for layer in self.layers[first:last]:
            if self.checkpoint_layers and torch.is_grad_enabled():
                hidden = checkpoint(layer, hidden, batch, *rotation, use_reentrant=False)
            else:
                hidden = layer(hidden, batch, *rotation)
        return hidden

    def read(self, hidden: Tensor, batch: PackedBatch, first: int, last: int, pooling: Pooling) -> Tensor:
        """`run`, then one vector for each text: float32 [texts, hidden].

        Pooling and the last layer's last product are both linear, so the activations are pooled first and the product is
        computed once for each text instead of once for each token.
        """
        hidden = self.run(hidden, batch, first, last - 1)
        layer = self.layers[last - 1]
        hidden = layer.attend(hidden, batch, *self._rotation(hidden, batch))
        activations = pooling(batch, layer.activations(hidden))
        return pooling(batch, hidden) + layer.down(activations.to(hidden.dtype)).float()

    def _rotation(self, hidden: Tensor, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        """Cosine and sine of each node, [n, 1, head_size / 2]."""
        longest = max(group.nodes.shape[1] for group in batch.groups)
        cosine, sine = self.model.rotary_emb(hidden, torch.arange(longest, device=hidden.device)[None])
        half = cosine.shape[-1] // 2  # both halves of a head turn by the same angles
        return cosine[0, batch.positions, None, :half], sine[0, batch.positions, None, :half]


def stack_of(model: nn.Module, checkpoint_layers: bool = False, last: int | None = None) -> Stack:
    """The fused layers up to `last`; transformers' own if the fused ones disagree with them."""
    plain = LayerStack(model)
    if plain.causal and _looks_like_llama(plain.layers[0]):
        fused = FusedStack(model, checkpoint_layers, last)
        if agrees_with(fused, model, min(1, fused.n_layers - 1)):
            return fused
    return plain


def _looks_like_llama(layer: Any) -> bool:
    """Whether the layer has Llama's parts; `agrees_with` checks that they mean the same."""
    attention: Any = getattr(layer, "self_attn", None)
    mlp: Any = getattr(layer, "mlp", None)
    return (
        all(hasattr(attention, name) for name in ("q_proj", "k_proj", "v_proj", "o_proj", "head_dim", "scaling"))
        and all(hasattr(mlp, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn"))
        and all(hasattr(layer, name) for name in ("input_layernorm", "post_attention_layernorm"))
        and not hasattr(attention, "q_norm")
        and type(mlp.act_fn).__name__.startswith("SiLU")
    )


def _fused(layer: Any) -> FusedLayer:
    attention, mlp = layer.self_attn, layer.mlp
    size = attention.head_dim
    inputs = [attention.q_proj, attention.k_proj, attention.v_proj], [mlp.gate_proj, mlp.up_proj]
    outputs = [attention.o_proj], [mlp.down_proj]
    norms = layer.input_layernorm, layer.post_attention_layernorm
    (qkv, gate_up), (output, down) = map(_product, inputs), map(_product, outputs)
    attention_norm, mlp_norm = (partial(rms_norm, weight=norm.weight, epsilon=norm.variance_epsilon) for norm in norms)
    plain = all(type(product) is Product for product in (qkv, gate_up, output, down))
    if plain and onednn_serves(qkv.weight):
        qkv = OneDnnProduct(qkv.weight, qkv.bias, norms[0].weight)
        gate_up = OneDnnProduct(gate_up.weight, gate_up.bias, norms[1].weight, halves=True)
        output, down = (OneDnnProduct(product.weight, product.bias) for product in (output, down))
        attention_norm, mlp_norm = (partial(unit_rms, epsilon=norm.variance_epsilon) for norm in norms)
    return FusedLayer(
        qkv=qkv,
        output=output,
        gate_up=gate_up,
        down=down,
        attention_norm=attention_norm,
        mlp_norm=mlp_norm,
        heads=attention.q_proj.out_features // size,
        kv_heads=attention.k_proj.out_features // size,
        head_size=size,
        scale=attention.scaling,
    )


def _product(modules: list[Any]) -> Product:
    """Linear modules with the same input as one product; a LoraProduct if peft adapted any of them."""
    plain = [getattr(module, "base_layer", module) for module in modules]
    weight = _concatenate_in_place([module.weight for module in plain])
    biases = [module.bias for module in plain if module.bias is not None]
    bias = torch.cat(biases) if biases else None
    parts: list[LoraPart | None] = [lora_part(module) for module in modules]
    if any(parts):
        return LoraProduct(weight, bias, [module.out_features for module in plain], parts)
    return Product(weight, bias)


def _concatenate_in_place(weights: list[nn.Parameter]) -> Tensor:
    """[outputs of all, inputs]; the parameters become views of it, so that no weight is stored twice."""
    first = weights[0]
    offset, contiguous = first.storage_offset(), True
    for weight in weights:
        same = weight.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        contiguous &= same and weight.storage_offset() == offset and weight.is_contiguous()
        offset += weight.numel()
    outputs = sum(len(weight) for weight in weights)
    if contiguous:  # another stack of this model has concatenated them
        return first.detach().as_strided((outputs, first.shape[1]), (first.shape[1], 1), first.storage_offset())
    whole = torch.cat([weight.detach() for weight in weights])
    for weight, part in zip(weights, whole.split([len(weight) for weight in weights]), strict=True):
        weight.data = part
    return whole
