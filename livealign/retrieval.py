"""Retrieval: the live rooms whose vectors lie nearest to a user's, exact for up to 100,000 rooms, HNSW beyond."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

EXACT_BELOW = 100_000  # rooms
_NEIGHBOURS = 32  # links of each node of the HNSW graph
_EF = 128  # candidates held while it is built and searched


class Found(NamedTuple):
    """Rooms by falling score; the row of a user with fewer than k rooms ends in room −1, score −inf."""

    room_ids: NDArray[np.int64]  # [users, k]
    scores: NDArray[np.float32]  # [users, k] dot products


@dataclass(frozen=True)
class RoomIndex:
    """The rooms live at one moment. Built anew at each refresh: of a few thousand rooms that takes milliseconds."""

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

    def search(self, users: NDArray[np.float32], k: int, exclude: Collection[int] = ()) -> Found:
        """The `k` rooms of the highest dot product with each user vector [users, dim], without those in `exclude`."""
        barred = np.isin(self.room_ids, np.fromiter(exclude, dtype=np.int64, count=len(exclude)))
        width = min(len(self.room_ids), k + int(barred.sum()))
        found = Found(np.full((len(users), k), -1, dtype=np.int64), np.full((len(users), k), -np.inf, dtype=np.float32))
        if not width or not len(users):
            return found
        scores, rows = self.index.search(np.ascontiguousarray(users, dtype=np.float32), width)
        kept = (rows >= 0) & ~barred[rows]
        order = np.argsort(~kept, axis=1, kind="stable")[:, :k]  # those kept first, still by falling score
        kept, rows = np.take_along_axis(kept, order, axis=1), np.take_along_axis(rows, order, axis=1)
        scores = np.take_along_axis(scores, order, axis=1)
        found.room_ids[:, : order.shape[1]] = np.where(kept, self.room_ids[rows], -1)
        found.scores[:, : order.shape[1]] = np.where(kept, scores, -np.inf)
        return found
