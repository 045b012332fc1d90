"""Off-policy values against the truth of a planted platform."""

import numpy as np
import pytest

from livealign.evaluation.off_policy import SELECTED, release_values, selection_values, snips
from livealign.live.list_places import explored

CANDIDATES, PLACES, LISTS = 40, 8, 4_000


def logged(share: float, seed: int = 0) -> dict[str, np.ndarray]:
    """Impressions of lists of a policy that knows half of the truth, and explores."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(LISTS):
        taste = rng.normal(size=CANDIDATES)
        truth = 1 / (1 + np.exp(2.0 - taste))
        known = taste + rng.normal(size=CANDIDATES)  # what the serving release scores
        order = np.argsort(-known).tolist()
        places = explored(order[:PLACES], order, share, f"{seed}-{number}")
        for room, propensity in zip(places.chosen, places.propensities, strict=True):
            rows.append((rng.random() < truth[room], propensity, number % 400, taste[room], known[room]))
    names = ("click", "propensity", "user", "taste", "known")
    return dict(zip(names, np.array(rows, dtype=np.float64).T, strict=True))


def test_the_choice_of_a_policy_that_did_not_serve_is_worth_what_it_is_worth_among_all_candidates() -> None:
    rng = np.random.default_rng(1)
    taste = rng.normal(size=2_000_000)
    truth = 1 / (1 + np.exp(2.0 - taste))
    best = truth[taste >= np.quantile(taste, 1 - SELECTED)].mean()
    log = logged(0.5)
    scores = {"knows the taste": log["taste"], "knows nothing": rng.random(len(log["taste"])), "serves": log["known"]}
    found = selection_values(scores, log["click"], log["propensity"], log["user"])
    assert found["all candidates"].low < truth.mean() < found["all candidates"].high
    assert found["knows the taste"].low < best < found["knows the taste"].high
    assert found["knows nothing"].low < truth.mean() < found["knows nothing"].high
    assert found["knows the taste"].value > found["serves"].value > found["knows nothing"].value
    shown = log["click"].mean()
    assert shown > found["all candidates"].high  # what was shown is no sample of what could have been
    for value in found.values():
        assert 1 < value.effective < value.rows


def test_without_exploration_nothing_is_said() -> None:
    log = logged(0.0)
    assert selection_values({"a": log["taste"]}, log["click"], log["propensity"], log["user"]) == {}
    unlogged = np.full(len(log["click"]), np.nan)
    assert selection_values({"a": log["taste"]}, log["click"], unlogged, log["user"]) == {}


def test_equal_weights_give_the_plain_mean_and_the_whole_sample() -> None:
    rng = np.random.default_rng(2)
    reward, user = rng.integers(0, 2, 500).astype(float), np.repeat(np.arange(50), 10)
    value = snips(reward, np.full(500, 3.0), user)
    assert value.value == pytest.approx(reward.mean())
    assert value.effective == pytest.approx(500)
    assert value.low < reward.mean() < value.high
    uneven = snips(reward, np.where(np.arange(500) < 5, 1_000.0, 1.0), user)
    assert uneven.effective < 7
    assert snips(np.full(3, np.nan), np.ones(3), np.arange(3)).rows == 0


def test_a_release_that_served_few_users_at_first_is_weighed_by_its_share() -> None:
    # Mornings click twice as much as evenings; the challenger's share grows from 5 % to 50 % in the evening.
    rng = np.random.default_rng(3)
    users = 60_000
    evening, point = rng.random(users) < 0.5, rng.random(users)
    share = np.where(evening, 0.5, 0.05)
    challenger = point < share
    click = (rng.random(users) < np.where(evening, 0.1, 0.2)).astype(float)
    release = np.where(challenger, "new", "old")
    found = release_values(release, click, np.where(challenger, share, 1 - share), np.arange(users))
    assert found.keys() == {"new", "old"}
    for value in found.values():
        assert value.low < 0.15 < value.high
    assert click[challenger].mean() < found["new"].low  # the plain mean is of evenings
    assert found["new"].effective < found["new"].rows
