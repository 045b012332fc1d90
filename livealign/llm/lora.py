"""LoRA as part of the weight while it is trained.

Source: Hu et al. 2021. peft computes W x and s B A x separately, which reads and writes every activation several times. Here
the weight W + s B A is computed once for each pass, there is one product, and only the backward pass separates A and B. The
model in training is then also the model that is served: an adapter merged into weights of the same number type.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from livealign.llm.matmul import Product


@dataclass(frozen=True)
class LoraPart:
    """The adapter of one linear module.

    `down` [rank, inputs] and `up` [outputs, rank] are trained in float32.
    """

    down: nn.Parameter
    up: nn.Parameter
    scale: float


def lora_part(module: Any) -> LoraPart | None:
    """The adapter that peft put on a linear module, or None."""
    if not hasattr(module, "lora_A"):
        return None
    return LoraPart(module.lora_A["default"].weight, module.lora_B["default"].weight, module.scaling["default"])


class LoraProduct(Product):
    """[n, inputs] → [n, outputs] by a frozen weight whose outputs may each carry an adapter.

    `weight` [outputs of all parts, inputs]; `outputs` and `parts` name its row blocks, None where a block has no adapter.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, outputs: list[int], parts: list[LoraPart | None]) -> None:
        super().__init__(weight, bias)
        self.outputs, self.parts = outputs, parts

    def __call__(self, rows: Tensor) -> Tensor:
        down = torch.cat([part.down for part in self.parts if part])
        blocks = [
            part.scale * part.up if part else down.new_zeros(outputs, 0)
            for part, outputs in zip(self.parts, self.outputs, strict=True)
        ]
        product: Tensor = _MergedProduct.apply(rows, self.weight, self.bias, down, torch.block_diag(*blocks))
        return product


class _MergedProduct(torch.autograd.Function):
    """rows (W + U D)ᵀ + bias. The gradients are those of the unmerged form; W itself gets none."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor) -> Tensor:
        merged = torch.addmm(weight, up.to(weight.dtype), down.to(weight.dtype))
        ctx.save_for_backward(rows, merged, down, up)
        return F.linear(rows, merged, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        rows, merged, down, up = ctx.saved_tensors
        of_rows = gradient @ merged if ctx.needs_input_grad[0] else None
        of_down = (gradient @ up.to(gradient.dtype)).T @ rows
        of_up = gradient.T @ (rows @ down.to(rows.dtype).T)
        return of_rows, None, None, of_down.to(down.dtype), of_up.to(up.dtype)
