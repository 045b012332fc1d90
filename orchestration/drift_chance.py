"""What differences chance alone shows between two sets of rooms: drift scores after whole rooms have changed sides at random.

The moments of one room resemble each other, so rows are not independent and permuting them would call every day drift. Rooms
are the exchangeable unit (a block permutation test). All scores are functions of sums over rooms, so thousands of permutations
are a few matrix products.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from livealign.config import DriftConfig

MINIMUM_ROOMS = 3  # on each side; with fewer, permuted rooms say nothing
MAXIMUM_ROOMS = 1_000  # on each side; more are merged at random, which keeps the test valid and the products small
BINS = 256  # of numeric columns, for the permuted scores only


@dataclass(frozen=True)
class RoomPermutations:
    """Rows of the reference, then of the day, by room; and random assignments of the rooms to the two sides."""

    room: NDArray[np.int64]  # [n + m] 0..R-1, a room that both sides saw counts on each
    label: NDArray[np.float64]  # [R] 1 for rooms of the reference
    permuted: NDArray[np.float64]  # [permutations, R]; no rows where a side has too few rooms

    @classmethod
    def of(cls, reference: NDArray, current: NDArray, config: DriftConfig) -> "RoomPermutations":
        """reference [n], current [m]: room id of each row. The seed decides the permutations."""
        left, right = (np.unique(side, return_inverse=True)[1].reshape(-1) % MAXIMUM_ROOMS for side in (reference, current))
        counts = [int(side.max()) + 1 if len(side) else 0 for side in (left, right)]
        label = np.repeat([1.0, 0.0], counts)
        times = config.permutations if min(counts) >= MINIMUM_ROOMS else 0
        rng = np.random.default_rng(config.seed)
        permuted = rng.permuted(np.tile(label, (times, 1)), axis=1)
        return cls(np.concatenate([left, right + counts[0]]).astype(np.int64), label, permuted)

    def column_scores(self, reference: pd.Series, current: pd.Series, kind: str) -> NDArray[np.float64]:
        """Drift scores [permutations] of one column: Wasserstein distance in standard deviations, or Jensen-Shannon."""
        values = pd.concat([reference, current])
        known = values.notna().to_numpy()
        if kind == "numeric":
            numbers = values.to_numpy(np.float64)[known]
            edges = np.unique(np.quantile(numbers, np.linspace(0, 1, BINS + 1)[1:-1]))
            code = np.searchsorted(edges, numbers)
        else:
            code = pd.factorize(values[known])[0]
        n_codes = int(code.max()) + 1
        cell = self.room[known] * n_codes + code
        table = np.bincount(cell, minlength=len(self.label) * n_codes).reshape(len(self.label), n_codes).astype(np.float64)
        left = self.permuted @ table
        right = table.sum(axis=0) - left
        p, q = (side / np.maximum(side.sum(axis=1, keepdims=True), 1) for side in (left, right))
        if kind == "categorical":
            return _jensen_shannon(p, q)
        mean = np.bincount(code, numbers, n_codes) / np.maximum(np.bincount(code, minlength=n_codes), 1)
        distance = np.abs(np.cumsum(p - q, axis=1))[:, :-1] @ np.diff(mean)
        return distance / max(float(reference.std(ddof=0)), 0.001)  # Evidently norms by the reference, at least 0.001

    def energy(self, vectors: NDArray) -> tuple[float, NDArray[np.float64]]:
        """Normalised energy distance of the two sides' vectors [n + m, d], and of the permuted sides [permutations].

        H = (2 E|X−Y| − E|X−X'| − E|Y−Y'|) / (2 E|X−Y|)  (Székely & Rizzo 2013, sec. 6), pairs within one room left out of all
        means, so that H is near zero for rooms drawn alike. Never below 0.
        """
        if min(self.label.sum(), (1 - self.label).sum()) < 2:
            return 0.0, np.empty(0)
        distance, pairs = _room_sums(np.asarray(vectors, np.float32), self.room)
        return float(_energy(self.label[None], distance, pairs)[0]), _energy(self.permuted, distance, pairs)


def _jensen_shannon(p: NDArray, q: NDArray) -> NDArray[np.float64]:
    """Jensen-Shannon distance (root of the divergence in nats) of the rows of p and q [k, codes]."""
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log(p / middle), 0) + np.where(q > 0, q * np.log(q / middle), 0)
    return np.sqrt(np.maximum(terms.sum(axis=1) / 2, 0))


def _room_sums(vectors: NDArray[np.float32], room: NDArray[np.int64]) -> tuple[NDArray, NDArray]:
    """Sum of distances between, and number of pairs of, rows of each two rooms; zero on the diagonal. Both [R, R]."""
    order = np.argsort(room, kind="stable")
    vectors, room = (vectors - vectors.mean(axis=0))[order], room[order]
    squared = np.einsum("ij,ij->i", vectors, vectors)
    distance = np.sqrt(np.maximum(squared[:, None] + squared[None] - 2 * (vectors @ vectors.T), 0))
    starts = np.flatnonzero(np.diff(room, prepend=-1))
    size = np.diff(np.append(starts, len(room))).astype(np.float64)
    sums = np.add.reduceat(np.add.reduceat(distance, starts, axis=0, dtype=np.float64), starts, axis=1)
    pairs = np.outer(size, size)
    np.fill_diagonal(sums, 0)
    np.fill_diagonal(pairs, 0)
    return sums, pairs


def _energy(labels: NDArray, distance: NDArray, pairs: NDArray) -> NDArray[np.float64]:
    """H of each row of `labels` [k, R], 1 for the rooms on the reference side."""
    other = 1 - labels

    def mean(left: NDArray, right: NDArray) -> NDArray:
        return np.einsum("ij,ij->i", left @ distance, right) / np.einsum("ij,ij->i", left @ pairs, right)

    between = mean(labels, other)
    return np.maximum(1 - (mean(labels, labels) + mean(other, other)) / (2 * np.maximum(between, 1e-12)), 0)
