"""Windows of landed days to compare backbones on: halves of broadcasts, days of authors.

Texts are the words of a window alone. Title and category stand in every window of a broadcast, so with them a broadcast
would be found by what it is called; and earlier windows would carry words of one half into the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from livealign.config import SegmentConfig
from livealign.errors import TrainingError
from livealign.llm.segment_text import WindowText, sorted_window_texts
from livealign.tuning.broadcast_pairs import talking_by_room, words_text

PER_HALF = 2  # windows of one half of a broadcast
LEAST_BROADCASTS = 4
DAY_SECONDS = 86_400


@dataclass(frozen=True)
class ComparisonSample:
    """n windows with words, PER_HALF of each half of each chosen broadcast."""

    texts: list[str]
    room: NDArray[np.int64]  # [n]
    author: NDArray[np.int64]  # [n]
    second_half: NDArray[np.bool_]  # [n]
    day: NDArray[np.int64]  # [n] 0: the earlier of the author's two days, 1: the later, −1: only one was chosen
    category: list[str]  # [n] "" where there is none

    @property
    def broadcasts(self) -> int:
        """Number of chosen broadcasts."""
        return len(np.unique(self.room))


def choose_windows(segments: pa.Table, config: SegmentConfig, windows: int, seed: int) -> ComparisonSample:
    """About `windows` windows of randomly chosen broadcasts.

    Authors who were live on two days come first, with a broadcast of one day and one of their next day.

    Args:
        segments: the mart `segments` of some days, with author_id.

    Raises:
        TrainingError: fewer than LEAST_BROADCASTS broadcasts have enough windows with words.
    """
    rng = np.random.default_rng(seed)
    rooms, window_texts, _ = sorted_window_texts(segments)
    author_of = dict(zip(segments["room_id"].to_pylist(), segments["author_id"].to_pylist(), strict=True))
    by_author: dict[int, dict[int, list[NDArray]]] = {}  # author → day → rows of each broadcast
    for rows in talking_by_room(rooms, window_texts):
        if len(rows) >= 2 * PER_HALF:
            day = window_texts[rows[0]].window * config.window_seconds // DAY_SECONDS
            by_author.setdefault(author_of[int(rooms[rows[0]])], {}).setdefault(day, []).append(rows)
    chosen = _choose_broadcasts(by_author, windows // (2 * PER_HALF), rng)
    if len(chosen) < LEAST_BROADCASTS:
        raise TrainingError(
            f"{len(chosen)} broadcasts have {2 * PER_HALF} windows in which anything was said, and a comparison needs "
            f"{LEAST_BROADCASTS}; land more days, or raise --sample"
        )
    picked: list[int] = []
    for rows, _ in chosen:
        middle = len(rows) // 2
        for half in (rows[:middle], rows[middle:]):
            picked += rng.choice(half, PER_HALF, replace=False).tolist()
    return _sample(rooms, window_texts, author_of, picked, [place for _, place in chosen], config)


def _choose_broadcasts(
    by_author: dict[int, dict[int, list[NDArray]]], broadcasts: int, rng: np.random.Generator
) -> list[tuple[NDArray, int]]:
    """(rows of a broadcast, place of its day), at most `broadcasts` of them."""
    authors = [sorted(by_author)[number] for number in rng.permutation(len(by_author))]
    chosen: list[tuple[NDArray, int]] = []
    for author in sorted(authors, key=lambda one: len(by_author[one]) < 2):  # stable: the random order stays within both kinds
        days = sorted(by_author[author])
        first = int(rng.integers(max(1, len(days) - 1)))
        pair = days[first : first + 2]
        if len(chosen) + len(pair) > broadcasts:
            break
        for place, day in enumerate(pair):
            of_day = by_author[author][day]
            chosen.append((of_day[int(rng.integers(len(of_day)))], place if len(pair) == 2 else -1))
    return chosen


def _sample(
    rooms: NDArray[np.int64],
    window_texts: Sequence[WindowText],
    author_of: dict[int, int],
    picked: list[int],
    places: list[int],
    config: SegmentConfig,
) -> ComparisonSample:
    room = rooms[picked].astype(np.int64)
    return ComparisonSample(
        [words_text(window_texts[row], config) for row in picked],
        room,
        np.array([author_of[one] for one in room.tolist()], np.int64),
        np.tile(np.repeat([False, True], PER_HALF), len(places)),
        np.repeat(np.array(places, np.int64), 2 * PER_HALF),
        [window_texts[row].category for row in picked],
    )
