"""Drift scores that chance alone gives, from permutations of whole rooms.

The segments of one room resemble each other, so rows are not independent, and permuting rows would call every day drift.
Rooms are the exchangeable unit (a block permutation test). All scores are functions of sums over rooms, so thousands of
permutations are a few matrix products.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from livealign.operation_config import DriftConfig

MINIMUM_ROOMS = 3  # on each side; with fewer, permutations mean nothing
MAXIMUM_ROOMS = 1_000  # on each side; more are merged at random, which keeps the test valid and the products small
BINS = 256  # of numeric columns, for the permuted scores only


class RoomTest(NamedTuple):
    """The result of a test whose unit is the room: a score and its threshold."""

    score: float
    threshold: float
    p_value: float
    examples: tuple[str, ...] = ()  # of what raises the score, the strongest first


@dataclass(frozen=True)
class RoomPermutations:
    """Random assignments of the rooms to the two sides, the reference and the day."""

    room: NDArray[np.int64]  # [n + m] 0..R-1, rows of the reference first; a room on both sides counts as two
    label: NDArray[np.float64]  # [R] 1 for rooms of the reference
    permuted: NDArray[np.float64]  # [permutations, R]; no rows where a side has too few rooms

    @classmethod
    def of(cls, reference: NDArray, current: NDArray, config: DriftConfig) -> "RoomPermutations":
        """The permutations of two sides' rooms; the seed decides them.

        Args:
            reference, current: [n] and [m], the room id of each row.
        """
        left, right = (np.unique(side, return_inverse=True)[1].reshape(-1) % MAXIMUM_ROOMS for side in (reference, current))
        counts = [int(side.max()) + 1 if len(side) else 0 for side in (left, right)]
        label = np.repeat([1.0, 0.0], counts)
        times = config.permutations if min(counts) >= MINIMUM_ROOMS else 0
        rng = np.random.default_rng(config.seed)
        permuted = rng.permuted(np.tile(label, (times, 1)), axis=1)
        return cls(np.concatenate([left, right + counts[0]]).astype(np.int64), label, permuted)

    def column_scores(self, reference: pd.Series, current: pd.Series, kind: str) -> NDArray[np.float64]:
        """Drift scores [permutations] of one column.

        Wasserstein distance in standard deviations for numeric columns, Jensen-Shannon distance for categories.
        """
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


def chance_threshold(null: NDArray, tests: int, config: DriftConfig) -> float:
    """The score that chance exceeds with probability false_alarms / tests (Bonferroni).

    0 if there are no permutations.
    """
    return float(np.quantile(null, 1 - config.false_alarms / max(tests, 1))) if len(null) else 0.0


def p_value(score: float, null: NDArray) -> float:
    """The share of permuted scores that reach the real one, which counts as one of them."""
    return (1 + int((null >= score).sum())) / (1 + len(null))


def _jensen_shannon(p: NDArray, q: NDArray) -> NDArray[np.float64]:
    """Jensen-Shannon distance (root of the divergence in nats) of the rows of p and q [k, codes]."""
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log(p / middle), 0) + np.where(q > 0, q * np.log(q / middle), 0)
    return np.sqrt(np.maximum(terms.sum(axis=1) / 2, 0))
