"""The sequential test: its variance, its level however often it is looked at, and what it finds."""

import math

import numpy as np
import pytest

from benchmarks.quality.always_valid import alarms
from livealign.config import LiveConfig
from livealign.evaluation.list_metrics import METRICS, differences, ratio
from livealign.evaluation.sequential import LEAST_USERS, Ratio, compare, interval_of, ratio_of
from livealign.evaluation.tallies import Arm, tallies_of

LEVEL = LiveConfig().experiment_level


def arm(mean: float, variance: float, users: int = 100, total: float = 1_000.0) -> Ratio:
    """An arm of this mean and variance."""
    return Ratio(users, mean * total, total, variance * total**2 * (users - 1) / users, 0.0, 0.0)


def test_the_variance_of_a_ratio_is_that_over_users_and_not_over_events() -> None:
    rng = np.random.default_rng(1)
    means, stated = [], []
    for _ in range(400):
        n = rng.poisson(rng.gamma(0.5, 20.0, 300)).astype(float)
        y = rng.binomial(n.astype(int), rng.beta(1.0, 9.0, 300)).astype(float)
        one = ratio_of(y, n)
        means.append(one.mean)
        stated.append(one.variance)
    assert np.mean(stated) == pytest.approx(np.var(means), rel=0.2)
    assert np.mean(stated) > 2 * 0.09 / (300 * 10)  # of independent events


def test_the_p_value_and_the_confidence_sequence_say_the_same() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        first, second = (arm(0.1 + rng.normal() * 0.01, rng.uniform(1e-6, 1e-4)) for _ in range(2))
        one = compare(first, second, 0.1, 0.05)
        assert one.decided == (not one.low <= 0 <= one.high)
        assert (one.low + one.high) / 2 == pytest.approx(one.difference)


def test_the_likelihood_ratio_is_the_mean_over_the_prior() -> None:
    variance, effect, mean = 2e-5, 0.1, 0.1
    one = compare(arm(mean - 0.005, variance / 2), arm(mean + 0.005, variance / 2), effect, 0.05)
    theta = np.random.default_rng(3).normal(0, effect * mean, 400_000)
    averaged = np.exp((theta * 0.01 - theta**2 / 2) / variance).mean()  # of N(θ, V) to N(0, V) at 0.01
    assert 1 / one.p_value == pytest.approx(averaged, rel=0.02)


def test_a_looked_at_walk_without_drift_is_decided_no_more_often_than_the_level_says() -> None:
    rng = np.random.default_rng(4)
    looks, walks = 400, 2_000
    steps = rng.normal(0, 1, (walks, looks)).cumsum(1) / np.arange(1, looks + 1)
    decided, naive = np.zeros(walks, bool), np.zeros(walks, bool)
    for look in range(looks):
        variance = 1 / (look + 1)
        for walk, difference in enumerate(steps[:, look]):
            one = compare(arm(1.0, variance / 2), arm(1.0 + difference, variance / 2), 0.2, 0.05)
            decided[walk] |= one.decided
        naive |= np.abs(steps[:, look]) > 1.96 * math.sqrt(variance)
    assert decided.mean() < 0.05
    assert decided.mean() > 0.005  # it is not blind
    assert naive.mean() > 0.3


def test_a_small_arm_without_a_rare_event_is_not_sure_that_there_is_none() -> None:
    rng = np.random.default_rng(6)
    rare = (rng.random(20_000) < 0.02).astype(float) * 5
    one = compare(ratio_of(rare, np.ones(20_000)), ratio_of(np.zeros(120), np.ones(120)), 0.1, 0.05)
    assert not one.decided
    assert one.low < -0.1 < 0 < one.high


@pytest.mark.parametrize(("share", "users"), [(0.5, 1_200), (0.05, 4_000)])
def test_the_champion_against_itself_is_decided_no_more_often_than_the_level_says(share: float, users: int) -> None:
    found = alarms(experiments=120, hours=24, users=users, share=share, lift=0.0, seed=3)
    assert len(found["the sequential test"].hours) / 120 <= LEVEL
    assert len(found["the sequential test, not clustered by user"].hours) / 120 > 2 * LEVEL  # the simulation would show it


def test_a_difference_is_found() -> None:
    found = alarms(experiments=30, hours=24, users=4_000, share=0.5, lift=0.5, seed=4)["the sequential test"]
    assert len(found.hours) > 24
    assert min(found.hours) >= 1


def test_too_few_users_and_no_events_are_not_compared() -> None:
    few, none = arm(0.5, 1e-6, LEAST_USERS - 1), ratio_of(np.zeros(200), np.ones(200))
    many = arm(0.1, 1e-6, 10_000)
    for first, second in ((few, many), (many, few), (none, none), (ratio_of([], []), many)):
        one = compare(first, second, 0.1, 0.05)
        assert (one.p_value, one.decided) == (1.0, False)
        assert (one.low, one.high) == (-math.inf, math.inf)
    assert interval_of(few, 0.1, 0.05) == (-math.inf, math.inf)
    low, high = interval_of(many, 0.1, 0.05)
    assert low < 0.1 < high


def test_the_level_is_shared_by_the_metrics_of_all_challengers() -> None:
    rng = np.random.default_rng(5)

    def counts(rate: float) -> dict[int, list[int]]:
        lists = 1 + rng.poisson(3, 400)
        clicks = rng.binomial(10 * lists, rate)
        rows = zip(lists, 10 * lists, clicks, rng.binomial(clicks, 0.4), np.zeros(400, int), strict=True)
        return {user: [int(value) for value in row] for user, row in enumerate(rows)}

    users = {
        Arm("a", "x", False, 0.5): counts(0.1),
        Arm("b", "x", True, 0.25): counts(0.1),
        Arm("c", "x", True, 0.25): counts(0.2),
    }
    tallies = tallies_of(users)
    found = {(one.challenger, one.metric): one for one in differences(tallies, 0.1, 0.05)}
    assert found.keys() == {(challenger, metric) for challenger in "bc" for metric in METRICS}
    assert found["c", "ctr"].decided
    assert not found["b", "ctr"].decided
    assert found["b", "gifts_per_list"].difference == 0.0
    alone = compare(ratio(tallies[0], "ctr"), ratio(tallies[1], "ctr"), 0.1, 0.05 / 6)
    assert (found["b", "ctr"].low, found["b", "ctr"].high) == (alone.low, alone.high)
    assert differences(tallies[1:], 0.1, 0.05) == []  # no champion
