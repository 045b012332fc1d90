"""Matrix products with fused activation, factor and sum (oneDNN).

On a processor that multiplies bfloat16 in hardware, half of a pass would be spent between the products, where every step reads
and writes each activation once more. `OneDnnProduct` hands the activation, a factor and a sum to oneDNN, which applies them
while a result is still in registers; the norm's weights are part of its own.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from livealign.llm.layer_ops import SILU, gated


class Product:
    """A product: rows [n, inputs] → [n, outputs].

    By a weight [outputs, inputs] and a bias [outputs] or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, rows: Tensor) -> Tensor:
        return F.linear(rows, self.weight, self.bias)

    def plus(self, rows: Tensor, term: Tensor) -> Tensor:
        """The product and `term` [n, outputs]."""
        return term + self(rows)

    def gated(self, rows: Tensor, activation: str = SILU) -> Tensor:
        """The product through a gated unit (`layer_ops.gated`): [n, outputs / 2]."""
        return gated(self(rows), activation)


class OneDnnProduct(Product):
    """The same product by oneDNN, for inference only: it has no gradient.

    It keeps a copy of the weight in oneDNN's own order, multiplied by `input_scale` [inputs] if the rows come without it. With
    `halves` only `gated` works.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, input_scale: Tensor | None = None, halves: bool = False) -> None:
        super().__init__(weight, bias)
        self.input_scale = input_scale
        if input_scale is not None:
            weight = (weight.float() * input_scale.float()).to(weight.dtype)
        parts = 2 if halves else 1
        self._weights = [_operations()._reorder_linear_weight(part.contiguous(), None) for part in weight.chunk(parts)]
        self._biases: list[Tensor | None] = [None] * parts if bias is None else [*bias.chunk(parts)]

    def __call__(self, rows: Tensor) -> Tensor:
        product: Tensor = _operations()._linear_pointwise(rows, self._weights[0], self._biases[0], "none", [], "")
        return product

    def plus(self, rows: Tensor, term: Tensor) -> Tensor:
        """The product and `term` [n, outputs]."""
        total: Tensor = _operations()._linear_pointwise.binary(rows, term, self._weights[0], self._biases[0], "add")
        return total

    def gated(self, rows: Tensor, activation: str = SILU) -> Tensor:
        """The product through a gated unit (`layer_ops.gated`): [n, outputs / 2]."""
        name, algorithm = ("swish", "") if activation == SILU else ("gelu", "tanh")
        gate = _operations()._linear_pointwise(rows, self._weights[0], self._biases[0], name, [], algorithm)
        product: Tensor = _operations()._linear_pointwise.binary(rows, gate, self._weights[1], self._biases[1], "mul")
        return product


def onednn_serves(weight: Tensor) -> bool:
    """Whether oneDNN's products are available and faster: bfloat16 on a CPU that multiplies it."""
    return (
        weight.dtype == torch.bfloat16
        and weight.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and bool(_operations()._is_mkldnn_bf16_supported())
    )


def _operations() -> Any:
    """The operations that `torch.compile` emits for such products; calling them directly needs no compilation."""
    return torch.ops.mkldnn
