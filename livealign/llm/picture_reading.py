"""How a model's layers read a picture's tokens: as words, in both directions, or in a grid.

- As words: a token sees those before it and has the next position.
- In both directions: the tokens of a picture see each other too, backwards as far as the layer's window reaches (Gemma 3).
- In a grid: a token's position has three parts, of time, height and width. The tokens of a picture of s × s fields share the
  time at which it begins; the text behind them goes on s positions later (Qwen2.5-VL). Tokens of another number than a square
  take positions as words do.

Texts share the tokens of a picture all or not at all, so each way holds in a tree of texts too (`livealign.llm.packing`).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from livealign.llm.packing import PackedBatch

AS_WORDS, BOTH_WAYS, IN_GRID = "as words", "in both directions", "in a grid"
_READING = "livealign_picture_reading"  # attribute of a model, which its copies keep


def reading_of(model: nn.Module) -> str:
    """The way in which the model's layers read pictures."""
    reading: str = getattr(model, _READING, AS_WORDS)
    return reading


def set_reading(model: nn.Module, reading: str) -> None:
    """Note the way in which the model's layers read pictures."""
    setattr(model, _READING, reading)


def in_pictures(batch: PackedBatch) -> Sequence[Tensor | None]:
    """Which tokens are a picture's: bool [rows, longest] for each group.

    They are None for a batch without pictures.
    """
    if batch.prefix is None:
        return [None] * len(batch.groups)
    of_nodes = torch.zeros(len(batch.ids), dtype=torch.bool, device=batch.ids.device)
    of_nodes[batch.prefix.nodes] = True
    return [of_nodes[group.nodes] & group.real for group in batch.groups]


def grid_positions(pictures: Tensor) -> Tensor:
    """Positions in time, height and width: int64 [3, rows, longest].

    Args:
        pictures: bool [rows, longest], whether a token is its text's picture's.
    """
    column = torch.arange(pictures.shape[1], device=pictures.device).expand_as(pictures)
    so_far, tokens = pictures.cumsum(dim=1), pictures.sum(dim=1, keepdim=True)
    side = tokens.double().sqrt().long().clamp_min(1)
    begins, number = pictures.int().argmax(dim=1, keepdim=True), so_far - 1
    fields = pictures & (side * side == tokens)
    behind = torch.where(side * side == tokens, column - tokens + side, column)
    time = torch.where((so_far == tokens) & (tokens > 0) & ~pictures, behind, column)
    parts = (begins, begins + number // side, begins + number % side)
    return torch.stack([torch.where(fields, part, time) for part in parts])


def grid_of_nodes(batch: PackedBatch) -> Tensor:
    """The same for the nodes of a batch with pictures: int64 [3, 1, n]."""
    of_places = [grid_positions(pictures).flatten(1) for pictures in in_pictures(batch) if pictures is not None]
    return torch.cat(of_places, dim=1)[:, None, batch.home]


def own_inputs(model: Any, real: Tensor, pictures: Tensor | None, states: Tensor | None) -> dict[str, Any]:
    """The mask, and perhaps positions, that transformers' own pass over padded texts needs.

    Args:
        real: bool [rows, longest], False for padding.
        pictures: bool [rows, longest], as in `grid_positions`; None for texts without pictures.
        states: [rows, longest, hidden], of which the shape and the number type matter; needed with pictures.
    """
    mask, reading = real.long(), reading_of(model)
    if pictures is None or reading == AS_WORDS:
        return {"attention_mask": mask}
    if reading == IN_GRID:
        return {"attention_mask": mask, "position_ids": grid_positions(pictures)}
    # Only a Gemma 3 gets here, so transformers has loaded the module already.
    from transformers.models.gemma3.modeling_gemma3 import create_masks_for_vision_model, get_block_sequence_ids_for_mask

    assert states is not None
    blocks = get_block_sequence_ids_for_mask(pictures.long())
    return {"attention_mask": create_masks_for_vision_model(model.config, states, mask, None, None, blocks)}
