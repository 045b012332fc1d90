"""What is known of users: their last engagements, and the rooms that they were shown lately."""

import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.dataset.room_outcomes import CLICK_MS
from livealign.live.state.columns import Columns

Ints = NDArray[np.int64]

_SHOWN = ("shown_room", "shown_at", "shown_moment", "shown_request", "shown_entered")


class History(NamedTuple):
    """A user's last engagements, newest first."""

    moment: Ints  # [h] rows of the moments table
    at: Ints  # [h] epoch milliseconds from which each was known


class Clicked(NamedTuple):
    """The impression that a click was on."""

    moment: int  # row of the moments table: what the room was when it was shown
    shown_at: int  # epoch milliseconds


class Users:
    """Users by id, in columns. Of too many, those of whom nothing was heard for longest give way."""

    def __init__(self, history_length: int, shown_length: int, max_users: int) -> None:
        self.history_length, self._shown_length, self._max_users = history_length, shown_length, max_users
        self._table = Columns(
            user_id=np.int64,
            length=np.int64,
            history_moment=(np.int32, history_length),
            history_at=(np.int64, history_length),
            shown_next=np.int64,  # where the ring of shown rooms goes on
            shown_room=(np.int64, shown_length),
            shown_at=(np.int64, shown_length),
            shown_moment=(np.int32, shown_length),
            shown_request=(np.int64, shown_length),
            shown_entered=(np.bool_, shown_length),
        )
        self._rows: dict[int, int] = {}  # least lately heard of first

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, name: str) -> NDArray:
        return self._table[name]

    def engage(self, user_id: int, moment: int, at: int) -> None:
        """The moment becomes part of the user's history."""
        self._insert(self._row(user_id), moment, at)

    def history(self, user_id: int, before: int) -> History:
        """The engagements that were known before `before`; none of an unknown user."""
        row = self._rows.get(user_id)
        if row is None:
            return History(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
        length = int(self["length"][row])
        at = self["history_at"][row, :length]
        known = at < before
        return History(self["history_moment"][row, :length][known].astype(np.int64), at[known])

    def newest(self, user_id: int) -> int:
        """When the user last engaged, 0 where that is not known."""
        row = self._rows.get(user_id)
        return 0 if row is None or not self["length"][row] else int(self["history_at"][row, 0])

    def replace_history(self, user_id: int, moments: Ints, at: Ints) -> None:
        """The user's engagements [h] are these, newest first."""
        row, length = self._row(user_id), min(len(moments), self.history_length)
        self["length"][row] = length
        self["history_moment"][row, :length] = moments[:length]
        self["history_at"][row, :length] = at[:length]

    def show(self, user_id: int, request: str | None, room_ids: Ints, moments: Ints, at: int) -> Ints:
        """Rooms [n] were shown to the user. The same room of the same request again changes nothing.

        Returns:
            Places in `room_ids` of those that are new.
        """
        row, key = self._row(user_id), _key(request)
        new = np.arange(len(room_ids))
        if key and (self["shown_request"][row] == key).any():
            told = self["shown_room"][row][self["shown_request"][row] == key]
            new = np.flatnonzero(~np.isin(room_ids, told))
            room_ids, moments = room_ids[new], moments[new]
        count = min(len(room_ids), self._shown_length)
        first = int(self["shown_next"][row])
        places = (first + np.arange(count)) % self._shown_length
        self["shown_room"][row, places] = room_ids[:count]
        self["shown_at"][row, places] = at
        self["shown_moment"][row, places] = moments[:count]
        self["shown_request"][row, places] = key
        self["shown_entered"][row, places] = False
        self["shown_next"][row] = (first + count) % self._shown_length
        return new

    def enter(self, user_id: int, room_id: int, request: str | None, at: int) -> Clicked | None:
        """The user enters a room. The impression that showed it to them, where that was not long ago.

        As in dbt's int_clicks: the impression of that request and room, else the user's last one of the room; each is
        clicked once. None: it is no click.
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
        return Clicked(int(self["shown_moment"][row, place]), int(self["shown_at"][row, place]))

    def not_entered(self, user_id: int, since: int, until: int) -> Ints:
        """Rooms shown to the user from `since` up to `until` that they did not enter; a room as often as it was shown."""
        row = self._rows.get(user_id)
        if row is None:
            return np.zeros(0, dtype=np.int64)
        at, room, entered = self["shown_at"][row], self["shown_room"][row], self["shown_entered"][row]
        lately = (at >= max(since, 1)) & (at <= until)
        return room[lately & ~np.isin(room, room[lately & entered])]

    def moments_used(self) -> Ints:
        """Rows of the moments table that anything here points to."""
        return np.unique(np.concatenate([self["history_moment"].reshape(-1), self["shown_moment"].reshape(-1)])).astype(
            np.int64
        )

    def renumber(self, number: Ints) -> None:
        """The moments table was compacted: row m is `number[m]` now."""
        for name in ("history_moment", "shown_moment"):
            self[name][:] = number[self[name]]

    def arrays(self, since: int) -> dict[str, NDArray]:
        """For a checkpoint: histories in the order in which users were last heard of, and what was shown after `since`."""
        order = np.fromiter(self._rows.values(), dtype=np.int64, count=len(self._rows))
        told = {name: self[name][order] for name in ("user_id", "length", "history_moment", "history_at")}
        row, place = np.nonzero(self["shown_at"][order] > since)
        by_time = np.lexsort((self["shown_at"][order[row], place], row))
        row, place = row[by_time], place[by_time]
        return told | {"shown_row": row} | {name: self[name][order[row], place] for name in _SHOWN}

    def restore(self, arrays: dict[str, NDArray]) -> None:
        """Take over what `arrays` gave; the table is empty before."""
        width = min(self.history_length, arrays["history_at"].shape[1])
        for row, user_id in enumerate(arrays["user_id"].tolist()):
            self._rows[user_id] = self._table.append(user_id=user_id, length=min(width, int(arrays["length"][row])))
        for name in ("history_moment", "history_at"):
            self[name][:, :width] = arrays[name][:, :width]
        shown = arrays["shown_row"].astype(np.int64)  # sorted, each user's oldest first
        place = (np.arange(len(shown)) - np.searchsorted(shown, shown)) % self._shown_length
        for name in _SHOWN:
            self[name][shown, place] = arrays[name]
        self["shown_next"][shown] = (place + 1) % self._shown_length

    def _insert(self, row: int, moment: int, at: int) -> None:
        length, ats, moments = int(self["length"][row]), self["history_at"][row], self["history_moment"][row]
        place = int((ats[:length] > at).sum())
        if place >= self.history_length or ((ats[:length] == at) & (moments[:length] == moment)).any():
            return
        stop = min(length, self.history_length - 1)
        moments[place + 1 : stop + 1] = moments[place:stop].copy()
        ats[place + 1 : stop + 1] = ats[place:stop].copy()
        moments[place], ats[place] = moment, at
        self["length"][row] = stop + 1

    def _row(self, user_id: int) -> int:
        row = self._rows.pop(user_id, None)
        if row is None:
            if len(self._rows) >= self._max_users:
                self._forget(next(iter(self._rows)))
            row = self._table.append(user_id=user_id)
        self._rows[user_id] = row  # last in the dict: heard of latest
        return row

    def _forget(self, user_id: int) -> None:
        row = self._rows.pop(user_id)
        last = self._table.remove(row)
        if last != row:
            self._rows[int(self["user_id"][row])] = row


def _key(request: str | None) -> int:
    """A number that tells requests apart; 0 = none."""
    return 0 if request is None else 1 + zlib.crc32(request.encode("utf-8", "surrogatepass"))
