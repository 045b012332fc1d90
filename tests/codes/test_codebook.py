"""Residual k-means against planted clusters, and its health metrics against sums done by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from livealign.codes.codebook import Codebook, fit_codebook
from livealign.codes.health import code_churn, codebook_health, evenness, refresh_churn
from livealign.config import CodesConfig
from livealign.errors import BundleError, TrainingError

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
    assert first.version != Codebook.of(first.centroids + 1e-3).version


def test_known_codes_keep_their_meaning_in_a_space_that_was_made_anew_and_a_cold_start_does_not() -> None:
    yesterday, *_ = planted_clusters(0)
    today, *_ = planted_clusters(1)
    turned = np.linalg.qr(np.random.default_rng(5).normal(size=(16, 16)))[0].astype(np.float32)
    before = fit_codebook(yesterday, CONFIG).encode(today)
    known = np.where(np.arange(len(before))[:, None] % 3 > 0, before, -1)  # a third is new to the champion
    warm = fit_codebook(today @ turned, replace(CONFIG, seed=99), known).encode(today @ turned)
    cold = fit_codebook(today @ turned, replace(CONFIG, seed=99)).encode(today @ turned)
    assert [code_churn(before, warm, level) for level in range(2)] == [0, 0]
    assert code_churn(before, cold) > 0.3


def test_known_codes_of_other_sizes_are_left_aside() -> None:
    vectors, *_ = planted_clusters(each=3)
    other = fit_codebook(vectors, CodesConfig(levels=1, codes_per_level=4)).encode(vectors)
    assert fit_codebook(vectors, CONFIG, other).version == fit_codebook(vectors, CONFIG).version
    larger = np.full((len(vectors), 2), 8)
    assert fit_codebook(vectors, CONFIG, larger).version == fit_codebook(vectors, CONFIG).version


def test_balanced_codes_are_equally_full_where_nearest_ones_are_not() -> None:
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(16, 8))[np.minimum(rng.geometric(0.3, size=4_000), 16) - 1]  # the first has a third of all
    vectors = (centres + 0.5 * rng.normal(size=(4_000, 8))).astype(np.float32)
    config = CodesConfig(levels=2, codes_per_level=16, restarts=1)
    plain, even = fit_codebook(vectors, config), fit_codebook(vectors, replace(config, balance=1.0))
    gini = [codebook_health(codebook, vectors).levels[0].gini for codebook in (plain, even)]
    assert gini[1] < 0.1 < 0.2 < gini[0]
    assert (even.prices >= 0).all()


def test_health_is_what_the_counts_say() -> None:
    codebook = Codebook.of(np.array([[[0.0], [1.0], [2.0], [9.0]]], dtype=np.float32))
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
    assert health.distinct == 4
    assert evenness(level.perplexity, 3) == pytest.approx(entropy / np.log(3))
    assert evenness(1.0, 1) == 1.0  # one author, one code: nothing has collapsed


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
    codebook = fit_codebook(planted_clusters(each=2)[0], replace(CONFIG, balance=0.2))
    path = tmp_path / "codebook.npz"
    codebook.save(path)
    assert Codebook.load(path).version == codebook.version
    damaged = {"version": np.array("0" * 16), "centroids": codebook.centroids, "prices": codebook.prices}
    np.savez(path, format=np.array("livealign-codebook-2"), **damaged)
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
