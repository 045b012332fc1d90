"""Random weights of EfficientNet-Lite0, for tests without a network."""

import torch
from torch import Tensor

from livealign.frames.efficientnet import STAGES, WIDTH

CHANNELS = (16, 24, 40, 80, 112, 192, 320)  # of each stage's output


def random_weights(seed: int = 3) -> dict[str, Tensor]:
    """Weights of the network's own shapes."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}

    def convolution(name: str, norm: str, out: int, into: int, kernel: int) -> None:
        scale = (into * kernel * kernel) ** -0.5
        weights[f"{name}.weight"] = torch.randn(out, into, kernel, kernel, generator=generator) * scale * 1.5
        weights[f"{norm}.weight"] = torch.rand(out, generator=generator) + 0.5
        weights[f"{norm}.bias"] = torch.randn(out, generator=generator) * 0.3
        weights[f"{norm}.running_mean"] = torch.randn(out, generator=generator) * 0.1
        weights[f"{norm}.running_var"] = torch.rand(out, generator=generator) + 0.5

    convolution("_conv_stem", "_bn0", 32, 3, 3)
    number, width = 0, 32
    for stage, out in zip(STAGES, CHANNELS, strict=True):
        for _ in range(stage.blocks):
            at, wide = f"_blocks.{number}.", width if number == 0 else 6 * width
            if number:
                convolution(f"{at}_expand_conv", f"{at}_bn0", wide, width, 1)
            convolution(f"{at}_depthwise_conv", f"{at}_bn1", wide, 1, stage.kernel)
            convolution(f"{at}_project_conv", f"{at}_bn2", out, wide, 1)
            number, width = number + 1, out
    convolution("_conv_head", "_bn1", WIDTH, width, 1)
    return weights
