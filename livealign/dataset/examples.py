"""Impressions as columns of numbers, and the vocabularies behind them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.dataset.columns import Floats, Ints, place
from livealign.dataset.features import feature_matrix

TASKS = ("click", "long_view", "like", "comment", "gift")  # in the order of the label columns


@dataclass(frozen=True)
class Vocabulary:
    """The ids that get an embedding of their own.

    `ids` is int64, sorted, distinct; index = place + 1, 0 = unknown.
    """

    ids: Ints

    @classmethod
    def of(cls, ids: Ints, minimum: int = 1) -> "Vocabulary":
        """The ids that occur at least `minimum` times."""
        distinct, counts = np.unique(ids, return_counts=True)
        return cls(distinct[counts >= minimum])

    @property
    def size(self) -> int:
        """Rows of its embedding table, "unknown" included."""
        return len(self.ids) + 1

    def lookup(self, ids: NDArray) -> Ints:
        """Index of each id, the shape of `ids`; 0 where unknown."""
        return place(self.ids, np.asarray(ids, dtype=np.int64)) + 1


@dataclass(frozen=True)
class KnownIds:
    """The ids that a release's models know, and the base rates of its features."""

    users: Vocabulary
    authors: Vocabulary
    base_rates: Mapping[str, float]  # share of training impressions, by task


class Engaged(NamedTuple):
    """Engagements that histories point at.

    Columns are int64 [e + 1]; the last row, −1 in a history, is padding of zeros.
    """

    author: Ints  # vocabulary index
    segment: Ints  # segment row
    item: Ints  # item row

    @classmethod
    def of(cls, author: Ints, segment: Ints, item: Ints) -> "Engaged":
        """The engagements [e] of these columns, with padding behind them."""
        return cls(np.append(author, 0), np.append(segment, 0), np.append(item, 0))


@dataclass(frozen=True)
class Examples:
    """n impressions as columns, in the order of `shown_at`; L is the length of a history.

    Labels are 1, 0 or NaN (not observable yet), in the order of TASKS. Histories are newest first, padded behind
    `history_length`; they are numbers of engagements, because few engagements are in many histories. If all impressions are of
    one user, the history may be stored once: h is n or 1.
    """

    impression_id: Ints  # [n]
    user_id: Ints  # [n] as landed
    author_id: Ints  # [n] as landed
    room_id: Ints  # [n] as landed
    shown_at: Ints  # [n] epoch milliseconds
    request: Ints  # [n] number of the list that the impression was part of
    user: Ints  # [n] vocabulary index
    author: Ints  # [n] vocabulary index
    segment: Ints  # [n] segment row
    item: Ints  # [n] item row
    position: Floats  # [n] place in the list from 0, NaN where unknown
    features: Floats  # [n, len(FEATURES)]
    labels: Floats  # [n, len(TASKS)]
    click_known_at: Ints  # [n] epoch milliseconds
    history: NDArray[np.int32]  # [h, L] rows of `engaged`, −1 behind `history_length`
    history_length: Ints  # [h]
    engaged: Engaged

    def __len__(self) -> int:
        return len(self.impression_id)

    @property
    def nbytes(self) -> int:
        """Bytes of all columns but the engagements, which impressions share."""
        return sum(getattr(self, field.name).nbytes for field in fields(self) if field.name != "engaged")

    @property
    def places(self) -> int:
        """L, the engagements that a history has at most."""
        return self.history.shape[1]

    @property
    def history_author(self) -> Ints:
        """[h, L] vocabulary index of each author, 0 behind the history; made anew at each call."""
        return self.engaged.author[self.history]

    @property
    def history_segment(self) -> Ints:
        """[h, L] segment rows, 0 behind the history; made anew at each call."""
        return self.engaged.segment[self.history]

    @property
    def history_item(self) -> Ints:
        """[h, L] item rows, 0 behind the history; made anew at each call."""
        return self.engaged.item[self.history]

    def take(self, rows: NDArray | slice) -> "Examples":
        """The examples at `rows` (indices, a mask or a slice), in that order."""
        columns = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "engaged"}
        taken = {name: values[rows] if len(values) == len(self) else values for name, values in columns.items()}
        return Examples(**taken, engaged=self.engaged)

    def label(self, task: str) -> Floats:
        """[n] labels of one task."""
        return self.labels[:, TASKS.index(task)]


def serving_examples(
    users: Vocabulary,
    authors: Vocabulary,
    base_rates: Mapping[str, float],
    user_id: int,
    room_ids: NDArray,
    author_ids: NDArray,
    shown_at: int,
    columns: Mapping[str, NDArray],
    history_author_ids: NDArray,
    history_length: int,
) -> Examples:
    """Examples of one user and n live rooms; the user's history is stored once.

    Item rows: 0 is padding, 1..n are the rooms and n + 1.. the history, in the given order. The caller makes an `ItemTable`
    (livealign.ranking.network) of these rows. Position and labels are NaN.

    Args:
        shown_at: epoch milliseconds.
        columns: known values of each room, [n], by the names in `dataset.features.COLUMNS`.
        history_author_ids: authors of the user's last engagements, newest first; at most `history_length` are used.
    """
    n, recent = len(room_ids), np.asarray(history_author_ids, dtype=np.int64)[:history_length]
    history = np.full((1, history_length), -1, dtype=np.int32)
    history[0, : len(recent)] = np.arange(len(recent))
    recent_items = n + 1 + np.arange(len(recent))
    items = np.arange(1, n + 1)
    return Examples(
        impression_id=np.zeros(n, dtype=np.int64),
        user_id=np.full(n, user_id, dtype=np.int64),
        author_id=np.asarray(author_ids, dtype=np.int64),
        room_id=np.asarray(room_ids, dtype=np.int64),
        shown_at=np.full(n, shown_at, dtype=np.int64),
        request=np.zeros(n, dtype=np.int64),
        user=np.full(n, users.lookup(np.array([user_id]))[0]),
        author=authors.lookup(author_ids),
        segment=items,
        item=items,
        position=np.full(n, np.nan, dtype=np.float32),
        features=feature_matrix(columns, base_rates, n),
        labels=np.full((n, len(TASKS)), np.nan, dtype=np.float32),
        click_known_at=np.zeros(n, dtype=np.int64),
        history=history,
        history_length=np.array([len(recent)], dtype=np.int64),
        engaged=Engaged.of(authors.lookup(recent), recent_items, recent_items),
    )
