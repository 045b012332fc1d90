"""How a room has done so far today: how often it was shown, and how often somebody came in.

What a moment is about is one thing, how it goes down is another: a stutter, a bad mood or a lucky evening are in no text. An
impression tells once its outcome is known, at the click or when the time for one is over, and from the window after that on.
Counts begin anew at midnight (UTC). They are the same in training (`outcomes_so_far`, all impressions at once) and live
(`RoomOutcomes`, one after another).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livealign.days import DAY_MS

OUTCOME_COUNTS = ("room_impressions", "room_clicks")
CLICK_MS = 60_000  # a play so long after an impression is a click on it (dbt: click_window_seconds)
WINDOW_MS = 30_000


Ints = NDArray[np.int64]


def outcomes_so_far(
    room_id: Ints, shown_at: Ints, click: NDArray[np.floating], known_at: Ints
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(impressions, clicks), [n] each: of each impression's room, shown on its day, and known before its window began.

    Args:
        room_id, shown_at, known_at: [n], times in epoch milliseconds. click: [n] 1, 0, or NaN where it was never known.
    """
    if not len(room_id):
        return np.zeros(0), np.zeros(0)
    known = np.flatnonzero(~np.isnan(click))
    day, shown_in, known_in = shown_at // DAY_MS, shown_at // WINDOW_MS, known_at[known] // WINDOW_MS
    first = min(shown_in.min(), known_in.min(initial=shown_in.min()))
    span = max(shown_in.max(), known_in.max(initial=0)) - first + 1
    rooms, room = np.unique(room_id, return_inverse=True)
    begins = ((day - day.min()) * len(rooms) + room.reshape(-1)) * span  # of each room's day in one line of windows
    at = begins[known] + known_in - first
    order = np.argsort(at, kind="stable")
    clicks = np.r_[0.0, np.cumsum(click[known][order], dtype=np.float64)]
    since, until = np.searchsorted(at[order], begins), np.searchsorted(at[order], begins + shown_in - first)
    return (until - since).astype(np.float64), clicks[until] - clicks[since]


class RoomOutcomes:
    """Outcomes that are not counted yet, by the day of their impression and the window in which they become known."""

    def __init__(self) -> None:
        self._waiting: dict[int, dict[int, dict[int, list[int]]]] = defaultdict(lambda: defaultdict(dict))

    def shown(self, room_id: int, at: int) -> None:
        """An impression, whose outcome is known when the time for a click is over …"""
        self._add(at, at + CLICK_MS, room_id, 1, 0)

    def clicked(self, room_id: int, shown_at: int, at: int) -> None:
        """… or is known now, because there was one."""
        self._add(shown_at, shown_at + CLICK_MS, room_id, -1, 0)
        self._add(shown_at, at, room_id, 1, 1)

    def known(self, until: int, day: int) -> dict[int, tuple[int, int]]:
        """What became known in the windows up to `until` of the impressions of `day`: OUTCOME_COUNTS by room, told once."""
        told: dict[int, tuple[int, int]] = {}
        windows = self._waiting[day]
        for window in [one for one in windows if one <= until]:
            for room_id, (impressions, clicks) in windows.pop(window).items():
                before = told.get(room_id, (0, 0))
                told[room_id] = (before[0] + impressions, before[1] + clicks)
        return told

    def forget(self, today: int) -> None:
        """Drop what is left of the days before: nobody asks for it any more."""
        for day in [day for day in self._waiting if day < today]:
            del self._waiting[day]

    def told(self) -> list[list[Any]]:
        """All of it as plain values that later events do not change, for a checkpoint."""
        return [
            [day, window, [(room_id, tuple(counts)) for room_id, counts in rooms.items()]]
            for day, windows in self._waiting.items()
            for window, rooms in windows.items()
        ]

    @classmethod
    def of(cls, told: Sequence[Sequence[Any]]) -> "RoomOutcomes":
        """What `told` gave."""
        outcomes = cls()
        for day, window, rooms in told:
            outcomes._waiting[day][window] = {room_id: list(counts) for room_id, counts in rooms}
        return outcomes

    def _add(self, shown_at: int, known_at: int, room_id: int, impressions: int, clicks: int) -> None:
        counts = self._waiting[shown_at // DAY_MS][known_at // WINDOW_MS].setdefault(room_id, [0, 0])
        counts[0] += impressions
        counts[1] += clicks


def known_outcomes(row: Mapping[str, Any]) -> tuple[float, ...]:
    """OUTCOME_COUNTS of a room's row, 0 where it has none."""
    return tuple(float(row.get(name) or 0) for name in OUTCOME_COUNTS)
