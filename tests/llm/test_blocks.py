"""Blocks of whole rooms: every text once, no room in two, and the same whatever the order of the rows."""

import numpy as np

from livealign.llm.blocks import blocks_of, first_rooms


def planted_rooms(seed: int = 5) -> np.ndarray:
    """The rooms of 3,000 texts: most rooms are small, one has 1,500 texts."""
    rng = np.random.default_rng(seed)
    return rng.permutation(np.r_[rng.integers(10**9, 10**9 + 200, 1_500), np.full(1_500, 7)])


def test_every_text_is_in_one_block_and_every_room_in_one() -> None:
    rooms = planted_rooms()
    blocks = blocks_of(rooms, least=256)
    assert len(blocks) > 3
    np.testing.assert_array_equal(np.sort(np.concatenate(blocks)), np.arange(len(rooms)))
    rooms_of_blocks = [set(rooms[block].tolist()) for block in blocks]
    assert sum(map(len, rooms_of_blocks)) == len(set(rooms.tolist()))
    assert min(map(len, blocks)) >= 256


def test_blocks_do_not_depend_on_the_order_of_the_texts() -> None:
    rooms = planted_rooms()
    shuffled = np.random.default_rng(6).permutation(len(rooms))
    first = [frozenset(rooms[block].tolist()) for block in blocks_of(rooms, least=256)]
    second = [frozenset(rooms[shuffled][block].tolist()) for block in blocks_of(rooms[shuffled], least=256)]
    assert first == second


def test_few_texts_are_one_block_and_no_text_is_none() -> None:
    assert [block.tolist() for block in blocks_of(np.array([3, 1, 3]))] == [[0, 1, 2]]
    assert blocks_of(np.zeros(0, np.int64)) == []


def test_neighbouring_rooms_are_spread_over_the_blocks() -> None:
    rooms = np.repeat(np.arange(1_000), 10)
    spans = [np.ptp(rooms[block]) for block in blocks_of(rooms, least=1_000)]
    assert len(spans) == 10
    assert min(spans) > 800


def test_a_text_of_two_rooms_belongs_to_the_first() -> None:
    assert first_rooms([b"a", b"b", b"a", b"c"], np.array([9, 8, 7, 6])).tolist() == [9, 8, 6]
