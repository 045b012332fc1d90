"""How well the aligned vectors find the room that was entered, among all rooms that were live at that moment."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from livealign.dataset import Corpus
from livealign.dataset_examples import Examples
from livealign.retrieval import RoomIndex

WINDOW_MILLISECONDS = 30_000
KS = (10, 20, 50)


@dataclass(frozen=True)
class RetrievalMetrics:
    """Room-level metrics over the clicks of the held-out day; one relevant room a click, so recall = hit rate."""

    recall: dict[int, float]  # by k
    ndcg: dict[int, float]  # by k
    mrr: float
    clicks: int
    live_rooms: float  # candidates of a click, on average

    def to_dict(self) -> dict[str, float]:
        at_k = {
            f"{name}@{k}": value
            for name, values in (("recall", self.recall), ("ndcg", self.ndcg))
            for k, value in values.items()
        }
        return {**at_k, "mrr": self.mrr, "clicks": float(self.clicks), "live_rooms": self.live_rooms}


UserVectors = Callable[[Examples], NDArray[np.float32]]  # of n examples, [n, dim]


def retrieval_metrics(
    corpus: Corpus, user_vectors: UserVectors, vectors: NDArray[np.float32], rooms: pa.Table
) -> RetrievalMetrics:
    """Rank every room live in a click's window by dot product, each by its last ended segment, and look where the click is.

    Args:
        user_vectors: of the clicks, made from what was known before them; vectors: [items, dim] of the corpus' items.
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
        found = RoomIndex.build(room_ids[live], vectors[items]).search(users[here], max(1, len(live)))
        hit = found.room_ids == clicks.room_id[here][:, None]
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
    """Item row of each room at `at` (epoch ms): its last segment that had ended, else its author alone."""
    order = np.lexsort((corpus.segment_started_at, corpus.segment_room_id))
    rooms, ends = corpus.segment_room_id[order], corpus.segment_started_at[order] + WINDOW_MILLISECONDS
    first = np.searchsorted(rooms, room_ids, side="left")
    last = np.searchsorted(rooms, room_ids, side="right")
    items = len(corpus.segment_ids) + authors
    for place, (low, high) in enumerate(zip(first, last, strict=True)):
        seen = low + np.searchsorted(ends[low:high], at, side="right")
        if seen > low:
            items[place] = order[seen - 1]
    return items


def _milliseconds(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return column.cast(pa.timestamp("ms")).cast(pa.int64()).to_numpy()
