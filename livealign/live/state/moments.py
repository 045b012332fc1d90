"""Moments: what a room was about in one window, as rows of one table that rooms, shown lists and histories point into.

A moment that many people met is kept once. Row 0 is no moment. Rows keep their numbers until `compacted`.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from livealign.live.state.columns import Columns

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

AuthorMoments = Callable[[Ints], tuple[Floats, Ints]]
"""author ids [n] → room vectors [n, dim] and codes [n, levels] of their rooms before any window has ended."""


class Moments:
    """A growing table: segment_id (0 = the author alone), author_id, ended_at (epoch ms), vector [dim], codes [levels]."""

    def __init__(self, dim: int, levels: int, author_moments: AuthorMoments) -> None:
        self.dim, self.levels, self._author_moments = dim, levels, author_moments
        self._table = Columns(
            segment_id=np.int64, author_id=np.int64, ended_at=np.int64, vector=(np.float32, dim), codes=(np.int64, levels)
        )
        self._table.append()
        self._of_author: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, name: str) -> NDArray:
        return self._table[name]

    def add(self, segment_id: Ints, author_id: Ints, ended_at: Ints, vector: Floats, codes: NDArray[np.integer]) -> Ints:
        """Add n moments. Returns their rows [n]."""
        first = len(self._table)
        self._table.extend(
            {"segment_id": segment_id, "author_id": author_id, "ended_at": ended_at, "vector": vector, "codes": codes}
        )
        return np.arange(first, len(self._table))

    def of_authors(self, author_ids: Ints) -> Ints:
        """Rows [n] of the authors' rooms without any content; made where there are none yet."""
        missing = np.array([one for one in dict.fromkeys(author_ids.tolist()) if one not in self._of_author], dtype=np.int64)
        if len(missing):
            nothing = np.zeros(len(missing), dtype=np.int64)
            rows = self.add(nothing, missing, nothing, *self._author_moments(missing))
            self._of_author.update(zip(missing.tolist(), rows.tolist(), strict=True))
        return np.array([self._of_author[one] for one in author_ids.tolist()], dtype=np.int64)

    def compacted(self, used: Ints) -> tuple["Moments", Ints]:
        """A table of the rows `used` alone, and the new number of each old row (0 for those that are gone)."""
        kept = np.unique(used[used > 0])
        fresh = Moments(self.dim, self.levels, self._author_moments)
        fresh._table.extend({name: column[kept] for name, column in self._table.arrays().items()})
        number = np.zeros(len(self), dtype=np.int64)
        number[kept] = np.arange(1, len(kept) + 1)
        fresh._of_author = {author: int(number[row]) for author, row in self._of_author.items() if number[row]}
        return fresh, number

    def retold(self, source: "Moments", of_segment: Mapping[int, int]) -> "Moments":
        """The same moments under the same row numbers, as the models of another release see them.

        Args:
            source: what that release knows. of_segment: segment id → row of `source`; moments that it does not know become
                their author alone.
        """
        fresh = Moments(source.dim, source.levels, source._author_moments)
        fresh.catch_up(self, source, of_segment)
        return fresh

    def catch_up(self, other: "Moments", source: "Moments", of_segment: Mapping[int, int]) -> None:
        """Add the rows that `other` has beyond those of this table, which was retold from it."""
        first = len(self)
        segment, author = other["segment_id"][first:], other["author_id"][first:]
        rows = np.array([of_segment.get(one, 0) for one in segment.tolist()], dtype=np.int64)
        alone = rows == 0
        rows[alone] = source.of_authors(author[alone])
        self._table.extend({name: source[name][rows] for name in ("segment_id", "author_id", "ended_at", "vector", "codes")})
        self._of_author = dict(other._of_author)

    def arrays(self) -> dict[str, NDArray]:
        """Copies of all columns, for a checkpoint."""
        return self._table.arrays()

    def restore(self, arrays: dict[str, NDArray]) -> None:
        """Take over the rows of a checkpoint, row 0 included; the table is empty before."""
        self._table.extend({name: column[1:] for name, column in arrays.items()})
        alone = np.flatnonzero((self["segment_id"] == 0) & (np.arange(len(self)) > 0))
        self._of_author = dict(zip(self["author_id"][alone].tolist(), alone.tolist(), strict=True))
