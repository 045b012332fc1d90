"""EfficientNet-Lite0: pictures to 1,280 pooled features.

Tan and Le 2019; the variant without squeeze-and-excitation and swish.

    network = EfficientNetLite0(load_file("model.safetensors"))
    network(pixels)                        # uint8 [n, 224, 224, 3] → float32 [n, 1280]

Inference alone: each batch norm is folded into the convolution before it, activations are cut in place, and pictures lie in
memory pixel by pixel (channels last), which is how oneDNN's convolutions read them. Padding is that of TensorFlow, in which
the weights were trained: where the stride is 2 the odd row goes below and to the right.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 1_280  # of the features
_EPSILON = 1e-3  # of the batch norms
_MEAN, _SPREAD = 127.0, 128.0  # of the pixels that the network was trained on


class Stage(NamedTuple):
    """Blocks of one shape, one after another."""

    blocks: int
    kernel: int
    stride: int  # of the first block


STAGES = (Stage(1, 3, 1), Stage(2, 3, 2), Stage(2, 5, 2), Stage(3, 3, 2), Stage(3, 5, 1), Stage(4, 5, 2), Stage(1, 3, 1))


class Convolution(nn.Module):
    """A convolution with its batch norm folded into it, and an activation of 0 to 6 or none."""

    def __init__(self, weight: Tensor, bias: Tensor, stride: int, cut: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self._kernel, self._stride, self._cut = weight.shape[-1], stride, cut
        self._groups = len(weight) if weight.shape[1] == 1 else 1  # depthwise: each channel alone

    def forward(self, x: Tensor) -> Tensor:
        padding = self._kernel // 2
        if self._stride > 1:
            x, padding = F.pad(x, same_padding(x.shape[-2], x.shape[-1], self._kernel, self._stride)), 0
        x = F.conv2d(x, self.weight, self.bias, self._stride, padding, groups=self._groups)
        return F.hardtanh_(x, 0.0, 6.0) if self._cut else x


class Block(nn.Module):
    """Widen, look around in each channel, narrow; what went in is added where the shape allows."""

    def __init__(self, steps: list[Convolution], skip: bool) -> None:
        super().__init__()
        self.steps, self._skip = nn.Sequential(*steps), skip

    def forward(self, x: Tensor) -> Tensor:
        out = self.steps(x)
        return out.add_(x) if self._skip else out


class EfficientNetLite0(nn.Module):
    """The network without its classifier.

    Args:
        weights: by the names of `efficientnet-lite-pytorch`.

    Raises:
        KeyError: a weight is missing.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.stem = _folded(weights, "_conv_stem", "_bn0", stride=2)
        self.blocks = nn.Sequential(*_blocks(weights))
        self.head = _folded(weights, "_conv_head", "_bn1")
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [n, 224, 224, 3] → float32 [n, WIDTH]."""
        x = pixels.permute(0, 3, 1, 2).to(self.stem.weight.dtype)  # channels last as it lies
        x = self.head(self.blocks(self.stem(x.sub_(_MEAN).div_(_SPREAD))))
        return x.float().mean(dim=(2, 3))


def same_padding(height: int, width: int, kernel: int, stride: int) -> tuple[int, int, int, int]:
    """Zeros to the left, right, above and below, as TensorFlow's "same"."""

    def sides(size: int) -> tuple[int, int]:
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2

    return (*sides(width), *sides(height))


def _blocks(weights: Mapping[str, Tensor]) -> list[Block]:
    blocks: list[Block] = []
    for stage in STAGES:
        for number in range(stage.blocks):
            at, stride = f"_blocks.{len(blocks)}.", stage.stride if number == 0 else 1
            steps = [_folded(weights, f"{at}_expand_conv", f"{at}_bn0")] if f"{at}_expand_conv.weight" in weights else []
            steps.append(_folded(weights, f"{at}_depthwise_conv", f"{at}_bn1", stride))
            steps.append(_folded(weights, f"{at}_project_conv", f"{at}_bn2", cut=False))
            first, last = steps[0].weight, steps[-1].weight
            width_in = first.shape[1] if first.shape[1] > 1 else len(first)
            blocks.append(Block(steps, skip=stride == 1 and width_in == len(last)))
    return blocks


def _folded(weights: Mapping[str, Tensor], convolution: str, norm: str, stride: int = 1, cut: bool = True) -> Convolution:
    scale = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + _EPSILON).sqrt()
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    return Convolution(weights[f"{convolution}.weight"] * scale[:, None, None, None], bias, stride, cut)
