"""EfficientNet-Lite0: folded convolutions compute what the layers compute one after another."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from livealign.frames.efficientnet import STAGES, WIDTH, EfficientNetLite0, same_padding
from tests.planted.image_weights import random_weights


def plain(weights: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """The same network layer by layer, as its authors wrote it."""

    def layer(x: Tensor, name: str, norm: str, stride: int = 1, cut: bool = True) -> Tensor:
        weight = weights[f"{name}.weight"]
        x = F.pad(x, same_padding(x.shape[-2], x.shape[-1], weight.shape[-1], stride))
        x = F.conv2d(x, weight, stride=stride, groups=len(weight) if weight.shape[1] == 1 else 1)
        parts = (weights[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        x = F.batch_norm(x, *parts, eps=1e-3)
        return F.relu6(x) if cut else x

    x = layer((pixels.permute(0, 3, 1, 2).float() - 127) / 128, "_conv_stem", "_bn0", 2)
    number = 0
    for stage in STAGES:
        for first in [True, *[False] * (stage.blocks - 1)]:
            at, before = f"_blocks.{number}.", x
            if number:
                x = layer(x, f"{at}_expand_conv", f"{at}_bn0")
            x = layer(x, f"{at}_depthwise_conv", f"{at}_bn1", stage.stride if first else 1)
            x = layer(x, f"{at}_project_conv", f"{at}_bn2", cut=False)
            x = x + before if not first else x
            number += 1
    return layer(x, "_conv_head", "_bn1").mean(dim=(2, 3))


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.randint(0, 256, (2, 224, 224, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def test_folding_changes_nothing_but_rounding(pixels: Tensor) -> None:
    weights = random_weights()
    with torch.inference_mode():
        mine, theirs = EfficientNetLite0(weights)(pixels), plain(weights, pixels)
    assert mine.shape == (2, WIDTH)
    assert float(theirs.std()) > 0.1
    torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)


def test_the_pictures_themselves_are_not_changed(pixels: Tensor) -> None:
    before = pixels.clone()
    with torch.inference_mode():
        EfficientNetLite0(random_weights())(pixels)
    assert torch.equal(pixels, before)


def test_a_missing_weight_is_an_error() -> None:
    weights = random_weights()
    del weights["_blocks.3._project_conv.weight"]
    with pytest.raises(KeyError, match=r"_blocks\.3"):
        EfficientNetLite0(weights)


@pytest.mark.parametrize(("size", "kernel", "expected"), [(224, 3, (0, 1)), (56, 5, (1, 2)), (7, 3, (1, 1))])
def test_the_odd_row_of_padding_goes_below_and_to_the_right(size: int, kernel: int, expected: tuple[int, int]) -> None:
    assert same_padding(size, size, kernel, 2) == (*expected, *expected)
