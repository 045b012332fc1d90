"""How tokens become one vector: what is frequent counts little, and the weights stay with their adapter."""

from pathlib import Path

import numpy as np
import pytest
import torch

from livealign.errors import BackboneError
from livealign.llm.packing import pack_whole
from livealign.llm.pooling import WEIGHTS_FILE, Pooling, read_token_weights, telling_weights, write_token_weights

CPU = torch.device("cpu")


def test_a_token_of_the_half_share_counts_half_and_one_never_seen_counts_whole() -> None:
    weights = telling_weights([[0, 0, 0, 1], [0, 0, 0, 2]], 4, half_share=0.125)  # shares 6/8, 1/8, 1/8, 0
    assert weights.numpy() == pytest.approx([0.125 / 0.875, 0.5, 0.5, 1.0])
    assert telling_weights([], 2, half_share=0.1).tolist() == [1.0, 1.0]


def test_a_telling_mean_is_the_mean_by_the_weights_of_a_texts_own_tokens() -> None:
    tokens, weights = [[0, 1, 2], [0, 1], [3]], torch.tensor([0.1, 0.5, 1.0, 0.01])
    rows, batch = pack_whole(tokens, True, CPU)
    values = torch.randn(len(batch.ids), 5, generator=torch.Generator().manual_seed(1))
    found = Pooling("telling", weights)(batch, values)[np.argsort(rows)]
    for text, vector in zip(tokens, found, strict=True):
        nodes = [node for node in range(len(batch.ids)) if _on_path(batch, node, text)]
        share = weights[batch.ids[nodes]] / weights[batch.ids[nodes]].sum()
        torch.testing.assert_close(vector, (share[:, None] * values[nodes]).sum(0))


def _on_path(batch, node: int, text: list[int]) -> bool:
    """Whether the text has the node's token at its place; texts that begin alike share such nodes."""
    position = int(batch.positions[node])
    return position < len(text) and int(batch.ids[node]) == text[position]


def test_weights_that_are_all_alike_are_the_mean() -> None:
    _, batch = pack_whole([[4, 5], [4, 6, 7]], True, CPU)
    values = torch.randn(len(batch.ids), 3, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(Pooling("telling", torch.ones(9))(batch, values), Pooling("mean")(batch, values))


def test_weights_come_back_and_damage_names_the_file_and_the_remedy(tmp_path: Path) -> None:
    weights = telling_weights([[0, 1, 1]], 5, 0.3)
    write_token_weights(weights, tmp_path)
    assert torch.equal(read_token_weights(tmp_path), weights)
    (tmp_path / WEIGHTS_FILE).write_bytes(b"no weights")
    with pytest.raises(BackboneError, match=f"{WEIGHTS_FILE}.*tune the adapter again"):
        Pooling.of("telling", tmp_path, CPU)
    with pytest.raises(BackboneError, match="needs the token weights of an adapter"):
        Pooling.of("telling", None, CPU)
    assert Pooling.of("mean", None, CPU).weights is None


def test_there_is_no_pooling_without_its_weights_or_of_another_name() -> None:
    for name, weights in (("telling", None), ("mean", torch.ones(2)), ("median", None)):
        with pytest.raises(BackboneError, match=name):
            Pooling(name, weights)
