"""Matrix products of 8-bit integers (oneDNN), for processors with VNNI or AMX.

Such a processor multiplies twice as many of them a second as numbers in bfloat16.

    stack = with_int8(stack, tokens)      # the fused layers of `stack`, their products in int8

A weight has one scale for each output, an activation one for each token: its norm, or its largest number. A model's stream has
a few dimensions that are ten times larger than the rest and would leave the others few of the 127 steps. So each input of a
product is divided, and its weights are multiplied, by a factor of its own (SmoothQuant: Xiao et al. 2023, equation 4). The
factors come from the largest activations of `LINES`, texts that never change: the same model gives the same products on every
machine of a kind. The division costs next to nothing: it follows the norm, or is part of the product before.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from livealign.errors import BackboneError
from livealign.llm.fused_layer import FusedLayer, Norm, Rotations
from livealign.llm.fused_layers import FusedStack
from livealign.llm.layer_ops import SILU
from livealign.llm.layers import Stack
from livealign.llm.matmul import OneDnnProduct, Product
from livealign.llm.packing import PackedBatch, pack_whole
from livealign.llm.pooling import MEAN, Pooling

LINES = (
    "Late night coding | Rust and Python | minute 10 | host: so this borrow checker error, chat asks about jobs in 2026",
    "Tonight we cook ramen and talk about the new patch. chat: gg wp / what a save! / lol x12 / first time here",
    "今天晚上直播游戏,欢迎大家 666 | 主播: 谢谢老铁的礼物,我们再来一局",
    "музыка и гитара | host: привет всем, какую песню сыграть? / ещё раз / класс",
    "¡Hola a todos! partido de fútbol en vivo ⚽ GOOOL | chat: vamos / qué golazo / jajaja",
    "cat cam 24/7 - relaxing rain sounds",
)
# Share of a dimension's range that its weights take over. Of 0.5, 0.6, 0.7 and 0.8 the nearest to bfloat16.
STRENGTH = 0.7
LARGEST = 126.0  # not 127: the scale is rounded to bfloat16, and the next step beyond 127 would wrap
FEWEST_ALIKE = 0.9  # cosine of a line's vector, less the mean of all lines, to that of the float products
INT8_FORMAT = 1  # raise it when the same model would get other products


class Int8Product(Product):
    """A product in int8: rows [n, inputs] → [n, outputs], both bfloat16.

    It is for inference only. Each row is rounded to steps of its own, a 126th of its largest number.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """Args: `weight` [outputs, inputs] in float32, with all factors of the rows in it."""
        self.bias, self._prepared = bias, _Prepared(weight, None)  # the float weight is not kept

    def __call__(self, rows: Tensor) -> Tensor:
        steps, scale = _steps(rows)
        product = self._prepared(steps).mul_(scale)
        return product if self.bias is None else product.add_(self.bias)

    def plus(self, rows: Tensor, term: Tensor) -> Tensor:
        """The product and `term` [n, outputs]."""
        steps, scale = _steps(rows)
        total = torch.addcmul(term, self._prepared(steps), scale)
        return total if self.bias is None else total.add_(self.bias)


class NormedInt8Product(Product):
    """A product in int8 of the rows that a norm gives.

    They are alike in length, so all have the same steps and come in those. Then activation, bias and factors are applied while
    a result is still in registers. A number beyond the 127 steps is cut. With `halves` only `gated` works.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, halves: bool = False) -> None:
        """Args: `weight` [outputs, inputs] in float32, with the steps and all factors of the rows in it."""
        self.bias, parts = bias, 2 if halves else 1
        biases = [None] * parts if bias is None else bias.chunk(parts)
        self._parts = [_Prepared(part, of_part) for part, of_part in zip(weight.chunk(parts), biases, strict=True)]

    def __call__(self, rows: Tensor) -> Tensor:
        return self._parts[0](_unsigned(rows.clamp(-127, 127)))

    def gated(self, rows: Tensor, activation: str = SILU) -> Tensor:
        """The product through a gated unit (`layer_ops.gated`): [n, outputs / 2]."""
        steps = _unsigned(rows.clamp(-127, 127))
        gate = self._parts[0](steps, *("swish", "") if activation == SILU else ("gelu", "tanh"))
        return self._parts[1](steps).mul_(gate)


class _Prepared:
    """A weight [outputs, inputs] in int8 and oneDNN's own order, with its scales and bias."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._scales = weight.abs().amax(1).clamp_min(1e-12) / 127
        self._bias = None if bias is None else bias.float()
        whole = (weight / self._scales[:, None]).round().to(torch.int8)
        self._weight = torch.ops.onednn.qlinear_prepack(whole, None)
        self._zeros = torch.zeros(len(whole), dtype=torch.long)

    def __call__(self, steps: Tensor, activation: str = "none", algorithm: str = "") -> Tensor:
        """Steps + 128 in uint8 [n, inputs] → bfloat16 [n, outputs]."""
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            *(steps, 1.0, 128, self._weight, self._scales, self._zeros, self._bias),
            *(1.0, 0, torch.bfloat16, activation, [], algorithm),
        )
        return product


