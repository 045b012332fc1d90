"""A room's content averaged over its last windows; in batch and incrementally.

The weight of a window halves with age. A moment lasts minutes, and one window of 30 seconds is a noisy sample of it. The
average uses past windows only, so it is the same in training (`recent_content`, all windows at once) and live
(`RecentContent`, one window after another).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def recent_content(
    content: Floats, room_id: Ints, started_at: Ints, half_life_seconds: float, present: NDArray[np.bool_] | None = None
) -> Floats:
    """Each window's average over its room's windows up to itself, float32 [n, d].

    A half-life of 0 returns `content` unchanged.

    Args:
        content: [n, d]; a row of zeros has no content: it stays zero and does not count in any average.
        room_id: [n]; started_at: [n] epoch milliseconds.
        present: [n] rows that have content, if rows of zeros may have it.
    """
    rows = np.flatnonzero((content != 0).any(1) if present is None else present)
    if half_life_seconds <= 0 or not len(rows):
        return content
    rows = rows[np.lexsort((started_at[rows], room_id[rows]))]
    is_first = np.r_[True, room_id[rows][1:] != room_id[rows][:-1]]
    place = np.arange(len(rows)) - np.maximum.accumulate(np.where(is_first, np.arange(len(rows)), 0))  # within the room
    decay = _decay(np.r_[0, np.diff(started_at[rows])], half_life_seconds)
    averages, weights = content.astype(np.float32, copy=True), np.ones(len(rows), dtype=np.float32)
    for nth in range(1, int(place.max()) + 1):  # the nth windows of all rooms at once
        here = np.flatnonzero(place == nth)
        before = decay[here] * weights[here - 1]
        weights[here] += before
        share = (before / weights[here])[:, None]
        averages[rows[here]] += share * (averages[rows[here - 1]] - averages[rows[here]])
    return averages


class RecentContent(NamedTuple):
    """The average of one room so far; `step` adds the next window."""

    average: Floats  # [d]
    weight: float  # of all windows so far, that of the newest being 1
    started_at: int  # epoch milliseconds, of the newest window

    @classmethod
    def step(
        cls, before: "RecentContent | None", content: Floats, started_at: int, half_life_seconds: float
    ) -> "RecentContent":
        """The average with one more window [d].

        `before` is the average of the earlier windows, None for a room's first.
        """
        if before is None or half_life_seconds <= 0:
            return cls(content, 1.0, started_at)
        old = float(_decay(np.array([started_at - before.started_at]), half_life_seconds)[0]) * before.weight
        weight = 1.0 + old
        return cls((content + (old / weight) * (before.average - content)).astype(np.float32), weight, started_at)


def _decay(milliseconds: Ints, half_life_seconds: float) -> Floats:
    """Share of a weight that is left after this time."""
    return np.exp2(-np.maximum(milliseconds, 0) / (1000 * half_life_seconds)).astype(np.float32)
