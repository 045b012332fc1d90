"""The authors that users blocked, and the rooms that they are not interested in."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
PlainWishes = tuple[int, list[int], list[int]]  # user, authors, rooms
MOST = 1_000  # authors, and rooms, of one user; the oldest give way


class Unwanted(NamedTuple):
    """The wishes of one user."""

    authors: Ints
    rooms: Ints


class _Of(NamedTuple):
    authors: OrderedDict[int, None]
    rooms: OrderedDict[int, None]


NOTHING_UNWANTED = Unwanted(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


class Wishes:
    """The wishes of at most `max_users` users; those who said nothing for longest give way."""

    def __init__(self, max_users: int) -> None:
        self._max_users = max_users
        self._of_user: OrderedDict[int, _Of] = OrderedDict()

    def __contains__(self, user_id: int) -> bool:
        return user_id in self._of_user

    def block(self, user_id: int, author_id: int) -> None:
        """The user does not want rooms of the author."""
        _add(self._of(user_id).authors, author_id)

    def unblock(self, user_id: int, author_id: int) -> None:
        """The user takes the block back."""
        if user_id in self._of_user:
            self._of(user_id).authors.pop(author_id, None)

    def not_interested(self, user_id: int, room_id: int) -> None:
        """The user does not want the room."""
        _add(self._of(user_id).rooms, room_id)

    def unwanted(self, user_id: int) -> Unwanted:
        """The authors and rooms that the user does not want."""
        wishes = self._of_user.get(user_id)
        if wishes is None:
            return NOTHING_UNWANTED
        return Unwanted(*(np.fromiter(ids, dtype=np.int64, count=len(ids)) for ids in wishes))

    def ids(self) -> list[int]:
        """The ids of all users with a wish."""
        return list(self._of_user)

    def forget(self, user_id: int) -> None:
        """Drop the user's wishes."""
        self._of_user.pop(user_id, None)

    def to_plain(self) -> list[PlainWishes]:
        """A copy as plain values, for a checkpoint."""
        return [(user_id, list(wishes.authors), list(wishes.rooms)) for user_id, wishes in self._of_user.items()]

    def restore(self, plain: Sequence[PlainWishes]) -> None:
        """Load what `to_plain` returned."""
        for user_id, authors, rooms in plain:
            self._of_user[user_id] = _Of(OrderedDict.fromkeys(authors), OrderedDict.fromkeys(rooms))

    def _of(self, user_id: int) -> _Of:
        wishes = self._of_user.get(user_id)
        if wishes is None:
            if len(self._of_user) >= self._max_users:
                self._of_user.popitem(last=False)
            wishes = self._of_user[user_id] = _Of(OrderedDict(), OrderedDict())
        self._of_user.move_to_end(user_id)
        return wishes


def _add(ids: OrderedDict[int, None], new: int) -> None:
    ids[new] = None
    ids.move_to_end(new)
    if len(ids) > MOST:
        ids.popitem(last=False)
