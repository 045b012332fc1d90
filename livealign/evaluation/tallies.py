"""What followed the shown lists of one release, by user, with the sums that a test needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

LISTS, IMPRESSIONS, CLICKS, LONG_VIEWS, GIFTS = range(5)
COUNTED = ("lists", "impressions", "clicks", "long_views", "gifts")


class Arm(NamedTuple):
    """A release in an experiment, or outside of any."""

    release: str
    experiment: str | None  # None: the champion served alone
    challenger: bool
    share: float  # of the users, 1 outside of an experiment


@dataclass
class Tally:
    """The outcomes of one arm."""

    arm: Arm
    since: int  # epoch milliseconds of the first list
    total: list[int] = field(default_factory=lambda: [0] * len(COUNTED))
    users: dict[int, list[int]] = field(default_factory=dict)  # by COUNTED; of an experiment only
    products: list[list[int]] = field(default_factory=lambda: [[0] * len(COUNTED) for _ in COUNTED])  # Σ over users of c·cᵀ

    def add(self, user_id: int, what: int, count: int, max_users: int) -> None:
        """Count something for a user; users beyond `max_users` are left out of an experiment."""
        if self.arm.experiment is not None:
            of_user = self.users.get(user_id)
            if of_user is None:
                if len(self.users) >= max_users:
                    return
                of_user = self.users[user_id] = [0] * len(COUNTED)
            for other, value in enumerate(of_user):
                self.products[what][other] += count * value
                self.products[other][what] += count * value
            self.products[what][what] += count * count
            of_user[what] += count
        self.total[what] += count

    def remove(self, user_id: int) -> None:
        """Take a user out of an experiment."""
        counts = self.users.pop(user_id, None)
        for what, count in enumerate(counts or ()):
            self.total[what] -= count
            for other, value in enumerate(counts or ()):
                self.products[what][other] -= count * value


def tallies_of(users: Mapping[Arm, Mapping[int, Sequence[int]]]) -> list[Tally]:
    """Tallies of counts by arm and user, in the order of COUNTED."""
    tallies = []
    for arm, counts in users.items():
        tally = Tally(arm, 0)
        for user_id, of_user in counts.items():
            for what, count in enumerate(of_user):
                tally.add(user_id, what, count, len(counts))
        tallies.append(tally)
    return tallies
