"""A room's impressions and clicks so far today; in batch and incrementally.

They show how well a room is received, which no text does: a stutter, a bad mood, a lucky evening. The outcome of an impression
is known at its click, or when the time for a click is over, and counts from the next window on. Counts restart at midnight
(UTC). They are the same in training (`outcomes_so_far`, all impressions at once) and live (`RoomOutcomes`, one after another).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livealign.days import DAY_MS

OUTCOME_COUNTS = ("room_impressions", "room_clicks")
CLICK_MS = 60_000  # a play within this time after an impression is a click on it (dbt: click_window_seconds)
WINDOW_MS = 30_000


Ints = NDArray[np.int64]


def outcomes_so_far(
    room_id: Ints, shown_at: Ints, click: NDArray[np.floating], known_at: Ints
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(impressions, clicks) of each impression's room so far, [n] each.

    They are of impressions on the same day whose outcome was known before this impression's window began.

    Args:
        room_id, shown_at, known_at: [n], times in epoch milliseconds. click: [n] 1, 0, or NaN if it was never known.
    """
    if not len(room_id):
        return np.zeros(0), np.zeros(0)
    known = np.flatnonzero(~np.isnan(click))
    day, shown_in, known_in = shown_at // DAY_MS, shown_at // WINDOW_MS, known_at[known] // WINDOW_MS
    first = min(shown_in.min(), known_in.min(initial=shown_in.min()))
    span = max(shown_in.max(), known_in.max(initial=0)) - first + 1
    rooms, room = np.unique(room_id, return_inverse=True)
    begins = ((day - day.min()) * len(rooms) + room.reshape(-1)) * span  # first place of each room's day on a line of windows
    at = begins[known] + known_in - first
    order = np.argsort(at, kind="stable")
    clicks = np.r_[0.0, np.cumsum(click[known][order], dtype=np.float64)]
    since, until = np.searchsorted(at[order], begins), np.searchsorted(at[order], begins + shown_in - first)
    return (until - since).astype(np.float64), clicks[until] - clicks[since]


class RoomOutcomes:
    """Outcomes that are not counted yet, with the window in which they become known.

    They are grouped by the day of their impression.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, dict[int, dict[int, list[int]]]] = defaultdict(lambda: defaultdict(dict))

    def shown(self, room_id: int, at: int) -> None:
        """Add an impression without a click; it is known when the time for a click is over."""
        self._add(at, at + CLICK_MS, room_id, 1, 0)

    def clicked(self, room_id: int, shown_at: int, at: int) -> None:
        """Add the click of an impression; its outcome is known now."""
        self._add(shown_at, shown_at + CLICK_MS, room_id, -1, 0)
        self._add(shown_at, at, room_id, 1, 1)

    def take_known(self, until: int, day: int) -> dict[int, tuple[int, int]]:
        """Remove and return the outcomes of `day` known by the window `until`, by room.

        The values are OUTCOME_COUNTS.
        """
        counts: dict[int, tuple[int, int]] = {}
        windows = self._waiting[day]
        for window in [number for number in windows if number <= until]:
            for room_id, (impressions, clicks) in windows.pop(window).items():
                before = counts.get(room_id, (0, 0))
                counts[room_id] = (before[0] + impressions, before[1] + clicks)
        return counts

    def forget(self, today: int) -> None:
        """Drop the outcomes of earlier days, which no feature needs any more."""
        for day in [day for day in self._waiting if day < today]:
            del self._waiting[day]

    def to_plain(self) -> list[list[Any]]:
        """A copy as plain values, for a checkpoint."""
        return [
            [day, window, [(room_id, tuple(counts)) for room_id, counts in rooms.items()]]
            for day, windows in self._waiting.items()
            for window, rooms in windows.items()
        ]

    @classmethod
    def from_plain(cls, plain: Sequence[Sequence[Any]]) -> "RoomOutcomes":
        """The outcomes that `to_plain` returned."""
        outcomes = cls()
        for day, window, rooms in plain:
            outcomes._waiting[day][window] = {room_id: list(counts) for room_id, counts in rooms}
        return outcomes

    def _add(self, shown_at: int, known_at: int, room_id: int, impressions: int, clicks: int) -> None:
        counts = self._waiting[shown_at // DAY_MS][known_at // WINDOW_MS].setdefault(room_id, [0, 0])
        counts[0] += impressions
        counts[1] += clicks


def known_outcomes(row: Mapping[str, Any]) -> tuple[float, ...]:
    """OUTCOME_COUNTS of a room's row, 0 if it has none."""
    return tuple(float(row.get(name) or 0) for name in OUTCOME_COUNTS)
