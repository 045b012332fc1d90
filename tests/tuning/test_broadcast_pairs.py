"""Pairs of whole broadcasts: what their sides are, whose their negatives are, and that tuning on them learns."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from livealign.config import FinetuneConfig, SegmentConfig
from livealign.errors import TrainingError
from livealign.llm.segment_text import WindowText
from livealign.tuning.batches import batches_of
from livealign.tuning.broadcast_pairs import choose_broadcast_pairs, words_text

SEGMENTS = SegmentConfig(token_budget=32)
CONFIG = FinetuneConfig(steps=20, batch_size=4, broadcast_windows=3, title_share=0.4, validation_share=0.2)
WINDOWS = 10


def broadcasts(rooms: int = 8, authors: int = 2) -> pa.Table:
    """Room r of author r mod `authors` says "room<r> half<h>" in each of ten windows; its title is "title<r>"."""
    rows = [
        {
            "segment_id": 100 * room + window,
            "room_id": room,
            "author_id": 1_000 + room % authors,
            "window": 5_000 * room + window,
            "segment_index": window,
            "title": f"title{room}",
            "category": "",
            "speech_text": "",
            "chat_text": f"room{room} half{2 * window // WINDOWS}",
        }
        for room in range(rooms)
        for window in range(WINDOWS)
    ]
    return pa.Table.from_pylist(rows)


def test_a_pair_is_two_halves_of_one_broadcast_or_its_title_and_what_was_said() -> None:
    pairs = choose_broadcast_pairs(broadcasts(), SEGMENTS, CONFIG)
    assert pairs.windows == 3
    assert pairs.n_groups == 100  # 20 steps of 4 pairs are four fifths
    kinds = {"title": 0, "halves": 0}
    for number in range(pairs.n_groups):
        pair = pairs.take_groups(np.array([number]))
        (room,) = set(pair.left_room) | set(pair.right_room)
        texts = [*pair.left, *pair.right]
        assert all(f"room{room} " in text or f"title{room} " in text for text in texts)
        titled = [side for side in (pair.left, pair.right) if all("title" in text for text in side)]
        halves = {next(half for half in ("half0", "half1") if half in text) for text in texts if "title" not in text}
        kinds["title" if titled else "halves"] += 1
        assert titled or halves == {"half0", "half1"}
    assert 25 <= kinds["title"] <= 55
    _, times = np.unique(pairs.left_room[:: pairs.windows], return_counts=True)
    assert times.max() - times.min() <= 1


def test_what_was_said_tells_neither_the_title_nor_the_minute() -> None:
    early, late = (WindowText(window, window, "A title", "Game", "so here we are", ("hi",)) for window in (3, 700))
    assert words_text(early, SEGMENTS) == words_text(late, SEGMENTS)
    assert "title" not in words_text(early, SEGMENTS)


def test_negatives_are_broadcasts_of_the_same_author() -> None:
    pairs = choose_broadcast_pairs(broadcasts(), SEGMENTS, CONFIG)
    batches = batches_of(pairs, CONFIG)
    drawn = [next(batches) for _ in range(20)]
    assert all(batch.n_groups == CONFIG.batch_size and len(batch) == 12 for batch in drawn)
    assert sum(len(set(batch.author)) == 1 for batch in drawn) >= 19  # what is left over of each author may make a mixed one


def test_silent_broadcasts_make_no_pairs() -> None:
    with pytest.raises(TrainingError, match="no broadcast has 40 windows"):
        choose_broadcast_pairs(broadcasts(), SEGMENTS, replace(CONFIG, broadcast_windows=20))
