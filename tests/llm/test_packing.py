import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from livealign.llm.packing import PATHS_PER_NODE, pack, pack_whole
from livealign.llm.pooling import Pooling

CPU = torch.device("cpu")
TEXTS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9), min_size=1, max_size=30)


def read_back(rows: np.ndarray, batch) -> dict[int, list[int]]:
    """Row → ids, read along each text's path."""
    found, place = {}, 0
    for group in batch.groups:
        for nodes, length in zip(group.nodes, group.lengths.tolist(), strict=True):
            assert batch.positions[nodes[:length]].tolist() == list(range(length))
            found[int(rows[place])] = batch.ids[nodes[:length]].tolist()
            place += 1
    return found


@settings(max_examples=150)
@given(TEXTS, st.integers(1, 40), st.booleans(), st.integers(1, 3))
def test_every_text_is_read_back_whole_from_batches_within_their_limits(tokens, most, share, workers):
    found = {}
    for rows, batch in pack(tokens, most, share, CPU, workers):
        longest = max(group.nodes.shape[1] for group in batch.groups)
        assert len(batch.ids) <= max(most, longest)
        assert sum(int(group.lengths.sum()) for group in batch.groups) <= PATHS_PER_NODE * max(most, longest)
        found |= read_back(rows, batch)
    assert found == dict(enumerate(tokens))


@settings(max_examples=100)
@given(TEXTS)
def test_a_beginning_that_texts_share_is_there_once(tokens):
    rows, batch = pack_whole(tokens, True, CPU)
    assert read_back(rows, batch) == dict(enumerate(tokens))
    beginnings = {tuple(ids[: end + 1]) for ids in tokens for end in range(len(ids))}
    assert len(batch.ids) == len(beginnings)
    assert len(pack_whole(tokens, False, CPU)[1].ids) == sum(map(len, tokens))


@given(TEXTS)
@settings(max_examples=50)
def test_to_nodes_undoes_to_paths_and_pooling_reads_real_tokens_only(tokens):
    rows, batch = pack_whole(tokens, True, CPU)
    values = torch.randn(len(batch.ids), 2, generator=torch.Generator().manual_seed(1))
    assert torch.equal(batch.to_nodes(batch.to_paths(values)), values)
    place = 0
    for group in batch.groups:
        for nodes, length in zip(group.nodes, group.lengths.tolist(), strict=True):
            torch.testing.assert_close(Pooling("mean")(batch, values)[place], values[nodes[:length]].mean(0))
            assert torch.equal(Pooling("last")(batch, values)[place], values[nodes[length - 1]])
            place += 1
    assert place == len(rows)


def test_there_are_as_many_batches_as_workers_and_they_cost_about_the_same():
    tokens = np.random.default_rng(0).integers(0, 1_000, (64, 20)).tolist()
    sizes = [len(batch.ids) for _, batch in pack(tokens, 10_000, True, CPU, least_batches=4)]
    assert len(sizes) in (4, 5)
    assert max(sizes) <= 1.1 * sum(sizes) / 4
    assert list(pack([], 100, True, CPU)) == []


def test_batches_have_one_of_a_few_sizes_and_what_fills_them_up_is_in_no_text():
    tokens = [[number] * (7 + number % 9) for number in range(200)]
    batches = list(pack(tokens, 320, True, CPU))
    assert {len(batch.ids) % 10 for _, batch in batches} == {0}
    assert {row: ids for rows, batch in batches for row, ids in read_back(rows, batch).items()} == dict(enumerate(tokens))


@pytest.mark.gpu
def test_batches_are_made_on_the_device():
    _, batch = pack_whole([[1, 2], [1, 3, 4]], True, torch.device("cuda"))
    assert batch.ids.is_cuda
    assert batch.home.is_cuda
