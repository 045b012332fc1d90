"""Which windows backbones are compared on."""

import numpy as np
import pytest

from livealign.config import SegmentConfig
from livealign.errors import TrainingError
from livealign.tuning.comparison_sample import PER_HALF, choose_windows
from tests.planted.broadcasts import planted_broadcasts

SEGMENTS = SegmentConfig()


def test_each_author_has_a_broadcast_of_two_days_and_each_broadcast_windows_of_both_halves() -> None:
    sample = choose_windows(planted_broadcasts(days=3), SEGMENTS, 96, seed=1)
    assert len(sample.texts) == 96
    assert sample.broadcasts == 24
    for author in np.unique(sample.author):
        of_author = sample.author == author
        earlier, later = (np.unique(sample.room[of_author & (sample.day == place)]) for place in (0, 1))
        assert (later // 1_000 - earlier // 1_000).tolist() == [1]
    for room in np.unique(sample.room):
        of_room = sample.room == room
        assert sample.second_half[of_room].tolist() == [False] * PER_HALF + [True] * PER_HALF
        assert len({sample.texts[row] for row in np.flatnonzero(of_room)}) == 2 * PER_HALF


def test_a_text_has_neither_title_nor_category() -> None:
    sample = choose_windows(planted_broadcasts(), SEGMENTS, 96, seed=1)
    assert not any("all about" in text or "| c" in text or "before:" in text for text in sample.texts)
    assert set(sample.category) == {"c0", "c1", "c2"}


def test_the_choice_depends_on_the_seed_alone_and_keeps_to_the_number_of_windows() -> None:
    segments = planted_broadcasts(days=3)
    shuffled = segments.take(np.random.default_rng(0).permutation(len(segments)))
    first, same, other = (
        choose_windows(table, SEGMENTS, 40, seed=seed) for table, seed in ((segments, 1), (shuffled, 1), (segments, 2))
    )
    assert first.texts == same.texts != other.texts
    assert len(first.texts) == 40


def test_one_landed_day_gives_halves_and_no_next_day() -> None:
    sample = choose_windows(planted_broadcasts(days=1), SEGMENTS, 40, seed=1)
    assert sample.broadcasts == 10
    assert set(sample.day.tolist()) == {-1}


def test_days_on_which_nobody_spoke_are_an_error_with_a_remedy() -> None:
    with pytest.raises(TrainingError, match="0 broadcasts have 4 windows"):
        choose_windows(planted_broadcasts(quiet=True), SEGMENTS, 40, seed=1)
