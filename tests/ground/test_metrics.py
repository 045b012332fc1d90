"""Metrics against scikit-learn, and against values worked out by hand where ties decide."""

import numpy as np
import pytest
from sklearn.metrics import log_loss, ndcg_score, roc_auc_score

from livealign.calibration_metrics import ece, ece_beyond_chance, normalised_entropy, reliability
from livealign.metrics import (
    MetricError,
    auc,
    gauc,
    gauc_interval,
    list_metrics,
    paired_bootstrap,
    permutation_test,
    uauc,
    user_auc,
)


def _planted(n: int = 4_000, users: int = 150, levels: int = 20, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Scores of few levels, so that ties are common; clicks that follow them; power-law users."""
    rng = np.random.default_rng(seed)
    user = (users * rng.random(n) ** 2).astype(int)
    score = rng.integers(0, levels, n) / levels
    return score, (rng.random(n) < 0.1 + 0.4 * score).astype(float), user


def test_auc_equals_scikit_learn_with_many_ties():
    score, label, _ = _planted()
    assert auc(score, label) == pytest.approx(roc_auc_score(label, score), abs=1e-12)


def test_auc_by_hand_counts_a_tie_as_half():
    assert auc([1, 1, 0, 2], [1, 0, 0, 0]) == pytest.approx((0.5 + 1 + 0) / 3)
    assert auc([3, 3, 3], [1, 0, 1]) == 0.5
    assert np.isnan(auc([1, 2], [1, 1]))
    assert np.isnan(auc([], []))


def test_user_auc_equals_scikit_learn_for_every_user():
    score, label, user = _planted()
    result = user_auc(score, label, user)
    for name, value, impressions, positives in zip(*result, strict=True):
        rows = user == name
        assert impressions == rows.sum()
        assert positives == label[rows].sum()
        if 0 < positives < impressions:
            assert value == pytest.approx(roc_auc_score(label[rows], score[rows]), abs=1e-12)
        else:
            assert np.isnan(value)


def test_uauc_and_gauc_by_hand_leave_out_users_of_one_class():
    user = [1, 1, 2, 2, 2, 2, 3, 3]
    score = [0.9, 0.1, 0.9, 0.8, 0.2, 0.1, 0.5, 0.4]
    label = [1, 0, 0, 1, 0, 0, 1, 1]  # user 1: 1; user 2: 2 of 3 pairs; user 3: only clicks
    result = user_auc(score, label, user)
    assert uauc(result) == pytest.approx((1 + 2 / 3) / 2)
    assert gauc(result) == pytest.approx((2 * 1 + 4 * 2 / 3) / 6)
    assert result.dropped == 1


def test_rows_whose_label_is_not_observed_are_left_out():
    assert auc([0.1, 0.9, 0.5], [0, 1, np.nan]) == 1
    assert user_auc([0.1, 0.9, np.nan], [0, 1, np.nan], [7, 7, 8]).users.tolist() == [7]


def test_scores_that_are_not_finite_are_an_error():
    with pytest.raises(MetricError, match="1 of 2 scores are not finite"):
        auc([np.nan, 1], [0, 1])
    with pytest.raises(MetricError, match="one value per row"):
        auc([1.0], [0, 1])


def test_normalised_entropy_is_log_loss_over_the_entropy_of_the_base_rate():
    score, label, _ = _planted()
    p = np.clip(0.1 + 0.4 * score, 0.01, 0.99)
    base = np.full(len(label), label.mean())
    assert normalised_entropy(p, label) == pytest.approx(log_loss(label, p) / log_loss(label, base))
    assert normalised_entropy(base, label) == pytest.approx(1)
    assert normalised_entropy(p, label) < 1 < normalised_entropy(1 - p, label)
    assert np.isnan(normalised_entropy(p, np.ones(len(p))))
    with pytest.raises(MetricError, match="sigmoid"):
        normalised_entropy([2.0, 0.5], [1, 0])


def test_calibration_by_hand():
    p, label = [0.1, 0.3, 0.6, 0.8], [0, 0, 1, 0]
    curve = reliability(p, label, bins=2)
    np.testing.assert_allclose(curve.predicted, [0.2, 0.7])
    np.testing.assert_allclose(curve.observed, [0, 0.5])
    assert curve.rows.tolist() == [2, 2]
    assert ece(p, label, bins=2) == pytest.approx(0.2)


def test_broadcasts_that_differ_by_chance_are_no_calibration_error_and_a_common_fault_is():
    rng = np.random.default_rng(3)
    cluster = np.repeat(np.arange(30), 100)
    p = rng.uniform(0.2, 0.8, len(cluster))
    liked = np.clip(p + rng.normal(0, 0.4, 30)[cluster], 0, 1)  # each broadcast better or worse than foreseen
    by_chance = (rng.random(len(p)) < liked).astype(float)
    assert ece(p, by_chance) > 0.03
    assert ece_beyond_chance(p, by_chance, cluster) < 0.005
    too_low = (rng.random(len(p)) < np.clip(p + 0.2, 0, 1)).astype(float)
    assert ece_beyond_chance(p, too_low, cluster) > 0.1
    assert ece_beyond_chance(p, too_low, cluster) <= ece(p, too_low)
    assert ece_beyond_chance(p, too_low, np.zeros(len(p))) == 0.0  # one broadcast proves nothing
    assert np.isnan(ece_beyond_chance([], [], []))


def test_a_calibrated_model_has_a_small_ece_and_a_scaled_one_a_large_one():
    rng = np.random.default_rng(0)
    p = rng.beta(2, 8, 50_000)
    label = rng.random(50_000) < p
    assert ece(p, label) < 0.01
    assert ece(np.minimum(2 * p, 1), label) == pytest.approx(p.mean(), abs=0.01)


@pytest.mark.parametrize("levels", [4, 10_000])
def test_ndcg_equals_scikit_learn_with_and_without_ties(levels):
    rng = np.random.default_rng(1)
    label = (rng.random((200, 15)) < 0.2).astype(float)
    label[:, 0] = 1
    score = rng.integers(0, levels, (200, 15)).astype(float)
    lists = np.repeat(np.arange(200), 15)
    shuffle = rng.permutation(3_000)
    result = list_metrics(score.ravel()[shuffle], label.ravel()[shuffle], lists[shuffle], k=10)
    assert result.ndcg == pytest.approx(ndcg_score(label, score, k=10), abs=1e-9)
    assert result.n_lists == 200


def test_list_metrics_by_hand():
    lists = ["a"] * 4 + ["b"] * 3 + ["c"] * 2
    score = [4, 3, 2, 1, 3, 2, 1, 1, 0]
    label = [0, 1, 0, 1, 1, 0, 0, 0, 0]  # relevant at 2 and 4 of 4; at 1 of 3; nowhere
    result = list_metrics(score, label, lists, k=2)
    ideal = 1 + 1 / np.log2(3)
    assert result.ndcg == pytest.approx((1 / np.log2(3) / ideal + 1) / 2)
    assert result.recall == pytest.approx((0.5 + 1) / 2)
    assert result.hit_rate == 1
    assert result.mrr == pytest.approx((1 / 2 + 1) / 2)
    assert (result.n_lists, result.n_lists_dropped) == (2, 1)


def test_a_constant_score_earns_no_more_than_chance_in_any_list_metric():
    lists, label = np.repeat(np.arange(50), 10), np.tile([1] + [0] * 9, 50)  # the relevant one is first in the input
    result = list_metrics(np.zeros(500), label, lists, k=3)
    assert result.recall == pytest.approx(0.3)
    assert result.ndcg == pytest.approx((1 + 1 / np.log2(3) + 0.5) / 10)
    assert result.hit_rate == 0
    assert result.mrr == pytest.approx(0.1)


def test_paired_bootstrap_covers_a_planted_difference_and_is_seeded():
    rng = np.random.default_rng(2)
    covered = 0
    for seed in range(40):
        base = rng.uniform(0.3, 0.8, 400)
        gain, weights = 0.02 + 0.1 * rng.normal(size=400), rng.integers(1, 30, 400)
        interval = paired_bootstrap(base + gain, base, weights, 300, seed)
        covered += interval.low <= 0.02 <= interval.high
        assert interval.low < interval.difference < interval.high
    assert 34 <= covered <= 40
    again = paired_bootstrap(base + gain, base, weights, 300, seed)
    assert again == interval
    assert paired_bootstrap(base + gain, base, weights, 300, seed + 1) != interval


def test_paired_bootstrap_uses_only_users_that_both_sides_can_be_measured_on():
    nan = np.nan
    interval = paired_bootstrap([0.6, nan, 0.9], [0.5, 0.7, nan], [10, 10, 10], 50, 0)
    assert interval.n_users == 1
    assert interval.difference == pytest.approx(0.1)
    assert np.isnan(paired_bootstrap([nan], [0.5], [1], 50, 0).difference)


def test_a_permutation_test_sees_a_real_gain_and_none_where_there_is_none():
    rng = np.random.default_rng(0)
    base, weights = rng.random(200), rng.integers(1, 50, 200)
    better, same = base + 0.05 + 0.1 * rng.normal(size=200), base + 0.1 * rng.normal(size=200)
    better[0] = np.nan  # a user with one class
    assert permutation_test(better, base, weights, 200, 1) == pytest.approx(1 / 201)
    assert permutation_test(same, base, weights, 200, 1) > 0.01
    assert permutation_test(base, better, weights, 200, 1) > 0.99
    assert np.isnan(permutation_test(better[:1], base[:1], weights[:1], 200, 1))


def test_users_are_ranked_within_a_day_whatever_the_scale_of_that_days_scores():
    score, label, user = _planted(users=40)
    day = np.arange(len(score)) % 5
    by_day = [user_auc(score[day == one], label[day == one], user[day == one]) for one in range(5)]
    expected = np.average(
        np.concatenate([one.auc[one.evaluable] for one in by_day]),
        weights=np.concatenate([one.impressions[one.evaluable] for one in by_day]),
    )
    joined = user_auc(score, label, user, day)
    assert gauc(joined) == pytest.approx(expected)
    moved = user_auc((score + 10 * (day % 2)) / (1 + day), label, user, day)
    np.testing.assert_allclose(moved.auc, joined.auc)
    assert gauc(user_auc(score + 10 * (day % 2), label, user)) < gauc(joined) - 0.05, "the days' scales do matter without days"


def test_a_user_with_a_click_on_one_day_and_a_skip_on_another_cannot_be_measured():
    found = user_auc([0.9, 0.1, 0.8, 0.2], [1, 0, 1, 0], [1, 1, 2, 2], [0, 1, 0, 0])
    assert found.evaluable.tolist() == [False, True]
    assert found.auc[1] == 1.0
    assert found.impressions.tolist() == [2, 2]
    assert found.dropped == 1


def test_days_that_are_all_one_change_nothing():
    score, label, user = _planted()
    for with_day, without in zip(
        user_auc(score, label, user, np.full(len(score), 7)), user_auc(score, label, user), strict=True
    ):
        np.testing.assert_array_equal(with_day, without)


def test_the_interval_of_gauc_holds_the_truth_about_as_often_as_it_says():
    rng, held = np.random.default_rng(5), 0
    for sample in range(60):
        users = user_auc([0.0], [1.0], [0])._replace(auc=0.6 + 0.2 * rng.normal(size=80), impressions=rng.integers(2, 9, 80))
        interval = gauc_interval(users, 200, sample)
        held += interval.low <= 0.6 <= interval.high
    assert 50 <= held <= 60  # 57 expected