def with_int8(stack: Stack, tokens: Sequence[Sequence[int]]) -> FusedStack:
    """The same layers with products in int8; `tokens` are those of LINES.

    Raises:
        BackboneError: the layers have no products that int8 can replace, or their vectors would be others.
    """
    if not isinstance(stack, FusedStack) or not all(_of_onednn(layer) for layer in stack.layers):
        raise BackboneError(
            "encoder.number_type = int8 needs a decoder like Llama in bfloat16 on the CPU; set encoder.number_type = auto"
        )
    _, batch = pack_whole([list(row) for row in tokens], stack.causal, next(stack.model.parameters()).device)
    fast = copy.copy(stack)
    with torch.inference_mode():
        fast.layers = _int8_layers(stack, batch)
        alike = _alike(stack, fast, batch)
    if alike < FEWEST_ALIKE:
        raise BackboneError(
            f"encoder.number_type = int8: this model's vectors would be others (cosine {alike:.2f} to those of "
            f"{stack.layers[0].qkv.weight.dtype}); set encoder.number_type = auto"
        )
    return fast


def _of_onednn(layer: FusedLayer) -> bool:
    return all(isinstance(product, OneDnnProduct) for product in (layer.qkv, layer.output, layer.gate_up, layer.down))


def _int8_layers(stack: FusedStack, batch: PackedBatch) -> list[FusedLayer]:
    """The layers in int8, each scaled by what the float layers before it give for the batch."""
    hidden, layers = stack.embed(batch), []
    rotations = stack.rotations(hidden, batch)
    for layer in stack.layers:
        layers.append(_int8_layer(layer, hidden, batch, rotations))
        hidden = layer(hidden, batch, rotations)
    return layers


def _int8_layer(layer: FusedLayer, hidden: Tensor, batch: PackedBatch, rotations: Rotations) -> FusedLayer:
    qkv, output, gate_up, down = (_whole(product) for product in (layer.qkv, layer.output, layer.gate_up, layer.down))
    attended = layer.attend(hidden, batch, rotations)
    before = _in_steps(layer.attention_norm(hidden), qkv)
    middle = _in_steps(layer.mlp_norm(attended), gate_up)
    inner = _divisors(layer.activations(attended), down)
    of_halves = torch.cat([torch.ones_like(inner), inner])  # the second half of gate_up gives the rows of `down`
    bias = None if layer.gate_up.bias is None else layer.gate_up.bias / of_halves
    return replace(
        layer,
        qkv=NormedInt8Product(qkv * before, layer.qkv.bias),
        output=Int8Product(output, layer.output.bias),
        gate_up=NormedInt8Product(gate_up / of_halves[:, None] * middle, bias, halves=True),
        down=Int8Product(down * inner, layer.down.bias),
        attention_norm=_divided(layer.attention_norm, before),
        mlp_norm=_divided(layer.mlp_norm, middle),
    )


def _in_steps(rows: Tensor, weight: Tensor) -> Tensor:
    """What each input is divided by so that rows come in steps: float32 [inputs]."""
    divisors = _divisors(rows, weight)
    return divisors * ((rows.float() / divisors).abs().max() / LARGEST)


def _whole(product: Product) -> Tensor:
    """The weight of a product in float32 [outputs, inputs], with the factors of its rows in it."""
    assert isinstance(product, OneDnnProduct)
    weight = product.weight.float()
    return weight if product.input_scale is None else weight * product.input_scale.float()


def _divisors(rows: Tensor, weight: Tensor) -> Tensor:
    """What each input is divided by: float32 [inputs]. A dimension without texts or weights counts as a small one."""
    of_rows, of_weights = rows.float().abs().amax(0), weight.abs().amax(0)
    of_rows, of_weights = (largest.clamp_min(largest.median() / 8 + 1e-6) for largest in (of_rows, of_weights))
    return of_rows**STRENGTH / of_weights ** (1 - STRENGTH)


def _divided(norm: Norm, divisors: Tensor) -> Norm:
    factors = divisors.reciprocal().to(torch.bfloat16)
    return lambda rows: norm(rows).mul_(factors)


def _steps(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in bfloat16 [n, width] as steps + 128, uint8 [n, width], and the length of a step, bfloat16 [n, 1]."""
    bits = rows.view(torch.int16).bitwise_and(0x7FFF).amax(1, keepdim=True)  # positive floats have the order of their bits
    per_unit = (LARGEST / bits.view(torch.bfloat16).float().clamp_min(1e-30)).to(torch.bfloat16)
    return _unsigned(rows * per_unit), per_unit.float().reciprocal().to(torch.bfloat16)


def _unsigned(steps: Tensor) -> Tensor:
    """Steps within ±127, rounded, + 128: oneDNN is fast with unsigned rows alone. The rows are overwritten."""
    return steps.round_().to(torch.int8).view(torch.uint8).bitwise_xor_(128)


def _alike(stack: FusedStack, fast: FusedStack, batch: PackedBatch) -> float:
    """The smallest cosine of a text's vectors by both stacks, less the mean of all texts; 0 where one is no number."""
    wanted, found = (one.read(one.embed(batch), batch, 0, len(one.layers), Pooling(MEAN)) for one in (stack, fast))
    wanted, found = wanted - wanted.mean(0), found - wanted.mean(0)
    return float(F.cosine_similarity(wanted, found).nan_to_num(nan=0.0).min())
