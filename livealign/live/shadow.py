"""Challengers in the shadow: they rank what the champion has ranked, and nobody sees it.

A list is compared in a thread of its own, after it was answered. Where lists come faster than they can be compared, some are
left out, and counted.
"""

from collections.abc import Sequence
from queue import Empty, Full, Queue
from threading import Lock
from typing import NamedTuple

import numpy as np

from livealign.live.answers import NOT_COMPARED, Observer, Recommendations, ShadowComparison, ShadowSummary
from livealign.live.lane import Lane, Reading
from livealign.live.recommender import Request

WAITING = 256  # lists


class _Waiting(NamedTuple):
    release: str
    reading: Reading
    request: Request
    shown: Recommendations


class Shadows:
    """The lists that wait for a comparison, and what came of the others."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._waiting: Queue[_Waiting] = Queue(WAITING)
        self._summaries: dict[str, ShadowSummary] = {}
        self._gate = Lock()

    def read(self, lanes: Sequence[tuple[str, Lane]], user_id: int, at: int) -> list[tuple[str, Reading]]:
        """What the challengers would rank, before the champion's list changes it."""
        return [(release, lane.read(user_id, at)) for release, lane in lanes]

    def add(self, readings: Sequence[tuple[str, Reading]], request: Request, shown: Recommendations) -> None:
        """Let a shown list be compared later."""
        for release, reading in readings:
            try:
                self._waiting.put_nowait(_Waiting(release, reading, request, shown))
            except Full:
                self._count(release, None)

    def compare(self, seconds: float) -> bool:
        """Compare the next list; returns False if none came in time."""
        try:
            release, reading, request, shown = self._waiting.get(timeout=seconds)
        except Empty:
            return False
        found = compared(release, reading, request, shown)
        self._count(release, found)
        self._observer.shadowed(found)
        return True

    def summaries(self) -> dict[str, ShadowSummary]:
        """The comparisons so far by release."""
        with self._gate:
            return dict(self._summaries)

    def forget(self, release: str) -> None:
        """Begin to count a release anew."""
        with self._gate:
            self._summaries.pop(release, None)

    def _count(self, release: str, found: ShadowComparison | None) -> None:
        with self._gate:
            old = self._summaries.get(release, NOT_COMPARED)
            if found is None:
                new = old._replace(left_out=old.left_out + 1)
            else:
                new = ShadowSummary(
                    old.lists + 1,
                    old.left_out,
                    _mean(old.overlap, old.lists, found.overlap),
                    _mean(old.rank_correlation, old.ranked, found.rank_correlation),
                    old.ranked + (found.rank_correlation is not None),
                )
            self._summaries[release] = new


def _mean(mean: float | None, count: int, value: float | None) -> float | None:
    """The mean of `count` values and one more, which may be missing."""
    if value is None:
        return mean
    return value if mean is None else mean + (value - mean) / (count + 1)


def compared(release: str, reading: Reading, request: Request, shown: Recommendations) -> ShadowComparison:
    """The list that a challenger would have shown, compared with the one that was.

    Rooms that were drawn at random are left out. The rank correlation is Kendall's tau-a of the two releases' orders of the
    rooms that were shown.
    """
    serving, view, _, reader = reading
    answer = serving.recommender.recommend(view, reader, request)
    theirs = [room.room_id for room in shown.rooms if not room.explored]
    ours = [room.room_id for room in answer.rooms if not room.explored]
    row_of = {room_id: row for row, room_id in enumerate(view.room_id.tolist())}
    known = [room_id for room_id in theirs if room_id in row_of]
    correlation = None
    if len(known) > 1:
        rows = np.array([row_of[room_id] for room_id in known], dtype=np.int64)
        click = serving.recommender.ranker.config.tasks.index("click")
        scores = serving.recommender.scores(view, rows, reader, request.at)[:, click]
        ordered = serving.recommender.lowered(view, rows, scores, reader)
        above, below = np.triu_indices(len(known), 1)
        correlation = float(np.sign(ordered[above].astype(np.float64) - ordered[below]).mean())
    overlap = len(set(theirs) & set(ours)) / max(len(theirs), len(ours), 1)
    return ShadowComparison(release, request.request_id, tuple(ours), overlap, correlation)
