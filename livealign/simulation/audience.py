"""Viewers from outside the panel: plays and chat without impressions."""

import numpy as np

from livealign.simulation.config import WINDOW_MS
from livealign.simulation.moments import Day
from livealign.simulation.world import Ints

FIRST_AUDIENCE_ID = 900_000_000_001
REGULARS = 3  # of every room; they stay from beginning to end
MEAN_STAY_MS = 8 * 60_000


class Audience:
    """The V viewers of the day's rooms, room after room, regulars first.

    `room`, `user_id`, `entered_at` and `left_at` are [V].
    """

    def __init__(self, day: Day) -> None:
        authors, rooms, rng = day.authors, day.rooms, day.generator("audience")
        share = authors.popularity[rooms.author] / authors.popularity[rooms.author].mean()
        minutes = (rooms.end - rooms.start) / 60_000
        passers = rng.poisson(0.3 * minutes * (0.5 + 0.5 * np.minimum(share, 4.0)))
        self._size = passers + REGULARS
        self._first = np.cumsum(self._size) - self._size
        self.room = np.repeat(np.arange(len(self._size)), self._size)
        self.user_id = FIRST_AUDIENCE_ID + rng.integers(4 * day.config.users, size=len(self.room))
        start, end = rooms.start[self.room], rooms.end[self.room]
        regular = np.arange(len(self.room)) - self._first[self.room] < REGULARS
        entered = start + (rng.random(len(self.room)) * (end - start - WINDOW_MS)).astype(np.int64)
        left = entered + 1_000 + (rng.exponential(MEAN_STAY_MS, len(self.room))).astype(np.int64)
        self.entered_at = np.where(regular, start, entered)
        self.left_at = np.where(regular, end, np.minimum(left, end))

    def speakers(self, room: Ints, at: Ints, rng: np.random.Generator) -> Ints:
        """Ids [n] of viewers who are in the room at that time.

        A random viewer if present at that time, else one of the regulars.
        """
        anyone = self._first[room] + (rng.random(len(room)) * self._size[room]).astype(np.int64)
        present = (self.entered_at[anyone] <= at) & (at < self.left_at[anyone])
        regular = self._first[room] + rng.integers(REGULARS, size=len(room))
        return self.user_id[np.where(present, anyone, regular)]
