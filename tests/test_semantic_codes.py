"""Residual k-means against planted clusters, and its health metrics against sums done by hand."""

from pathlib import Path

import numpy as np
import pytest

from livealign.config import CodesConfig
from livealign.errors import BundleError, TrainingError
from livealign.semantic_codes import Codebook, code_churn, codebook_health, fit_codebook, refresh_churn

CONFIG = CodesConfig(levels=2, codes_per_level=8, iterations=20, restarts=3)


def planted_clusters(seed: int = 0, each: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """8 far clusters, each with the same 8 small offsets: vectors [8·8·each, 16], outer [n], inner [n]."""
    rng = np.random.default_rng(seed)
    outer, inner = np.repeat(np.arange(8), 8 * each), np.tile(np.repeat(np.arange(8), each), 8)
    centres, offsets = 10 * np.eye(16)[:8], 2 * np.eye(16)[8:]
    return (centres[outer] + offsets[inner] + 0.05 * rng.normal(size=(len(outer), 16))).astype(np.float32), outer, inner


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    return len(set(zip(a.tolist(), b.tolist(), strict=True))) == len(set(a.tolist())) == len(set(b.tolist()))


def test_both_levels_of_planted_clusters_are_found() -> None:
    vectors, outer, inner = planted_clusters()
    codebook = fit_codebook(vectors, CONFIG)
    codes, residuals = codebook.encode_with_residuals(vectors)
    assert same_partition(codes[:, 0], outer)
    assert same_partition(codes[:, 1], inner)
    assert residuals[:, 1].mean() < 0.3 < residuals[:, 0].mean()
    assert np.abs(codebook.decode(codes) - vectors).max() < 0.5


def test_the_same_seed_gives_the_same_codebook_and_version() -> None:
    vectors, *_ = planted_clusters()
    first, second = fit_codebook(vectors, CONFIG), fit_codebook(vectors, CONFIG)
    assert first.version == second.version
    assert (first.centroids == second.centroids).all()
    assert first.version != Codebook(first.centroids + 1e-3).version


def test_a_warm_start_keeps_the_meaning_of_codes_and_a_cold_one_does_not() -> None:
    yesterday, *_ = planted_clusters(0)
    today, *_ = planted_clusters(1)
    before = fit_codebook(yesterday, CONFIG)
    warm = fit_codebook(today, CodesConfig(levels=2, codes_per_level=8, seed=99), warm_start=before)
    cold = fit_codebook(today, CodesConfig(levels=2, codes_per_level=8, seed=99))
    assert code_churn(before.encode(today), warm.encode(today)) == 0
    assert code_churn(before.encode(today), cold.encode(today)) > 0.3


def test_a_warm_start_of_other_sizes_is_left_aside() -> None:
    vectors, *_ = planted_clusters(each=3)
    other = fit_codebook(vectors, CodesConfig(levels=1, codes_per_level=4))
    assert fit_codebook(vectors, CONFIG, other).version == fit_codebook(vectors, CONFIG).version


def test_health_is_what_the_counts_say() -> None:
    codebook = Codebook(np.array([[[0.0], [1.0], [2.0], [9.0]]], dtype=np.float32))
    vectors = np.array([[0.0], [0.1], [1.0], [2.0]], dtype=np.float32)
    health = codebook_health(codebook, vectors)
    level = health.levels[0]
    entropy = -(0.5 * np.log(0.5) + 2 * 0.25 * np.log(0.25))
    assert (level.used, level.dead, level.usage) == (3, 1, 0.75)
    assert level.entropy_ratio == pytest.approx(entropy / np.log(4))
    assert level.perplexity == pytest.approx(np.exp(entropy))
    assert level.largest_share == health.largest_bucket == 0.5
    assert level.gini == pytest.approx((-3 * 0 - 1 * 1 + 1 * 1 + 3 * 2) / (4 * 4))
    assert level.residual_norm == pytest.approx(0.1 / 4)
    assert health.unique_share == 0.75


def test_fewer_vectors_than_codes_is_no_error() -> None:
    codebook = fit_codebook(np.eye(3, dtype=np.float32), CONFIG)
    assert codebook.centroids.shape == (2, 8, 3)
    assert len({tuple(row) for row in codebook.encode(np.eye(3, dtype=np.float32)).tolist()}) == 3
    assert codebook.encode(np.zeros((0, 3), dtype=np.float32)).shape == (0, 2)


def test_vectors_that_are_none_or_not_finite_are_refused() -> None:
    for vectors in (np.zeros((0, 4), np.float32), np.full((5, 4), np.nan, np.float32)):
        with pytest.raises(TrainingError, match="finite"):
            fit_codebook(vectors, CONFIG)


def test_a_saved_codebook_comes_back_and_a_damaged_one_does_not(tmp_path: Path) -> None:
    codebook = fit_codebook(planted_clusters(each=2)[0], CONFIG)
    path = tmp_path / "codebook.npz"
    codebook.save(path)
    assert Codebook.load(path).version == codebook.version
    np.savez(path, format=np.array("livealign-codebook-1"), version=np.array("0" * 16), centroids=codebook.centroids)
    with pytest.raises(BundleError, match="damaged"):
        Codebook.load(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(BundleError, match=r"codebook\.npz"):
        Codebook.load(path)


def test_churn_per_refresh_counts_steps_within_rooms_only() -> None:
    codes = np.array([[1], [1], [2], [5], [5]], dtype=np.int32)
    room, started = np.array([7, 7, 7, 8, 8]), np.array([0, 1, 2, 0, 1])
    order = np.array([4, 2, 0, 3, 1])
    assert refresh_churn(codes[order], room[order], started[order]) == pytest.approx(1 / 3)
