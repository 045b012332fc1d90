"""Test for drift of embeddings: energy distance, against permutations of whole rooms."""

import numpy as np
from numpy.typing import NDArray

from livealign.operation_config import DriftConfig
from orchestration.drift.chance import RoomPermutations, RoomTest, chance_threshold, p_value


def energy_test(
    reference: NDArray,
    current: NDArray,
    reference_rooms: NDArray,
    current_rooms: NDArray,
    config: DriftConfig,
    tests: int = 1,
) -> RoomTest:
    """Normalised energy distance, 0 (equal) to 1, of two sides' embeddings, and its threshold.

    With fewer than three rooms on a side the threshold is 1, which no score exceeds.

    Args:
        reference, current: embeddings [n, d] and [m, d].
        reference_rooms, current_rooms: room id of each row, [n] and [m].
        tests: how many columns and embeddings share the report's false alarms.
    """
    rng = np.random.default_rng(config.seed)
    left, right = (rng.permutation(len(side))[: config.embedding_rows] for side in (reference, current))
    chance = RoomPermutations.of(reference_rooms[left], current_rooms[right], config)
    score, null = _energy_scores(np.concatenate([reference[left], current[right]]), chance)
    if len(null) == 0:
        return RoomTest(score, 1.0, 1.0)
    return RoomTest(score, max(config.energy_threshold, chance_threshold(null, tests, config)), p_value(score, null))


def _energy_scores(vectors: NDArray, chance: RoomPermutations) -> tuple[float, NDArray[np.float64]]:
    """Normalised energy distance of the two sides' vectors [n + m, d], and of the permuted sides [permutations].

    H = (2 E|X−Y| − E|X−X'| − E|Y−Y'|) / (2 E|X−Y|)  (Székely & Rizzo 2013, sec. 6), pairs within one room left out of all
    means, so that H is near zero for rooms drawn alike. Never below 0.
    """
    if min(chance.label.sum(), (1 - chance.label).sum()) < 2:
        return 0.0, np.empty(0)
    distance, pairs = _room_sums(np.asarray(vectors, np.float32), chance.room)
    return float(_energy(chance.label[None], distance, pairs)[0]), _energy(chance.permuted, distance, pairs)


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
