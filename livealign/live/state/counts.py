"""Running counts of users and authors, as the marts give them: everything of the days before, nothing of today.

What a release knows ends with a day; what the service saw since is counted by day on top, so that the counts move on at
midnight as they do in the warehouse.
"""

from collections import defaultdict
from collections.abc import Mapping

_DAYS_KEPT = 14


class RunningCounts:
    """Counts of one kind of people: a tuple of `width` numbers for each id."""

    def __init__(self, width: int, known: Mapping[int, tuple[float, ...]], known_day: int) -> None:
        """`known`: everything of the days before `known_day` (days since 1970)."""
        self._nothing = (0.0,) * width
        self.known, self.known_day = known, known_day
        self.by_day: dict[int, dict[int, list[float]]] = defaultdict(dict)

    def add(self, person: int, column: int, day: int) -> None:
        """One more."""
        counts = self.by_day[day].get(person)
        if counts is None:
            counts = self.by_day[day][person] = list(self._nothing)
        counts[column] += 1

    def before(self, person: int, day: int) -> tuple[float, ...]:
        """The sums over the days before `day`."""
        counts = self.known.get(person, self._nothing)
        for one, people in self.by_day.items():
            if self.known_day <= one < day and person in people:
                counts = tuple(a + b for a, b in zip(counts, people[person], strict=True))
        return counts

    def rebase(self, known: Mapping[int, tuple[float, ...]], known_day: int) -> None:
        """A newer release knows more; what was seen since its day stays on top."""
        self.known, self.known_day = known, known_day

    def forget(self, today: int) -> None:
        """Drop days that are too old; their counts are those of a release that nobody retrained for so long."""
        for day in [day for day in self.by_day if day < today - _DAYS_KEPT]:
            del self.by_day[day]
