"""EfficientNet-Lite0: folded convolutions compute what the layers compute one after another."""

import pytest
import torch
from torch import Tensor

from benchmarks.speed.frames import layer_by_layer
from livealign.frames.efficientnet import WIDTH, EfficientNetLite0, same_padding
from tests.planted.image_weights import random_weights


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.randint(0, 256, (2, 224, 224, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def test_folding_changes_nothing_but_rounding(pixels: Tensor) -> None:
    weights = random_weights()
    with torch.inference_mode():
        mine, theirs = EfficientNetLite0(weights)(pixels), layer_by_layer(weights, pixels)
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
