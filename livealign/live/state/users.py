"""Histories and recently shown rooms of users."""

import zlib
from collections import OrderedDict
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.dataset.room_outcomes import CLICK_MS
from livealign.live.state.columns import Columns

Ints = NDArray[np.int64]

_SHOWN = ("shown_room", "shown_at", "shown_coded_row", "shown_request", "shown_entered")


class History(NamedTuple):
    """A user's last engagements, newest first."""

    coded_row: Ints  # [h] rows of the coded windows
    at: Ints  # [h] epoch milliseconds from which each was known


class ClickedImpression(NamedTuple):
    """The impression that a click was on."""

    coded_row: int  # row of the coded windows: the room's content when it was shown
    shown_at: int  # epoch milliseconds


class Users:
    """Users by id, in columns; beyond `max_users` the least recently active are dropped."""

    def __init__(self, history_length: int, shown_length: int, max_users: int) -> None:
        self.history_length, self._shown_length, self._max_users = history_length, shown_length, max_users
        self._table = Columns(
            user_id=np.int64,
            length=np.int64,
            history_coded_row=(np.int32, history_length),
            history_at=(np.int64, history_length),
            shown_next=np.int64,  # place in the ring of shown rooms that is written next
            shown_room=(np.int64, shown_length),
            shown_at=(np.int64, shown_length),
            shown_coded_row=(np.int32, shown_length),
            shown_request=(np.int64, shown_length),
            shown_entered=(np.bool_, shown_length),
        )
        self._rows: OrderedDict[int, int] = OrderedDict()  # least recently active first

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, name: str) -> NDArray:
        return self._table[name]

    def engage(self, user_id: int, coded_row: int, at: int) -> None:
        """Add a coded window to the user's history."""
        self._insert(self._row(user_id), coded_row, at)

    def history(self, user_id: int, before: int) -> History:
        """The engagements that were known before `before`; empty for an unknown user."""
        row = self._rows.get(user_id)
        if row is None:
            return History(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
        length = int(self["length"][row])
        at = self["history_at"][row, :length]
        earlier = at < before
        return History(self["history_coded_row"][row, :length][earlier].astype(np.int64), at[earlier])

    def newest(self, user_id: int) -> int:
        """The time of the user's last engagement, epoch milliseconds; 0 if unknown."""
        row = self._rows.get(user_id)
        return 0 if row is None or not self["length"][row] else int(self["history_at"][row, 0])

    def replace_history(self, user_id: int, coded_rows: Ints, at: Ints) -> None:
        """Replace the user's engagements [h], newest first."""
        row, length = self._row(user_id), min(len(coded_rows), self.history_length)
        self["length"][row] = length
        self["history_coded_row"][row, :length] = coded_rows[:length]
        self["history_at"][row, :length] = at[:length]

    def show(self, user_id: int, request: str | None, room_ids: Ints, coded_rows: Ints, at: int) -> Ints:
        """Record that rooms [n] were shown to the user; a room of a request counts once.

        Returns:
            Places in `room_ids` of the rooms that are new.
        """
        row, key = self._row(user_id), _key(request)
        new = np.arange(len(room_ids))
        if key and (self["shown_request"][row] == key).any():
            recorded = self["shown_room"][row][self["shown_request"][row] == key]
            new = np.flatnonzero(~np.isin(room_ids, recorded))
            room_ids, coded_rows = room_ids[new], coded_rows[new]
        count = min(len(room_ids), self._shown_length)
        first = int(self["shown_next"][row])
        places = (first + np.arange(count)) % self._shown_length
        self["shown_room"][row, places] = room_ids[:count]
        self["shown_at"][row, places] = at
        self["shown_coded_row"][row, places] = coded_rows[:count]
        self["shown_request"][row, places] = key
        self["shown_entered"][row, places] = False
        self["shown_next"][row] = (first + count) % self._shown_length
        return new

    def enter(self, user_id: int, room_id: int, request: str | None, at: int) -> ClickedImpression | None:
        """Record that the user enters a room; returns the impression that it is a click on.

        As in dbt's int_clicks, that is the recent impression of that request and room, else the user's last one of the room.
        An impression is clicked once. None: the entry is not a click.
        """
        row = self._rows.get(user_id)
        if row is None:
            return None
        places = np.flatnonzero((self["shown_room"][row] == room_id) & (self["shown_at"][row] > 0))
        if request is not None:
            named = places[self["shown_request"][row, places] == _key(request)]
            places = named if len(named) else places
        shown_at = self["shown_at"][row, places]
        in_time = (shown_at <= at) & (at <= shown_at + CLICK_MS)
        if not in_time.any():
            return None
        place = int(places[in_time][np.argmax(shown_at[in_time])])
        if self["shown_entered"][row, place]:
            return None
        self["shown_entered"][row, place] = True
        return ClickedImpression(int(self["shown_coded_row"][row, place]), int(self["shown_at"][row, place]))

    def not_entered(self, user_id: int, since: int, until: int) -> Ints:
        """Rooms shown to the user from `since` to `until` and not entered.

        A room is repeated as often as it was shown.
        """
        row = self._rows.get(user_id)
        if row is None:
            return np.zeros(0, dtype=np.int64)
        at, room, entered = self["shown_at"][row], self["shown_room"][row], self["shown_entered"][row]
        lately = (at >= max(since, 1)) & (at <= until)
        return room[lately & ~np.isin(room, room[lately & entered])]

    def coded_rows_used(self) -> Ints:
        """Rows of the coded windows that a history or a shown room points to."""
        return np.unique(np.concatenate([self["history_coded_row"].reshape(-1), self["shown_coded_row"].reshape(-1)])).astype(
            np.int64
        )

    def latest(self, most: int) -> list[int]:
        """The ids of at most `most` users, the latest active first."""
        return list(islice(reversed(self._rows), most))

    def ids(self) -> list[int]:
        """The ids of all users."""
        return list(self._rows)

    def forget(self, user_id: int) -> None:
        """Remove a user."""
        row = self._rows.pop(user_id, None)
        if row is not None:
            self._remove(row)

    def move(self, milliseconds: int) -> None:
        """Add to every time: the clock was set."""
        for name in ("history_at", "shown_at"):
            times = self[name]
            times[times > 0] += milliseconds

    def renumber(self, number: Ints) -> None:
        """Point to the compacted table, in which row m has become row `number[m]`."""
        for name in ("history_coded_row", "shown_coded_row"):
            self[name][:] = number[self[name]]

    def arrays(self, since: int) -> dict[str, NDArray]:
        """Histories and the rooms shown after `since`, for a checkpoint.

        Users are in the order of their last activity, the latest last.
        """
        order = np.fromiter(self._rows.values(), dtype=np.int64, count=len(self._rows))
        histories = {name: self[name][order] for name in ("user_id", "length", "history_coded_row", "history_at")}
        row, place = np.nonzero(self["shown_at"][order] > since)
        by_time = np.lexsort((self["shown_at"][order[row], place], row))
        row, place = row[by_time], place[by_time]
        return histories | {"shown_row": row} | {name: self[name][order[row], place] for name in _SHOWN}

    def restore(self, arrays: dict[str, NDArray]) -> None:
        """Load what `arrays` returned into an empty table."""
        width = min(self.history_length, arrays["history_at"].shape[1])
        for row, user_id in enumerate(arrays["user_id"].tolist()):
            self._rows[user_id] = self._table.append(user_id=user_id, length=min(width, int(arrays["length"][row])))
        for name in ("history_coded_row", "history_at"):
            self[name][:, :width] = arrays[name][:, :width]
        shown = arrays["shown_row"].astype(np.int64)  # sorted, each user's oldest first
        place = (np.arange(len(shown)) - np.searchsorted(shown, shown)) % self._shown_length
        for name in _SHOWN:
            self[name][shown, place] = arrays[name]
        self["shown_next"][shown] = (place + 1) % self._shown_length

    def _insert(self, row: int, coded_row: int, at: int) -> None:
        length, ats, coded_rows = int(self["length"][row]), self["history_at"][row], self["history_coded_row"][row]
        place = int((ats[:length] > at).sum())
        if place >= self.history_length or ((ats[:length] == at) & (coded_rows[:length] == coded_row)).any():
            return
        stop = min(length, self.history_length - 1)
        coded_rows[place + 1 : stop + 1] = coded_rows[place:stop].copy()
        ats[place + 1 : stop + 1] = ats[place:stop].copy()
        coded_rows[place], ats[place] = coded_row, at
        self["length"][row] = stop + 1

    def _row(self, user_id: int) -> int:
        row = self._rows.get(user_id)
        if row is not None:
            self._rows.move_to_end(user_id)
            return row
        if len(self._rows) >= self._max_users:
            self._remove(self._rows.popitem(last=False)[1])
        row = self._rows[user_id] = self._table.append(user_id=user_id)
        return row

    def _remove(self, row: int) -> None:
        last = self._table.remove(row)
        if last != row:
            self._rows[int(self["user_id"][row])] = row


def _key(request: str | None) -> int:
    """A number that tells requests apart; 0 = none."""
    return 0 if request is None else 1 + zlib.crc32(request.encode("utf-8", "surrogatepass"))
