"""The table of coded windows that rooms, lists and histories point to.

A coded window is a room's window after its encoding, with vector and codes. It is stored once, however many lists and
histories point to it. Row 0 is empty. Rows keep their numbers until `compacted`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.live.state.columns import Columns

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

EncodeAuthors = Callable[[Ints], tuple[Floats, Ints]]
"""author ids [n] → vectors [n, dim] and codes [n, levels] of their rooms before any window has ended."""


class CodedWindow(NamedTuple):
    """One encoded window of a room, as readers receive it."""

    segment_id: int
    ended_at: int  # epoch milliseconds
    text: str  # what the LLM read; user text, to be shown as text only
    codes: list[int]  # coarse to fine
    counts: dict[str, float]  # by `dataset.features.WINDOW_COUNTS`; unknown counts are left out
    code_names: Sequence[str] = ()  # of the release that serves; the live state keeps none


class CodedWindows:
    """A growing table of coded windows, and of authors alone.

    Columns: segment_id (0 = an author alone), author_id, ended_at (epoch ms), vector [dim], codes [levels].
    """

    def __init__(self, dim: int, levels: int, encode_authors: EncodeAuthors) -> None:
        self.dim, self.levels, self._encode_authors = dim, levels, encode_authors
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
        """Add n coded windows; returns their rows [n]."""
        first = len(self._table)
        self._table.extend(
            {"segment_id": segment_id, "author_id": author_id, "ended_at": ended_at, "vector": vector, "codes": codes}
        )
        return np.arange(first, len(self._table))

    def of_authors(self, author_ids: Ints) -> Ints:
        """Rows [n] of the authors alone, without content; missing rows are added."""
        missing = np.array(
            [author for author in dict.fromkeys(author_ids.tolist()) if author not in self._of_author], dtype=np.int64
        )
        if len(missing):
            zeros = np.zeros(len(missing), dtype=np.int64)
            rows = self.add(zeros, missing, zeros, *self._encode_authors(missing))
            self._of_author.update(zip(missing.tolist(), rows.tolist(), strict=True))
        return np.array([self._of_author[author] for author in author_ids.tolist()], dtype=np.int64)

    def compacted(self, used: Ints) -> tuple["CodedWindows", Ints]:
        """A table of the rows `used`, and the new number of each old row (0 for dropped rows)."""
        rows = np.unique(used[used > 0])
        fresh = CodedWindows(self.dim, self.levels, self._encode_authors)
        fresh._table.extend({name: column[rows] for name, column in self._table.arrays().items()})
        number = np.zeros(len(self), dtype=np.int64)
        number[rows] = np.arange(1, len(rows) + 1)
        fresh._of_author = {author: int(number[row]) for author, row in self._of_author.items() if number[row]}
        return fresh, number

    def recoded(self, source: "CodedWindows", of_segment: Mapping[int, int]) -> "CodedWindows":
        """The same rows under the same numbers, with vectors and codes of another release.

        Args:
            source: the coded windows of that release's snapshot. of_segment: segment id → row of `source`; a window that is
                not in it becomes its author alone.
        """
        fresh = CodedWindows(source.dim, source.levels, source._encode_authors)
        fresh.catch_up(self, source, of_segment)
        return fresh

    def catch_up(self, other: "CodedWindows", source: "CodedWindows", of_segment: Mapping[int, int]) -> None:
        """Add the rows that were added to `other` after this table was recoded from it."""
        first = len(self)
        segment, author = other["segment_id"][first:], other["author_id"][first:]
        rows = np.array([of_segment.get(segment_id, 0) for segment_id in segment.tolist()], dtype=np.int64)
        alone = rows == 0
        rows[alone] = source.of_authors(author[alone])
        self._table.extend({name: source[name][rows] for name in ("segment_id", "author_id", "ended_at", "vector", "codes")})
        self._of_author = dict(other._of_author)

    def arrays(self) -> dict[str, NDArray]:
        """Copies of all columns, for a checkpoint."""
        return self._table.arrays()

    def restore(self, arrays: dict[str, NDArray]) -> None:
        """Load the rows of a checkpoint, row 0 included, into an empty table."""
        self._table.extend({name: column[1:] for name, column in arrays.items()})
        alone = np.flatnonzero((self["segment_id"] == 0) & (np.arange(len(self)) > 0))
        self._of_author = dict(zip(self["author_id"][alone].tolist(), alone.tolist(), strict=True))
