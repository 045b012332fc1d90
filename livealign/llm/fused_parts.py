"""Fused layers built from transformers' own: which parts are known, and what they mean.

A layer is known if all of its parts are. What a part does beyond that (a factor, an order) no name reveals:
`livealign.llm.agreement` compares the numbers.
"""

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from livealign.llm.fused_layer import FusedLayer, HeadNorms
from livealign.llm.layer_ops import GELU, SILU, rms_norm, unit_rms
from livealign.llm.lora import LoraPart, LoraProduct, lora_part
from livealign.llm.matmul import OneDnnProduct, Product, onednn_serves
from livealign.llm.picture_reading import BOTH_WAYS, reading_of

ATTENTION_PARTS = {"q_proj", "k_proj", "v_proj", "qkv_proj", "o_proj", "q_norm", "k_norm"}
MLP_PARTS = {"gate_proj", "up_proj", "gate_up_proj", "down_proj", "act_fn", "activation_fn"}
LAYER_PARTS = {
    *("self_attn", "mlp", "input_layernorm", "post_attention_layernorm"),
    *("pre_feedforward_layernorm", "post_feedforward_layernorm", "resid_attn_dropout", "resid_mlp_dropout"),
}
ONE_ROTATION = ""  # name of the rotation of a model that has a single one


class UnknownPart(Exception):
    """A layer has a part that the fused layers do not know; the message names it."""


def fused_layer(layer: Any, index: int, model: Any, differentiable: bool = False) -> FusedLayer:
    """One of transformers' layers as a fused one.

    Args:
        differentiable: whether products without a gradient are left out.

    Raises:
        UnknownPart: it cannot be fused.
    """
    _only(layer, LAYER_PARTS)
    attention, mlp = _part(layer, "self_attn"), _part(layer, "mlp")
    _only(attention, ATTENTION_PARTS)
    _only(mlp, MLP_PARTS)
    if getattr(attention, "attn_logit_softcapping", None) is not None:
        raise UnknownPart("logits of attention that are capped")
    size, activation = _part(attention, "head_dim"), _activation(mlp)
    heads, kv_heads = model.config.num_attention_heads, model.config.num_key_value_heads
    qkv = _product(_either(attention, ("q_proj", "k_proj", "v_proj"), ("qkv_proj",)))
    gate_up = _product(_either(mlp, ("gate_proj", "up_proj"), ("gate_up_proj",)))
    output, down = _product([_part(attention, "o_proj")]), _product([_part(mlp, "down_proj")])
    if len(qkv.weight) != (heads + 2 * kv_heads) * size or len(gate_up.weight) % 2:
        raise UnknownPart("projections of other sizes")
    four = hasattr(layer, "pre_feedforward_layernorm")
    before = _Norm(_part(layer, "input_layernorm"))
    middle = _Norm(_part(layer, "pre_feedforward_layernorm" if four else "post_attention_layernorm"))
    after_attention = _Norm(_part(layer, "post_attention_layernorm")).on_rows() if four else None
    after_mlp = _Norm(_part(layer, "post_feedforward_layernorm")).on_rows() if four else None
    attention_norm, mlp_norm = before.on_rows(), middle.on_rows()
    plain = not differentiable and all(type(product) is Product for product in (qkv, gate_up, output, down))
    if plain and onednn_serves(qkv.weight):
        qkv = OneDnnProduct(qkv.weight, qkv.bias, before.factor)
        gate_up = OneDnnProduct(gate_up.weight, gate_up.bias, middle.factor, halves=True)
        output, down = (OneDnnProduct(product.weight, product.bias) for product in (output, down))
        attention_norm, mlp_norm = before.without_factor(), middle.without_factor()
    return FusedLayer(
        qkv=qkv,
        output=output,
        gate_up=gate_up,
        down=down,
        attention_norm=attention_norm,
        mlp_norm=mlp_norm,
        heads=heads,
        kv_heads=kv_heads,
        head_size=size,
        scale=_part(attention, "scaling"),
        activation=activation,
        head_norms=_head_norms(attention),
        after_attention=after_attention,
        after_mlp=after_mlp,
        rotation=rotation_of(attention, index, model),
        window=_window(index, model.config),
        both_ways=reading_of(model) == BOTH_WAYS,
    )


def rotates_by_type(model: Any) -> bool:
    """Whether the model's rotary embedding differs by type of layer, as Gemma 3's does."""
    return "layer_type" in inspect.signature(model.rotary_emb.forward).parameters


