"""Search live rooms by vector, and measure how often the entered room is found.

The search is exact for up to 100,000 rooms, and HNSW beyond.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from livealign.dataset.corpus import Corpus
from livealign.dataset.examples import Examples

WINDOW_MILLISECONDS = 30_000
KS = (10, 20, 50)
UserVectors = Callable[[Examples], NDArray[np.float32]]  # of n examples, [n, dim]


EXACT_BELOW = 100_000  # rooms
_NEIGHBOURS = 32  # links of each node of the HNSW graph
_EF = 128  # candidates kept while the graph is built and searched


class SearchResult(NamedTuple):
    """Rooms by falling score.

    The row of a user with fewer than k rooms is filled with room −1, score −inf.
    """

    room_ids: NDArray[np.int64]  # [users, k]
    scores: NDArray[np.float32]  # [users, k] dot products


@dataclass(frozen=True)
class RoomIndex:
    """An index of the rooms that are live right now.

    It is rebuilt at each refresh: with a few thousand rooms that takes milliseconds.
    """

    room_ids: NDArray[np.int64]  # [n]
    index: faiss.Index

    @classmethod
    def build(cls, room_ids: NDArray, vectors: NDArray[np.float32], exact_below: int = EXACT_BELOW) -> "RoomIndex":
        """Index rooms [n] with vectors [n, dim]."""
        dim = vectors.shape[1]
        if len(vectors) < exact_below:
            index: faiss.Index = faiss.IndexFlatIP(dim)
        else:
            index = faiss.IndexHNSWFlat(dim, _NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = _EF
            index.hnsw.efSearch = _EF
        index.add(np.ascontiguousarray(vectors, dtype=np.float32))
        return cls(np.asarray(room_ids, dtype=np.int64), index)

    def search(self, users: NDArray[np.float32], k: int, exclude: Collection[int] = ()) -> SearchResult:
        """The `k` rooms with the largest dot product for each user vector [users, dim].

        Rooms in `exclude` are skipped.
        """
        barred = np.isin(self.room_ids, np.fromiter(exclude, dtype=np.int64, count=len(exclude)))
        width = min(len(self.room_ids), k + int(barred.sum()))
        result = SearchResult(np.full((len(users), k), -1, dtype=np.int64), np.full((len(users), k), -np.inf, np.float32))
        if not width or not len(users):
            return result
        scores, rows = self.index.search(np.ascontiguousarray(users, dtype=np.float32), width)
        allowed = (rows >= 0) & ~barred[rows]
        order = np.argsort(~allowed, axis=1, kind="stable")[:, :k]  # allowed rooms first, still by falling score
        allowed, rows = np.take_along_axis(allowed, order, axis=1), np.take_along_axis(rows, order, axis=1)
        scores = np.take_along_axis(scores, order, axis=1)
        result.room_ids[:, : order.shape[1]] = np.where(allowed, self.room_ids[rows], -1)
        result.scores[:, : order.shape[1]] = np.where(allowed, scores, -np.inf)
        return result


@dataclass(frozen=True)
class RetrievalMetrics:
    """Retrieval metrics over the clicks of the held-out day.

    A click has one relevant room, so recall = hit rate.
    """

    recall: dict[int, float]  # by k
    ndcg: dict[int, float]  # by k
    mrr: float
    clicks: int
    live_rooms: float  # mean number of candidates of a click

    def to_dict(self) -> dict[str, float]:
        at_k = {
            f"{name}@{k}": value
            for name, values in (("recall", self.recall), ("ndcg", self.ndcg))
            for k, value in values.items()
        }
        return {**at_k, "mrr": self.mrr, "clicks": float(self.clicks), "live_rooms": self.live_rooms}


def retrieval_metrics(
    corpus: Corpus, user_vectors: UserVectors, vectors: NDArray[np.float32], rooms: pa.Table
) -> RetrievalMetrics:
    """Rank the rooms live in each click's window, and measure the clicked room's rank.

    A room has the vector of its last ended segment; rooms are ranked by dot product.

    Args:
        user_vectors: of the clicks, from data known before them; vectors: [items, dim] of the corpus' items.
        rooms: the mart `rooms` of the day and the day before: room_id, author_id, started_at, ended_at (null while live).
    """
    clicks = corpus.test.take(np.flatnonzero(corpus.test.label("click") == 1))
    users = user_vectors(clicks)
    room_ids = rooms["room_id"].to_numpy()
    authors = corpus.authors.lookup(rooms["author_id"].to_numpy())
    started = _milliseconds(rooms["started_at"])
    ended = _milliseconds(pc.fill_null(rooms["ended_at"].cast(pa.timestamp("ms")), pa.scalar(2**62, pa.timestamp("ms"))))
    ranks, candidates = [], []
    windows = clicks.shown_at // WINDOW_MILLISECONDS
    for window in np.unique(windows):
        here = np.flatnonzero(windows == window)
        live = np.flatnonzero((started < (window + 1) * WINDOW_MILLISECONDS) & (ended > window * WINDOW_MILLISECONDS))
        items = _items_at(corpus, room_ids[live], authors[live], int(window) * WINDOW_MILLISECONDS)
        result = RoomIndex.build(room_ids[live], vectors[items]).search(users[here], max(1, len(live)))
        hit = result.room_ids == clicks.room_id[here][:, None]
        ranks.append(np.where(hit.any(1), hit.argmax(1), np.iinfo(np.int32).max))
        candidates.append(np.full(len(here), len(live)))
    rank = np.concatenate(ranks) if ranks else np.zeros(0)
    if not len(rank):
        return RetrievalMetrics(dict.fromkeys(KS, 0.0), dict.fromkeys(KS, 0.0), 0.0, 0, 0.0)
    gain = 1 / np.log2(rank + 2.0)
    return RetrievalMetrics(
        recall={k: float((rank < k).mean()) for k in KS},
        ndcg={k: float(np.where(rank < k, gain, 0).mean()) for k in KS},
        mrr=float((1 / (rank + 1.0)).mean()),
        clicks=len(rank),
        live_rooms=float(np.concatenate(candidates).mean()),
    )


def _items_at(corpus: Corpus, room_ids: NDArray, authors: NDArray, at: int) -> NDArray[np.int64]:
    """Item row of each room at `at` (epoch ms): its last ended segment, else its author alone."""
    order = np.lexsort((corpus.segment_started_at, corpus.segment_room_id))
    rooms, ends = corpus.segment_room_id[order], corpus.segment_started_at[order] + WINDOW_MILLISECONDS
    first = np.searchsorted(rooms, room_ids, side="left")
    last = np.searchsorted(rooms, room_ids, side="right")
    items = len(corpus.segment_ids) + authors
    for place, (low, high) in enumerate(zip(first, last, strict=True)):
        after = low + np.searchsorted(ends[low:high], at, side="right")
        if after > low:
            items[place] = order[after - 1]
    return items


def _milliseconds(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return column.cast(pa.timestamp("ms")).cast(pa.int64()).to_numpy()
