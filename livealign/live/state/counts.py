"""Running counts of users and authors, by day.

As in the marts, a count covers the days before today. A release's counts end with a day. The service counts later days by
itself and adds them, so the counts change at midnight as they do in the warehouse.
"""

from collections import defaultdict
from collections.abc import Mapping

_DAYS_KEPT = 14


class RunningCounts:
    """Counts of users or of authors: a tuple of `width` numbers for each id."""

    def __init__(self, width: int, from_release: Mapping[int, tuple[float, ...]], release_day: int) -> None:
        """`from_release`: sums over the days before `release_day` (days since 1970)."""
        self._zeros = (0.0,) * width
        self.from_release, self.release_day = from_release, release_day
        self.by_day: dict[int, dict[int, list[float]]] = defaultdict(dict)

    def add(self, person: int, column: int, day: int) -> None:
        """Add one to a column of a person's counts of a day."""
        counts = self.by_day[day].get(person)
        if counts is None:
            counts = self.by_day[day][person] = list(self._zeros)
        counts[column] += 1

    def before(self, person: int, day: int) -> tuple[float, ...]:
        """The sums over the days before `day`."""
        counts = self.from_release.get(person, self._zeros)
        for counted_day, people in self.by_day.items():
            if self.release_day <= counted_day < day and person in people:
                counts = tuple(a + b for a, b in zip(counts, people[person], strict=True))
        return counts

    def ids(self) -> set[int]:
        """The ids of all persons."""
        return {*self.from_release, *(person for people in self.by_day.values() for person in people)}

    def forget_person(self, person: int) -> None:
        """Drop a person's counts."""
        self.from_release = {known: counts for known, counts in self.from_release.items() if known != person}
        for people in self.by_day.values():
            people.pop(person, None)

    def rebase(self, from_release: Mapping[int, tuple[float, ...]], release_day: int) -> None:
        """Replace the release's counts by a newer release's; the service's own counts stay."""
        self.from_release, self.release_day = from_release, release_day

    def forget(self, today: int) -> None:
        """Drop days older than two weeks; by then a newer release has counted them."""
        for day in [day for day in self.by_day if day < today - _DAYS_KEPT]:
            del self.by_day[day]
