"""Broadcasts by id, for what the other files leave out: author, start and end.

A stream over midnight may be published under both dates, with the same id. Such rows are one broadcast, from the earliest
start to the latest end; the first row of the file stands for it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from livealign.landing.times import YEAR_2000_MS
from livealign.platforms.typed_values import Batch

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
OPEN_END = np.int64(np.iinfo(np.int64).max)  # of a room that is still live


@dataclass(frozen=True)
class Rooms:
    """n rooms, sorted by id; 40 bytes each.

    Times are milliseconds of the file's clock until `shifted`.
    """

    ids: Ints
    authors: Ints
    started: Ints
    ended: Ints  # OPEN_END while live
    lines: Ints  # the row that stands for the room

    def find(self, room_ids: Ints) -> tuple[npt.NDArray[np.intp], Mask]:
        """[n] the index of each room, and whether it is known; an unknown room's index is arbitrary."""
        if not len(self.ids):
            return np.zeros(len(room_ids), np.intp), np.zeros(len(room_ids), np.bool_)
        index = np.minimum(np.searchsorted(self.ids, room_ids), len(self.ids) - 1)
        return index, self.ids[index] == room_ids

    def shifted(self, offset_ms: int) -> "Rooms":
        """The same rooms in UTC; `offset_ms` = the file's clock minus UTC."""
        ended = np.where(self.ended == OPEN_END, OPEN_END, self.ended - offset_ms)
        return Rooms(self.ids, self.authors, self.started - offset_ms, ended, self.lines)


def read_rooms(batches: Iterable[Batch]) -> Rooms:
    """Rooms from rows with live_id, author_id, start_timestamp and end_timestamp.

    Rows without id or start are left out.
    """
    parts: list[tuple[Ints, ...]] = []
    for batch in batches:
        ids, authors = whole_numbers(batch.rows.column("live_id")), whole_numbers(batch.rows.column("author_id"))
        started = whole_numbers(batch.rows.column("start_timestamp"))
        ended = whole_numbers(batch.rows.column("end_timestamp"), OPEN_END)
        usable = (ids >= 0) & (started >= YEAR_2000_MS) & (authors >= 0) & (ended >= started)
        parts.append(tuple(part[usable] for part in (ids, authors, started, ended, batch.lines)))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else [np.zeros(0, np.int64)] * 5
    parts.clear()
    order = np.lexsort((columns[4], columns[0]))
    return _merged(*(column[order] for column in columns))


def whole_numbers(column: pa.ChunkedArray, null: int | np.int64 = -1) -> Ints:
    """[n] the numbers, with a number that stands for null."""
    return pc.fill_null(column, pa.scalar(int(null), pa.int64())).to_numpy()


def _merged(ids: Ints, authors: Ints, started: Ints, ended: Ints, lines: Ints) -> Rooms:
    """One room for each id; the rows come sorted by id and line. A row that names another author is ignored."""
    if not len(ids):
        return Rooms(ids, authors, started, ended, lines)
    first = np.flatnonzero(np.diff(ids, prepend=ids[0] - 1))
    if len(first) == len(ids):
        return Rooms(ids, authors, started, ended, lines)
    owner = np.repeat(first, np.diff(first, append=len(ids)))
    same = authors == authors[owner]
    # An end that is known beats one that was not known yet.
    known = np.where((ended == OPEN_END) | ~same, -1, ended)
    latest = np.maximum.reduceat(known, first)
    earliest = np.minimum.reduceat(np.where(same, started, OPEN_END), first)
    return Rooms(ids[first], authors[first], earliest, np.where(latest < 0, OPEN_END, latest), lines[first])