def rotation_of(attention: Any, index: int, model: Any) -> str | None:
    """Name of the rotation of a layer's queries and keys; None if it has none."""
    if not getattr(attention, "use_rope", True):
        return None
    return str(model.config.layer_types[index]) if rotates_by_type(model) else ONE_ROTATION


class _Norm:
    """An RMSNorm of transformers: its epsilon, and the factor that its weight means."""

    def __init__(self, norm: Any) -> None:
        self.epsilon: float = getattr(norm, "variance_epsilon", getattr(norm, "eps", None)) or 0.0
        weight = getattr(norm, "weight", None)
        if not isinstance(weight, Tensor) or not self.epsilon or getattr(norm, "bias", None) is not None:
            raise UnknownPart(f"{type(norm).__name__}")
        row = torch.linspace(-1.0, 2.0, len(weight), device=weight.device, dtype=weight.dtype)[None]
        with torch.inference_mode():
            unit, found = unit_rms(row.float(), self.epsilon), norm(row).float()
        weight = weight.detach()
        # Gemma keeps the factor less 1. Trying the norm finds out which it is.
        choices = (weight, (1.0 + weight.float()).to(weight.dtype))
        errors = [float((unit * choice.float() - found).abs().max()) for choice in choices]
        self.factor = choices[errors[1] < errors[0]]
        if min(errors) > 0.03 * float(found.abs().max()):
            raise UnknownPart(f"{type(norm).__name__}, which is no RMSNorm")

    def on_rows(self) -> Callable[[Tensor], Tensor]:
        return partial(rms_norm, weight=self.factor, epsilon=self.epsilon)

    def without_factor(self) -> Callable[[Tensor], Tensor]:
        """For a product whose weights include the factor."""
        return partial(unit_rms, epsilon=self.epsilon)


def _head_norms(attention: Any) -> HeadNorms | None:
    if not hasattr(attention, "q_norm"):
        return None
    query, key = _Norm(attention.q_norm), _Norm(_part(attention, "k_norm"))
    if {len(query.factor), len(key.factor)} != {attention.head_dim}:
        raise UnknownPart("a norm over all heads")
    return query.on_rows(), key.on_rows()


def _window(index: int, config: Any) -> int | None:
    """The number of tokens that a token of this layer sees; None for all before it."""
    kind = config.layer_types[index] if getattr(config, "layer_types", None) else None
    window: int | None = getattr(config, "sliding_window", None)
    if kind not in (None, "full_attention", "sliding_attention"):
        raise UnknownPart(f"{kind} layers")
    return window if kind in (None, "sliding_attention") else None


def _activation(mlp: Any) -> str:
    function = getattr(mlp, "act_fn", None) or _part(mlp, "activation_fn")
    gate = torch.linspace(-4.0, 4.0, 33)
    found = function(gate)
    for name, exact in ((SILU, nn.functional.silu(gate)), (GELU, nn.functional.gelu(gate, approximate="tanh"))):
        if torch.allclose(found, exact, rtol=1e-4, atol=1e-5):
            return name
    raise UnknownPart(f"the activation {type(function).__name__}")


def _only(module: Any, known: Iterable[str]) -> None:
    unknown = [name for name, _ in module.named_children() if name not in known]
    unknown += [name for name, _ in module.named_parameters(recurse=False)]
    if unknown:
        raise UnknownPart(f"{unknown[0]} in {type(module).__name__}")


def _part(module: Any, name: str) -> Any:
    if not hasattr(module, name):
        raise UnknownPart(f"{type(module).__name__} without {name}")
    return getattr(module, name)


def _either(module: Any, names: Iterable[str], others: Iterable[str]) -> list[Any]:
    names = names if all(hasattr(module, name) for name in names) else others
    return [_part(module, name) for name in names]


def _product(modules: list[Any]) -> Product:
    """Linear modules with the same input as one product; a LoraProduct if peft adapted any of them."""
    plain = [getattr(module, "base_layer", module) for module in modules]
    for module in plain:
        if not isinstance(module, nn.Linear):
            raise UnknownPart(f"a product of type {type(module).__name__}")
    weight = _concatenate_in_place([module.weight for module in plain])
    biases = [module.bias for module in plain if module.bias is not None]
    if len(biases) not in (0, len(plain)):
        raise UnknownPart("a bias on some of the projections")
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
