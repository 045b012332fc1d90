"""What is measured of vectors on a sample of windows."""

import math
from itertools import permutations

import numpy as np
import pytest

from livealign.config import SegmentConfig
from livealign.tuning.comparison_sample import ComparisonSample, choose_windows
from livealign.tuning.content_measures import chance_of, expected_reciprocal_rank, measure, reciprocal_ranks, whitened
from tests.planted.broadcasts import planted_broadcasts


@pytest.fixture(scope="module")
def sample() -> ComparisonSample:
    return choose_windows(planted_broadcasts(), SegmentConfig(), 96, seed=1)


def planted(sample: ComparisonSample, keys: np.ndarray, noise: float, width: int = 32, seed: int = 0) -> np.ndarray:
    """A direction for each key, and noise."""
    rng = np.random.default_rng(seed)
    place = np.unique(keys, return_inverse=True)[1]
    directions = rng.normal(size=(place.max() + 1, width))
    return (directions[place] + noise * rng.normal(size=(len(keys), width))).astype(np.float32)


def test_vectors_of_the_author_find_both_and_noise_finds_what_chance_does(sample: ComparisonSample) -> None:
    known, noise = (measure(planted(sample, sample.author, amount), sample) for amount in (0.1, 1e6))
    chance = chance_of(sample)
    assert known.next_day.min() == 1.0
    assert known.half_to_half.mean() > 2 * noise.half_to_half.mean()
    assert noise.half_to_half.mean() == pytest.approx(chance.half_to_half, abs=0.1)
    assert noise.next_day.mean() == pytest.approx(chance.next_day, abs=0.1)


def test_vectors_of_the_broadcast_alone_find_the_half_and_not_the_next_day(sample: ComparisonSample) -> None:
    found = measure(planted(sample, sample.room, 0.1), sample)
    assert found.half_to_half.min() > 0.9
    assert found.next_day.mean() < (chance_of(sample).next_day or 0.0) + 0.1


def test_the_category_is_read_from_authors_that_the_probe_has_not_seen(sample: ComparisonSample) -> None:
    by_category = measure(planted(sample, np.array(sample.category), 0.1), sample)
    by_author = measure(planted(sample, sample.author, 0.1), sample)
    assert by_category.category == 1.0
    assert by_author.category is not None
    assert by_author.category < 0.6  # who speaks says nothing of an unseen author's category
    assert chance_of(sample).category == pytest.approx(1 / 3)


def test_without_a_next_day_and_categories_there_is_no_number_for_them() -> None:
    table = planted_broadcasts(days=1)
    silent = table.set_column(table.schema.get_field_index("category"), "category", [[""] * len(table)])
    sample = choose_windows(silent, SegmentConfig(), 48, seed=1)
    found = measure(planted(sample, sample.room, 0.1), sample)
    assert np.isnan(found.next_day).all()
    assert found.category is None
    np.testing.assert_array_equal(found.score, found.half_to_half)
    assert (chance_of(sample).next_day, chance_of(sample).category) == (None, None)


def test_candidates_as_near_as_the_right_one_count_half() -> None:
    query = np.array([[1.0, 0.0]])
    candidates = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.6, 0.8]])
    assert reciprocal_ranks(query, candidates, np.array([7]), np.array([7, 1, 2, 3])).tolist() == [1 / 4]
    assert reciprocal_ranks(query, candidates, np.array([7]), np.array([1, 7, 2, 3])).tolist() == [1 / 1.5]


def test_the_expected_reciprocal_rank_is_that_of_all_orders() -> None:
    orders = list(permutations(range(6)))
    exact = sum(1 / (1 + min(order.index(0), order.index(1))) for order in orders) / math.factorial(6)
    assert expected_reciprocal_rank(6, 2) == pytest.approx(exact)
    assert expected_reciprocal_rank(3, 3) == 1.0


def test_one_dimension_that_outweighs_all_others_hides_nothing_once_whitened(sample: ComparisonSample) -> None:
    vectors = planted(sample, sample.author, 0.1)
    vectors[:, 0] = 1e4 * np.random.default_rng(0).normal(size=len(vectors))
    assert measure(vectors, sample).next_day.mean() < 0.6
    assert measure(whitened(vectors, 3.0), sample).next_day.mean() > 0.95
