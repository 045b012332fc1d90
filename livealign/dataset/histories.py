"""The histories: a user's engagements before each impression.

The mart `user_histories` has one row for each engagement, sorted by user and by the time from which the engagement may be
known. The history of an impression is the last few rows of its user with a time strictly before the impression's. So neither
the impression itself nor anything of the same instant can be in it.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from livealign.dataset.columns import Ints, ints, milliseconds
from livealign.dataset.marts import built_days, read_mart
from livealign.errors import MartError

_COLUMNS = ("user_id", "engaged_at", "impression_id", "author_id", "segment_id")


class Engagements(NamedTuple):
    """Engagements, [e], sorted by user, time and impression."""

    user_id: Ints
    engaged_at: Ints  # epoch milliseconds from which it may be known
    impression_id: Ints
    author_id: Ints
    segment_id: Ints  # 0 if no window of the room had ended


class Histories(NamedTuple):
    """Histories of n impressions, as rows of the engagements, newest first.

    Rows save memory: few engagements are in many histories.
    """

    engagements: Engagements
    rows: NDArray[np.int32]  # [n, L] of `engagements`, −1 behind `length`
    length: Ints  # [n]

    def segments(self) -> Ints:
        """Segment ids of the engagements that are in any history."""
        used = np.zeros(len(self.engagements.segment_id) + 1, dtype=bool)  # the last is row −1
        used[self.rows] = True
        return self.engagements.segment_id[used[:-1]]


def read_engagements(marts: Path, first: date, last: date, users: NDArray, length: int) -> Engagements:
    """The engagements of these users that can be in a history of the days `first` to `last`.

    These are all of the days themselves, and the last `length` of each user before them. Earlier days are read backwards until
    every user has enough.

    Raises:
        MartError: the mart lacks the day `last`, or a file of it cannot be read.
    """
    built = [day for day in built_days(marts, "user_histories") if day <= last]
    if not built or built[-1] < last:
        raise MartError(f"{marts / 'user_histories'} has no day {last}; build the warehouse for {last} first")
    users = np.unique(users)
    within = [day for day in built if day >= first]
    parts = [_of_users(read_mart(marts, "user_histories", within, _COLUMNS), users)] if within else []
    lacking = users
    count = np.zeros(len(users), dtype=np.int64)  # engagements before `first`, by user
    for day in reversed([day for day in built if day < first]):
        if not len(lacking):
            break
        part = _of_users(read_mart(marts, "user_histories", [day], _COLUMNS), lacking)
        parts.append(part)
        count += np.bincount(np.searchsorted(users, part.user_id), minlength=len(users))
        lacking = users[count < length]
    return _sorted(parts)


def histories_before(engagements: Engagements, user_id: NDArray, shown_at: NDArray, length: int) -> Histories:
    """The last `length` engagements of each `user_id` [n] before `shown_at` [n].

    They were known strictly before that time (epoch milliseconds).

    Raises:
        MartError: there are more engagements than int32 can number.
    """
    users = np.unique(engagements.user_id)
    times = np.concatenate([engagements.engaged_at, shown_at]).astype(np.int64)
    low, high = (int(times.min()), int(times.max())) if len(times) else (0, 0)
    span = high - low + 1  # length of one user's part of a line on which all users' times follow each other
    user = np.searchsorted(users, user_id)
    line = np.searchsorted(users, engagements.user_id) * span + (engagements.engaged_at - low)
    stop = np.searchsorted(line, user * span + (shown_at - low))
    start = np.searchsorted(line, user * span)
    known = np.isin(user_id, users)
    lengths = np.where(known, np.minimum(stop - start, length), 0)
    if len(line) > np.iinfo(np.int32).max:
        raise MartError(f"{len(line):,} engagements are more than a history can name; set a smaller dataset.train_days")
    places = np.arange(length, dtype=np.int32)
    rows = stop.astype(np.int32)[:, None] - 1 - places  # newest first
    rows[places >= lengths[:, None]] = -1
    return Histories(engagements, rows, lengths.astype(np.int64))


def _of_users(table: pa.Table, users: Ints) -> Engagements:
    columns = [milliseconds(table, name) if name == "engaged_at" else ints(table, name) for name in _COLUMNS]
    mine = np.isin(columns[0], users)
    return Engagements(*(column[mine] for column in columns))


def _sorted(parts: Sequence[Engagements]) -> Engagements:
    user_id, engaged_at, impression_id, author_id, segment_id = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((impression_id, engaged_at, user_id))
    return Engagements(user_id[order], engaged_at[order], impression_id[order], author_id[order], segment_id[order])
