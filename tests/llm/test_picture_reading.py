"""The positions of a picture's tokens in a grid, and of the text behind them."""

from types import SimpleNamespace

import pytest
import torch
from transformers import Qwen2_5_VLModel

from livealign.llm.picture_reading import grid_positions


@pytest.mark.parametrize(("begin", "side", "text"), [(0, 2, 3), (2, 3, 4), (1, 4, 0), (3, 1, 2), (4, 0, 5)])
def test_positions_are_those_of_the_model_that_has_them(begin: int, side: int, text: int) -> None:
    kinds = torch.tensor([[0] * begin + [1] * side**2 + [0] * text])
    owner = SimpleNamespace(
        config=SimpleNamespace(vision_config=SimpleNamespace(spatial_merge_size=2, tokens_per_second=4)),
        get_vision_position_ids=lambda *given, **named: Qwen2_5_VLModel.get_vision_position_ids(None, *given, **named),
    )
    grid = torch.tensor([[1, 2 * side, 2 * side]]) if side else None
    expected, _ = Qwen2_5_VLModel.get_rope_index(owner, torch.ones_like(kinds), kinds, grid)
    assert torch.equal(grid_positions(kinds.bool()), expected)


def test_rows_of_one_group_have_positions_of_their_own() -> None:
    pictures = torch.tensor([[False, True, True, True, True, False], [False] * 6])
    found = grid_positions(pictures)
    assert found[:, 0].tolist() == [[0, 1, 1, 1, 1, 3], [0, 1, 1, 2, 2, 3], [0, 1, 2, 1, 2, 3]]
    assert found[:, 1].tolist() == [[0, 1, 2, 3, 4, 5]] * 3


def test_tokens_that_fill_no_square_take_positions_as_words_do() -> None:
    pictures = torch.tensor([[False, True, True, True, False]])
    assert grid_positions(pictures)[:, 0].tolist() == [[0, 1, 2, 3, 4]] * 3
