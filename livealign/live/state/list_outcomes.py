"""The outcomes of shown lists, counted by release and user.

An outcome belongs to the list that it followed: a click to the impression that it is on, a long view and a gift to that click.
The definitions are those of the mart `interactions`. Lists of an experiment are counted by user, for the test of a difference
(`livealign.evaluation.sequential`); lists outside of any are counted in total.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from livealign.evaluation.tallies import CLICKS, COUNTED, GIFTS, IMPRESSIONS, LISTS, LONG_VIEWS, Arm, Tally

_TALLIES = 16  # releases and experiments; those that were shown longest ago give way
_MOST = 200_000  # impressions, and clicks, that are remembered
_REMEMBERED_MS = 600_000  # dbt: action_window_seconds; clicks and long views come much sooner


class _Clicked(NamedTuple):
    arm: Arm
    at: int
    gifted: bool


class ListOutcomes:
    """Tallies of the latest arms; changed under the lock of the state."""

    def __init__(self, max_users: int) -> None:
        self._max_users = max_users
        self._tallies: OrderedDict[Arm, Tally] = OrderedDict()  # shown longest ago first
        self._shown: OrderedDict[tuple[int, int, int], Arm] = OrderedDict()  # (user, room, time), oldest first
        self._clicked: OrderedDict[tuple[int, int], _Clicked] = OrderedDict()  # (user, room), oldest first

    def __iter__(self) -> Iterator[Tally]:
        return iter(self._tallies.values())

    def shown(self, arm: Arm, user_id: int, room_ids: Sequence[int], at: int) -> None:
        """Count a list; the same list again counts once."""
        if not room_ids or (user_id, room_ids[0], at) in self._shown:
            return
        tally = self._tallies.get(arm)
        if tally is None:
            tally = self._tallies[arm] = Tally(arm, at)
            if len(self._tallies) > _TALLIES:
                self._tallies.popitem(last=False)
        self._tallies.move_to_end(arm)
        for room_id in room_ids:
            self._shown[user_id, room_id, at] = arm
        self._forget(at)
        self._count(arm, user_id, LISTS, 1)
        self._count(arm, user_id, IMPRESSIONS, len(room_ids))

    def clicked(self, user_id: int, room_id: int, shown_at: int, at: int) -> None:
        """Count a click on the impression of `shown_at`, if a list that is remembered had it."""
        arm = self._shown.get((user_id, room_id, shown_at))
        if arm is not None:
            self._clicked[user_id, room_id] = _Clicked(arm, at, gifted=False)
            self._clicked.move_to_end((user_id, room_id))
            self._count(arm, user_id, CLICKS, 1)

    def long_viewed(self, user_id: int, room_id: int, clicked_at: int) -> None:
        """Count a long view of the click of that time."""
        click = self._clicked.get((user_id, room_id))
        if click is not None and click.at == clicked_at:
            self._count(click.arm, user_id, LONG_VIEWS, 1)

    def gifted(self, user_id: int, room_id: int, at: int) -> None:
        """Count a click that has led to a gift; further gifts add nothing."""
        click = self._clicked.get((user_id, room_id))
        if click is not None and not click.gifted and click.at <= at <= click.at + _REMEMBERED_MS:
            self._clicked[user_id, room_id] = click._replace(gifted=True)
            self._count(click.arm, user_id, GIFTS, 1)

    def forget_user(self, user_id: int) -> None:
        """Remove a user, also from the counts of experiments."""
        for tally in self:
            tally.remove(user_id)
        self._shown = OrderedDict((key, arm) for key, arm in self._shown.items() if key[0] != user_id)
        self._clicked = OrderedDict((key, click) for key, click in self._clicked.items() if key[0] != user_id)

    def ids(self) -> set[int]:
        """The ids of all users who are counted or remembered."""
        return {user for tally in self for user in tally.users} | {key[0] for key in (*self._shown, *self._clicked)}

    def move(self, milliseconds: int) -> None:
        """Add to every time: the clock was set."""
        self._shown = OrderedDict(((user, room, at + milliseconds), arm) for (user, room, at), arm in self._shown.items())
        self._clicked = OrderedDict((key, click._replace(at=click.at + milliseconds)) for key, click in self._clicked.items())

    def to_plain(self) -> list[Any]:
        """Lines of JSON values, for a checkpoint; copied, so that they may be written later."""
        numbers = {arm: number for number, arm in enumerate(self._tallies)}
        return [
            [[*tally.arm, tally.since, list(tally.total)] for tally in self],
            *([numbers[tally.arm], user, *counts] for tally in self for user, counts in tally.users.items()),
            [[numbers[arm], *key] for key, arm in self._shown.items() if arm in numbers],
            [
                [numbers[click.arm], *key, click.at, click.gifted]
                for key, click in self._clicked.items()
                if click.arm in numbers
            ],
        ]

    def restore(self, lines: list[Any]) -> None:
        """Load what `to_plain` returned into an empty object."""
        tallies, *users, shown, clicked = lines
        arms = [Arm(*arm) for *arm, _, _ in tallies]
        for arm, (*_, since, total) in zip(arms, tallies, strict=True):
            self._tallies[arm] = Tally(arm, since, list(total) if arm.experiment is None else [0] * len(COUNTED))
        for number, user, *counts in users:
            for what, count in enumerate(counts):
                self._tallies[arms[number]].add(user, what, count, self._max_users)
        self._shown.update(((user, room, at), arms[number]) for number, user, room, at in shown)
        self._clicked.update(((user, room), _Clicked(arms[number], at, gifted)) for number, user, room, at, gifted in clicked)

    def _count(self, arm: Arm, user_id: int, what: int, count: int) -> None:
        tally = self._tallies.get(arm)
        if tally is not None:
            tally.add(user_id, what, count, self._max_users)

    def _forget(self, now: int) -> None:
        since = now - _REMEMBERED_MS
        while self._shown and (len(self._shown) > _MOST or next(iter(self._shown))[2] < since):
            self._shown.popitem(last=False)
        while self._clicked and (len(self._clicked) > _MOST or next(iter(self._clicked.values())).at < since):
            self._clicked.popitem(last=False)
