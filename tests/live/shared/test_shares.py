"""Shares of the rooms: each has exactly one reader, and only a dead reader's rooms move."""

import numpy as np
import pytest

from livealign.live.shared.shares import owners

ROOMS = np.random.default_rng(3).integers(0, 2**62, 20_000)
READERS = [f"reader-{number}" for number in range(7)]


def names(readers: list[str]) -> np.ndarray:
    return np.array(readers)[owners(ROOMS, readers)]


def test_a_room_has_the_same_reader_whatever_the_order_in_which_they_are_named() -> None:
    assert (names(READERS) == names(READERS[::-1])).all()


def test_the_rooms_of_a_dead_reader_move_to_all_others_and_no_other_room_moves() -> None:
    before, after = names(READERS), names([one for one in READERS if one != "reader-3"])
    dead = before == "reader-3"
    assert (before[~dead] == after[~dead]).all()
    counts = [int((after[dead] == one).sum()) for one in READERS if one != "reader-3"]
    assert min(counts) > 0.8 * dead.sum() / 6


def test_a_new_reader_takes_rooms_from_all_and_none_moves_between_the_others() -> None:
    before, after = names(READERS), names([*READERS, "fresh"])
    moved = before != after
    assert (after[moved] == "fresh").all()
    assert {str(one) for one in before[moved]} == set(READERS)


@pytest.mark.parametrize("rooms", [ROOMS, np.arange(20_000)])
def test_shares_are_even_also_for_ids_in_a_row(rooms: np.ndarray) -> None:
    counts = np.bincount(owners(rooms, READERS), minlength=7)
    assert counts.sum() == len(rooms)
    assert abs(counts - len(rooms) / 7).max() < 5 * np.sqrt(len(rooms) / 7)


def test_of_no_reader_there_is_no_owner() -> None:
    with pytest.raises(ValueError, match="no reader is alive"):
        owners(ROOMS, [])
