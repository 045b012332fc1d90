"""The parts between a layer's products against plain formulas, and their backward passes against finite differences."""

import torch
import torch.nn.functional as F
from torch import Tensor

from livealign.llm.layer_ops import GELU, SILU, causal_attention, gated, rms_norm, rotate_heads, unit_rms


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def test_the_norm_is_torchs_and_so_is_its_gradient():
    rows, weight = drawn(4, 6).requires_grad_(), drawn(6)
    torch.testing.assert_close(rms_norm(rows, weight, 1e-5), F.rms_norm(rows, (6,), weight, 1e-5), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(unit_rms(rows, 1e-5) * weight, rms_norm(rows, weight, 1e-5))
    assert torch.autograd.gradcheck(lambda one: rms_norm(one, weight, 1e-5), rows, eps=1e-4, atol=1e-3)


def test_a_rotation_turns_query_and_key_and_leaves_the_values():
    qkv, angles = drawn(5, 3, 8), drawn(5, 1, 4)
    cosine, sine = angles.cos(), angles.sin()
    before = qkv.clone()
    found = rotate_heads(qkv.requires_grad_(), 2, cosine, sine)
    first, second = before[:, :2].chunk(2, dim=-1)
    expected = torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
    torch.testing.assert_close(found[:, :2], expected)
    torch.testing.assert_close(found[:, 2:], before[:, 2:])
    assert torch.equal(qkv, before)  # with gradients the input stays
    with torch.no_grad():
        torch.testing.assert_close(rotate_heads(before, 2, cosine, sine), found)
    assert torch.autograd.gradcheck(lambda one: rotate_heads(one, 2, cosine, sine), qkv)


def test_attention_is_torchs_with_gradients_and_without():
    query, key, value = drawn(2, 6, 5, 4).requires_grad_(), drawn(2, 3, 5, 4), drawn(2, 3, 5, 4)
    expected = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=0.3, enable_gqa=True)
    torch.testing.assert_close(causal_attention(query, key, value, 0.3), expected)
    with torch.no_grad():
        torch.testing.assert_close(causal_attention(query, key, value, 0.3), expected)


def test_the_gated_unit_is_the_plain_formula_and_so_is_its_gradient():
    both = drawn(4, 6).requires_grad_()
    gate, up = both.chunk(2, dim=-1)
    torch.testing.assert_close(gated(both), F.silu(gate) * up)
    torch.testing.assert_close(gated(both, GELU), F.gelu(gate, approximate="tanh") * up)
    for activation in (SILU, GELU):
        assert torch.autograd.gradcheck(lambda one, name=activation: gated(one, name), both)


def test_attention_within_a_window_sees_that_many_tokens():
    query, key, value = drawn(2, 6, 5, 4).requires_grad_(), drawn(2, 3, 5, 4), drawn(2, 3, 5, 4)
    distance = torch.arange(5)[:, None] - torch.arange(5)
    seen = (distance >= 0) & (distance < 2)
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=0.3, enable_gqa=True)
    torch.testing.assert_close(causal_attention(query, key, value, 0.3, window=2), expected)
    with torch.no_grad():
        torch.testing.assert_close(causal_attention(query, key, value, 0.3, window=2), expected)
        assert torch.equal(causal_attention(query, key, value, 0.3, window=5), causal_attention(query, key, value, 0.3))


def test_a_narrower_rotation_turns_the_first_numbers_of_a_head():
    qkv, angles = drawn(5, 3, 8), drawn(5, 1, 2)
    before = qkv.clone()
    found = rotate_heads(qkv.requires_grad_(), 2, angles.cos(), angles.sin())
    torch.testing.assert_close(found[:, :2, 4:], before[:, :2, 4:])
    torch.testing.assert_close(
        found[..., :4], rotate_heads(before[..., :4].clone().requires_grad_(), 2, angles.cos(), angles.sin())
    )
    assert torch.autograd.gradcheck(lambda one: rotate_heads(one, 2, angles.cos(), angles.sin()), qkv)


def test_the_tokens_of_a_picture_see_each_other_within_a_window_too():
    query, key, value = drawn(2, 6, 5, 4).requires_grad_(), drawn(2, 3, 5, 4), drawn(2, 3, 5, 4)
    pictures = torch.tensor([[False, True, True, True, False], [False] * 5])  # the second row has none
    distance = torch.arange(5)[:, None] - torch.arange(5)
    both = pictures[:, None, :, None] & pictures[:, None, None, :]
    for window, near in ((None, distance < 5), (2, distance < 2)):
        seen = ((distance >= 0) | both) & near
        expected = F.scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=0.3, enable_gqa=True)
        found = causal_attention(query, key, value, 0.3, window, pictures)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(found[1], causal_attention(query, key, value, 0.3, window)[1])
        with torch.no_grad():
            torch.testing.assert_close(causal_attention(query, key, value, 0.3, window, pictures), expected)
