"""Norm, rotary embedding, attention and gated units with hand-written backward passes.

These operations do little arithmetic; their cost is reading and writing. Autograd would pass over the activations many times,
and PyTorch's backward pass of attention in bfloat16 on a CPU takes six times as long as the products that it consists of.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SILU, GELU = "silu", "gelu"  # of a gated unit; gelu by its tanh


def rms_norm(rows: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """RMSNorm (Zhang and Sennrich 2019, equation 4) of rows [..., width]."""
    normed: Tensor = _RmsNorm.apply(rows, weight, epsilon)
    return normed


def unit_rms(rows: Tensor, epsilon: float) -> Tensor:
    """RMSNorm without its weights, for a product whose own weights include them."""
    return rows * _inverse_rms(rows, epsilon).to(rows.dtype)


def rotate_heads(qkv: Tensor, heads: int, cosine: Tensor, sine: Tensor) -> Tensor:
    """qkv [n, all heads, size] with its first `heads` heads rotated (Su et al. 2021).

    Without gradients qkv is changed in place. cosine, sine: [n, 1, size / 2]; the halves of a head rotate by the same angles.
    Where they are narrower, only the first numbers of a head rotate.
    """
    if not torch.is_grad_enabled():
        return _rotate_in_place(qkv, heads, cosine, sine)
    result: Tensor = _RotateHeads.apply(qkv, heads, cosine, sine)
    return result


def causal_attention(
    query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None = None, pictures: Tensor | None = None
) -> Tensor:
    """Each position's mean of the values up to it, by softmax: [rows, heads, length, size].

    Args:
        query: [rows, heads, length, size]; heads may be a multiple of those of key and value [rows, kv heads, length, size].
        window: how many positions are read, the own one included; None for all.
        pictures: bool [rows, length], the positions of each row that see each other, whatever their order; None for none.
    """
    rows, heads, length, size = query.shape
    kv_heads = key.shape[1]
    near = None if window is None or window >= length else window
    if query.device.type != "cpu" or not torch.is_grad_enabled():
        gqa, plain = heads != kv_heads, near is None and pictures is None
        seen = None if plain else _seen(length, near, pictures, query.device)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=seen, is_causal=plain, scale=scale, enable_gqa=gqa)
    unseen = ~_seen(length, near, pictures, query.device)
    later = torch.zeros(unseen.shape, dtype=query.dtype, device=query.device).masked_fill_(unseen, -torch.inf)
    query, key, value = (part.reshape(rows * kv_heads, -1, size) for part in (query, key, value))
    logits = torch.bmm(query, key.transpose(1, 2)).view(rows, heads, length, length) * scale + later
    shares = torch.softmax(logits, dim=-1).view(rows * kv_heads, -1, length)
    return torch.bmm(shares, value).view(rows, heads, length, size)


def _seen(length: int, window: int | None, pictures: Tensor | None, device: torch.device) -> Tensor:
    """Which positions a position reads: bool [length, length], or [rows, 1, length, length] with pictures."""
    every = torch.ones(length, length, dtype=torch.bool, device=device)
    seen = every.tril()
    if pictures is not None:
        seen = (seen | (pictures[:, :, None] & pictures[:, None, :]))[:, None]
    return seen if window is None else seen & every.triu(1 - window)


def gated(both: Tensor, activation: str = SILU) -> Tensor:
    """SwiGLU or GEGLU (Shazeer 2020, equation 6): [n, 2 inner] → [n, inner].

    It is the activation of the first half of each row × the second half.
    """
    result: Tensor = _Gated.apply(both, activation)
    return result


def _inverse_rms(rows: Tensor, epsilon: float) -> Tensor:
    """float32 [n, 1]; the sum of squares is taken in float32 whatever the rows are."""
    length = torch.linalg.vector_norm(rows, dim=-1, keepdim=True).float()
    return torch.rsqrt(length.square() / rows.shape[-1] + epsilon)


def _rotate_in_place(qkv: Tensor, heads: int, cosine: Tensor, sine: Tensor) -> Tensor:
    first, second = qkv[:, :heads, : 2 * cosine.shape[-1]].chunk(2, dim=-1)
    new_first = (first * cosine).addcmul_(second, sine, value=-1)
    second.mul_(cosine).addcmul_(first, sine)
    first.copy_(new_first)
    return qkv


class _RmsNorm(torch.autograd.Function):
    """The norm's own weight is frozen and has no gradient."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        inverse = _inverse_rms(rows, epsilon).to(rows.dtype)
        unit = rows * inverse
        ctx.save_for_backward(unit, inverse, weight)
        return unit * weight

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        unit, inverse, weight = ctx.saved_tensors
        gradient = gradients[0] * weight
        along = torch.linalg.vecdot(gradient, unit)[..., None] / unit.shape[-1]
        return gradient.addcmul_(unit, along, value=-1).mul_(inverse), None, None


class _RotateHeads(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, heads: int, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.heads = heads
        ctx.save_for_backward(cosine, sine)
        return _rotate_in_place(qkv.clone(), heads, cosine, sine)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        cosine, sine = ctx.saved_tensors
        return _rotate_in_place(gradients[0].clone(), ctx.heads, cosine, -sine), None, None, None


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, both: Tensor, activation: str) -> Tensor:
        ctx.activation = activation
        ctx.save_for_backward(both)
        gate, up = both.chunk(2, dim=-1)
        return _activated(gate, activation).mul_(up)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (both,) = gradients, ctx.saved_tensors
        gate, up = both.chunk(2, dim=-1)
        of_both = torch.empty_like(both)
        of_gate, of_up = of_both.chunk(2, dim=-1)
        if ctx.activation == SILU:
            torch.ops.aten.silu_backward.grad_input(gradient * up, gate, grad_input=of_gate)
        else:
            torch.ops.aten.gelu_backward.grad_input(gradient * up, gate, approximate="tanh", grad_input=of_gate)
        torch.mul(gradient, _activated(gate, ctx.activation), out=of_up)
        return of_both, None


def _activated(gate: Tensor, activation: str) -> Tensor:
    return F.silu(gate) if activation == SILU else F.gelu(gate, approximate="tanh")
