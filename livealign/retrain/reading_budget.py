"""The reading budget: the windows that the LLM reads, and the vectors of the others.

    budget = reading_budget(marts, days, segment_ids, windows_per_day)
    vectors = budget.for_all(encode(texts of budget.read))     # a window that is not read has its room's last vector

A large platform has more windows a day than a night can read. Most impressions are of few of them, so each day's windows are
read in order of their impressions until the budget is spent. The others have the vector of their room's last window that was
read, as a room has in the live service when a refresh runs out of time; a room of which none was read yet has no content.

The choice for a day depends on that day's marts alone: the next retrain chooses the same windows, whose vectors are cached.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livealign.dataset.columns import ints, milliseconds, rows_by_key
from livealign.dataset.marts import built_days, read_mart
from livealign.days import DAY_MS, midnight
from livealign.llm.texts import days_with_segments

RECORD = "reading.json"  # beside the vectors of a day


def reading_line(record: Mapping[str, int | float]) -> str:
    """The effect of a reading budget as one line for people."""
    bound = f"reading.windows_per_day = {record['windows_per_day']:,}"
    if "seconds_per_day" in record:
        bound = (
            f"reading.seconds_per_day = {record['seconds_per_day']:,}, at {record['texts_in_a_second']:,} texts a second "
            f"{record['windows_per_day']:,} windows a day"
        )
    return (
        f"{record['read']:,} of {record['windows']:,} windows were read ({bound}); of the impressions "
        f"{record['impressions_with_read_window']:.1%} are of a window that was read, and "
        f"{record['impressions_with_vector']:.1%} of one with a vector"
    )


@dataclass(frozen=True)
class ReadingBudget:
    """Which of n windows are read, and which vector each has.

    source: [n] row of the read window whose vector a window has: its own row if it is read itself, an earlier one of its room,
        or -1 if none was read.
    impressions: [n] times that a window was shown on the day on which it began; zeros where all are read.
    rooms: [n] room of each window.
    """

    source: NDArray[np.int64]
    impressions: NDArray[np.int64]
    rooms: NDArray[np.int64]

    @property
    def read(self) -> NDArray[np.int64]:
        """Rows of the windows that are read, ascending."""
        return np.flatnonzero(self.source == np.arange(len(self.source)))

    @property
    def read_share(self) -> float:
        """Share of impressions whose own window is read; 1 without impressions."""
        shown = int(self.impressions.sum())
        return float(self.impressions[self.read].sum() / shown) if shown else 1.0

    @property
    def covered_share(self) -> float:
        """Share of impressions whose window has a vector, own or last; 1 without impressions."""
        shown = int(self.impressions.sum())
        return float(self.impressions[self.source >= 0].sum() / shown) if shown else 1.0

    def record(self, windows_per_day: int) -> dict[str, int | float]:
        """What the budget leaves, as `reading.json` and the summary of the day have it."""
        return {
            "windows_per_day": windows_per_day,
            "windows": len(self.source),
            "read": len(self.read),
            "impressions_with_read_window": round(self.read_share, 4),
            "impressions_with_vector": round(self.covered_share, 4),
        }

    def for_all(self, vectors: NDArray) -> NDArray:
        """The vectors [n, d] of all windows, from those of the read ones [r, d].

        A window without a source has zeros.
        """
        if len(vectors) == len(self.source):
            return vectors
        place = np.full(len(self.source) + 1, -1)  # of a row among the read ones; the last stands for the source -1
        place[self.read] = np.arange(len(vectors))
        padded = np.concatenate([vectors, np.zeros((1, vectors.shape[1]), vectors.dtype)])
        return padded[place[self.source]]


def reading_budget(marts: Path, days: Sequence[date], segment_ids: NDArray[np.int64], windows_per_day: int) -> ReadingBudget:
    """The budget of the windows `segment_ids` [n], sorted, which lie in `days`.

    Args:
        windows_per_day: windows that are read of each day (UTC, by their start), the most shown first; 0 reads all.
    """
    segments = read_mart(marts, "segments", days_with_segments(marts, days), ("segment_id", "room_id", "started_at"))
    rows = rows_by_key(ints(segments, "segment_id"), segment_ids)
    rooms, started_at = ints(segments, "room_id")[rows], milliseconds(segments, "started_at")[rows]
    if not windows_per_day:
        everything = np.arange(len(segment_ids))
        return ReadingBudget(everything, np.zeros(len(segment_ids), dtype=np.int64), rooms)
    day_of = started_at // DAY_MS
    impressions = np.zeros(len(segment_ids), dtype=np.int64)
    for day in sorted(set(days) & set(built_days(marts, "interactions"))):
        interactions = read_mart(marts, "interactions", [day], ("segment_id",))
        shown, times = np.unique(ints(interactions, "segment_id"), return_counts=True)
        places = rows_by_key(segment_ids, shown)
        shown_rows, times = places[places >= 0], times[places >= 0]
        own_day = day_of[shown_rows] == midnight(day) // DAY_MS
        impressions[shown_rows[own_day]] = times[own_day]
    read = _first_of_each_day(day_of, impressions, windows_per_day)
    return ReadingBudget(_last_read(rooms, started_at, read), impressions, rooms)


def _first_of_each_day(day: NDArray[np.int64], impressions: NDArray[np.int64], most: int) -> NDArray[np.bool_]:
    """[n] the `most` windows of each day with the most impressions; of equals the first by row."""
    order = np.lexsort((np.arange(len(day)), -impressions, day))
    starts = np.flatnonzero(np.r_[True, np.diff(day[order]) != 0]) if len(day) else np.zeros(0, dtype=np.int64)
    place = np.arange(len(day)) - np.repeat(starts, np.diff(np.r_[starts, len(day)]))
    chosen = np.zeros(len(day), dtype=bool)
    chosen[order[place < most]] = True
    return chosen


def _last_read(rooms: NDArray[np.int64], started_at: NDArray[np.int64], read: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[n] row of the last read window of the same room that began no later, -1 if there is none."""
    order = np.lexsort((started_at, rooms))
    places = np.arange(len(order))
    last = np.maximum.accumulate(np.where(read[order], places, -1)) if len(order) else places
    same_room = (last >= 0) & (rooms[order[last]] == rooms[order])
    source = np.empty(len(order), dtype=np.int64)
    source[order] = np.where(same_room, order[last], -1)
    return source
