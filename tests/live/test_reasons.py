"""A reason names the deepest level that the history shares, and nothing that it does not."""

import numpy as np
import pytest

from livealign.live.reasons import CLEAR, reason, sure_names

NAMES = ["chess, queen", "endgame", "pawn"]


def said(*entered: tuple[int, int, int], names: list[str] = NAMES, of_streamer: tuple[bool, ...] | None = None) -> str:
    """The reason for a room of path 3-1-4 after entering rooms of these paths."""
    own = of_streamer or (False,) * len(entered)
    return reason([3, 1, 4], names, np.array(entered, dtype=np.int64).reshape(-1, 3), np.array(own, dtype=np.bool_))


@pytest.mark.parametrize(
    ("entered", "sentence"),
    [
        ([(3, 1, 4)], "You entered a room about pawn (chess, queen) lately."),
        ([(3, 1, 4), (3, 1, 0), (3, 2, 4)], "You entered a room about pawn (chess, queen) lately."),
        ([(3, 1, 0), (3, 1, 9), (3, 2, 4)], "You entered rooms about endgame (chess, queen) 2 times lately."),
        ([(3, 0, 4), (3, 2, 4), (5, 1, 4)], "You entered rooms about chess, queen 2 times lately."),
        ([(5, 1, 4), (0, 1, 4)], "New to you: chess, queen."),
        ([(-1, -1, -1)], "New to you: chess, queen."),
        ([], "Now: chess, queen."),
    ],
)
def test_the_deepest_shared_level_is_named(entered: list[tuple[int, int, int]], sentence: str) -> None:
    assert said(*entered) == sentence


def test_a_level_without_a_name_gives_way_to_the_one_above() -> None:
    assert said((3, 1, 4), (3, 1, 0), names=["chess", "", ""]) == "You entered rooms about chess 2 times lately."
    assert said((3, 1, 4), (3, 1, 0), names=["", "endgame", ""]) == "You entered rooms about endgame 2 times lately."
    assert said((3, 1, 4), (3, 9, 9), names=["", "", ""]) == "You entered rooms like this one 2 times lately."
    assert said((3, 2, 2), names=["", "endgame", "pawn"]) == "You entered a room like this one lately."
    assert said((4, 1, 4), names=["", "endgame", "pawn"]) == "New to you."
    assert said(names=["", "endgame", "pawn"]) == "Chosen by what is on now."


def test_what_was_entered_of_the_same_streamer_is_said() -> None:
    assert said((3, 0, 0), of_streamer=(True,)) == "You entered a room about chess, queen lately, this streamer's."
    both = said((3, 0, 0), (3, 0, 0), (4, 0, 0), of_streamer=(True, False, True))
    assert both == "You entered rooms about chess, queen 2 times lately, 1 of them this streamer's."
    own = said((3, 0, 0), (3, 0, 0), of_streamer=(True, True))
    assert own == "You entered rooms about chess, queen 2 times lately, all of them this streamer's."
    other = said((4, 0, 0), (5, 0, 0), of_streamer=(True, False))
    assert other == "You entered this streamer's room once lately; new to you: chess, queen."


def test_a_path_whose_first_code_is_not_clear_has_no_name_to_say() -> None:
    assert sure_names(NAMES, CLEAR) == NAMES
    assert sure_names(NAMES, CLEAR - 0.01) == ["", "", ""]
