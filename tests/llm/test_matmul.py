"""oneDNN's products against plain ones."""

import pytest
import torch

from livealign.llm.layer_ops import GELU, SILU
from livealign.llm.matmul import OneDnnProduct, Product, onednn_serves

WEIGHT = torch.randn(24, 16, generator=torch.Generator().manual_seed(1)).bfloat16() / 4
ROWS, TERM = (torch.randn(5, width, generator=torch.Generator().manual_seed(width)).bfloat16() for width in (16, 24))
BIAS = torch.linspace(-1, 1, 24).bfloat16()

pytestmark = pytest.mark.skipif(not onednn_serves(WEIGHT), reason="this processor has no bfloat16 products")


@pytest.mark.parametrize("bias", [None, BIAS])
def test_onednn_gives_what_the_plain_products_give(bias):
    plain = Product(WEIGHT.float(), None if bias is None else bias.float())
    product, halves = OneDnnProduct(WEIGHT, bias), OneDnnProduct(WEIGHT, bias, halves=True)
    near = {"rtol": 2e-2, "atol": 2e-2}
    torch.testing.assert_close(product(ROWS).float(), plain(ROWS.float()), **near)
    torch.testing.assert_close(product.plus(ROWS, TERM).float(), plain.plus(ROWS.float(), TERM.float()), **near)
    for activation in (SILU, GELU):
        torch.testing.assert_close(halves.gated(ROWS, activation).float(), plain.gated(ROWS.float(), activation), **near)


def test_a_norms_weights_in_the_product_are_those_on_the_rows():
    scale = torch.linspace(0.5, 2, 16).bfloat16()
    found = OneDnnProduct(WEIGHT, None, input_scale=scale)(ROWS)
    torch.testing.assert_close(found.float(), Product(WEIGHT.float(), None)((ROWS * scale).float()), rtol=2e-2, atol=2e-2)


def test_float32_and_other_devices_keep_the_plain_product():
    assert not onednn_serves(WEIGHT.float())
    assert not onednn_serves(WEIGHT.to("meta"))
