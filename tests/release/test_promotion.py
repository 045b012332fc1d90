"""The truth table of promotion, and the statistics behind its one judgement."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from livealign.metrics import UserAuc
from livealign.operation_config import PromotionConfig
from livealign.release import promotion
from livealign.release.promotion import ReleaseMetrics, Unscored

CONFIG = PromotionConfig(gauc_margin=0.01, guarded_slices=(("author_popularity=tail", 0.03), ("user_activity=new", 0.05)))
GREEN = {"dbt tests": True, "codebook health": True}
LEAST_USERS = 20
decide = partial(promotion.decide, least_users=LEAST_USERS)
N = 600
RNG = np.random.default_rng(0)
BASE = RNG.uniform(0.4, 0.9, N)
NOISE = 0.04 * RNG.normal(size=N)


def _users(auc: np.ndarray) -> UserAuc:
    return UserAuc(np.arange(len(auc)), auc, np.full(len(auc), 10), np.where(np.isnan(auc), 0, 3))


def _release(gain: float = 0.0, noise: bool = True, **slices: float) -> ReleaseMetrics:
    """A release whose users' AUC is that of the champion + gain (+ noise); slices by their own gain."""
    auc = BASE + gain + (NOISE - NOISE.mean() if noise else 0)
    parts = {f"author_popularity={name}": _users(BASE[:200] + value) for name, value in slices.items()}
    return ReleaseMetrics("2025-03-08", _users(auc), parts)


CHAMPION = _release(noise=False, tail=0.0, head=0.0)
DIVERGED = replace(_release(), finite=False)
FEW = ReleaseMetrics("2025-03-08", _users(BASE[:5]))
OTHER_DAY = replace(CHAMPION, day="2025-03-07")
DAMAGED = Unscored("ranker.safetensors is damaged", "damaged")
UNREADABLE = Unscored("ranker.safetensors is no ranker of this version", "unreadable")
UNSCORED = Unscored("its backbone is not here", "missing", days=CONFIG.most_unscored_days - 1)
LONG_UNSCORED = replace(UNSCORED, days=CONFIG.most_unscored_days)


def _tail(gain: float, spread: float) -> ReleaseMetrics:
    """Better overall; in the tail `gain` on average, and each user's own luck of that spread."""
    luck = spread * np.random.default_rng(1).normal(size=200)
    tail = _users(BASE[:200] + gain + luck - luck.mean())
    return replace(_release(0.02), slices={"author_popularity=tail": tail})


TRUTH_TABLE = {
    "nothing serves yet": (None, _release(), GREEN, "promote", "first_release"),
    "nothing serves yet, failed check": (None, _release(), {"leak": False}, "keep", "failed_checks"),
    "nothing serves yet, not evaluated": (None, None, GREEN, "keep", "missing_metrics"),
    "nothing serves yet, diverged": (None, DIVERGED, GREEN, "keep", "not_finite"),
    "nothing serves yet, too few users": (None, FEW, GREEN, "promote", "first_release"),
    "failed check of a better challenger": (CHAMPION, _release(0.1), {"leak": False}, "keep", "failed_checks"),
    "not evaluated": (CHAMPION, None, GREEN, "keep", "missing_metrics"),
    "challenger diverged": (CHAMPION, DIVERGED, GREEN, "keep", "not_finite"),
    "champion diverged": (replace(CHAMPION, finite=False), _release(), GREEN, "promote", "not_finite"),
    "another day": (OTHER_DAY, _release(0.1), GREEN, "keep", "different_day"),
    "other users": (FEW, _release(0.1), GREEN, "keep", "different_day"),
    "too few users": (FEW, FEW, GREEN, "keep", "too_few_users"),
    "exact tie": (CHAMPION, CHAMPION, GREEN, "keep", "tie"),
    "better": (CHAMPION, _release(0.02), GREEN, "promote", "not_worse"),
    "equal on average": (CHAMPION, _release(0.0), GREEN, "promote", "not_worse"),
    "a little worse, surely within the margin": (CHAMPION, _release(-0.003), GREEN, "promote", "not_worse"),
    "a little worse, not surely within the margin": (CHAMPION, _release(-0.009), GREEN, "keep", "worse"),
    "worse": (CHAMPION, _release(-0.05), GREEN, "keep", "worse"),
    "champion damaged": (DAMAGED, _release(), GREEN, "promote", "champion_damaged"),
    "champion damaged, failed check": (DAMAGED, _release(), {"leak": False}, "keep", "failed_checks"),
    "champion damaged, not evaluated": (DAMAGED, None, GREEN, "keep", "missing_metrics"),
    "champion damaged, challenger diverged": (DAMAGED, DIVERGED, GREEN, "keep", "not_finite"),
    "champion damaged, too few users": (DAMAGED, FEW, GREEN, "keep", "too_few_users"),
    "champion cannot be scored": (UNSCORED, _release(0.1), GREEN, "keep", "champion_not_scored"),
    "champion cannot be scored any more": (LONG_UNSCORED, _release(-0.1), GREEN, "promote", "champion_not_scored"),
    "champion cannot be scored any more, too few users": (LONG_UNSCORED, FEW, GREEN, "keep", "too_few_users"),
    "champion cannot be scored any more, failed check": (LONG_UNSCORED, _release(), {"leak": False}, "keep", "failed_checks"),
    "champion unreadable": (UNREADABLE, _release(-0.1), GREEN, "promote", "champion_unreadable"),
    "champion unreadable, failed check": (UNREADABLE, _release(), {"leak": False}, "keep", "failed_checks"),
    "champion unreadable, challenger diverged": (UNREADABLE, DIVERGED, GREEN, "keep", "not_finite"),
    "champion unreadable, too few users": (UNREADABLE, FEW, GREEN, "keep", "too_few_users"),
    "both diverged": (replace(CHAMPION, finite=False), DIVERGED, GREEN, "keep", "not_finite"),
    "a guarded slice is worse": (CHAMPION, _release(0.02, tail=-0.1), GREEN, "keep", "slice_worse"),
    "a guarded slice is within its margin": (CHAMPION, _release(0.02, tail=-0.02), GREEN, "promote", "not_worse"),
    "a guarded slice is worse, and surely": (CHAMPION, _tail(-0.06, 0.2), GREEN, "keep", "slice_worse"),
    "a guarded slice looks worse, by luck": (CHAMPION, _tail(-0.04, 0.5), GREEN, "promote", "not_worse"),
    "a slice that is not guarded is worse": (CHAMPION, _release(0.02, head=-0.1), GREEN, "promote", "not_worse"),
    "no checks at all": (CHAMPION, _release(0.02), {}, "promote", "not_worse"),
}


@pytest.mark.parametrize("case", TRUTH_TABLE)
def test_every_row_of_the_truth_table_has_its_outcome_and_a_sentence(case):
    champion, challenger, checks, decision, rule = TRUTH_TABLE[case]
    outcome = decide(champion, challenger, checks, CONFIG)
    assert (outcome.decision, outcome.rule) == (decision, rule), outcome.reason
    assert outcome.reason.startswith("Promoted, because" if decision == "promote" else "Kept, because")
    assert outcome.reason.endswith(".")
    assert "nan" not in outcome.reason.lower()


def test_the_reason_names_the_failed_checks_and_the_numbers():
    assert "codes, leak" in decide(CHAMPION, _release(), {"leak": False, "codes": False, "dbt": True}, CONFIG).reason
    outcome = decide(CHAMPION, _release(-0.05), GREEN, CONFIG)
    assert f"{CHAMPION.gauc:.4f}" in outcome.reason
    assert "-0.0500" in outcome.reason
    assert outcome.numbers["difference"] == pytest.approx(-0.05)
    assert outcome.numbers["low"] < -0.05 < outcome.numbers["high"]
    assert "author_popularity=tail" in decide(CHAMPION, _release(0.02, tail=-0.1), GREEN, CONFIG).reason


def test_a_slice_that_is_not_guarded_or_too_small_does_not_block():
    config = replace(CONFIG, guarded_slices=(("user_activity=new", 0.03),))
    assert decide(CHAMPION, _release(0.02, tail=-0.1), GREEN, config).decision == "promote"
    config = replace(CONFIG, min_users=201)
    assert decide(CHAMPION, _release(0.02, tail=-0.1), GREEN, config).decision == "promote"


def test_the_decision_is_the_same_for_the_same_seed():
    first, second = (decide(CHAMPION, _release(-0.004), GREEN, CONFIG) for _ in range(2))
    assert first.to_dict() == second.to_dict()


def test_equally_good_challengers_are_seldom_refused_for_a_slice():
    """Six slices of a hundred users each, whose AUC differs by luck alone: the guards share one error rate of 5 %."""
    slices = [f"author_popularity={place}" for place in range(6)]
    config = replace(CONFIG, guarded_slices=tuple((name, 0.0) for name in slices), bootstrap_samples=200)
    refused, rng = 0, np.random.default_rng(3)
    for _ in range(60):
        parts = {name: _users(BASE[:100] + 0.2 * rng.normal(size=100)) for name in slices}
        champion = replace(CHAMPION, slices={name: _users(BASE[:100]) for name in slices})
        refused += decide(champion, replace(_release(0.02), slices=parts), GREEN, config).rule == "slice_worse"
    assert refused <= 6  # 3 expected; without sharing it would be 16


def test_users_with_one_class_do_not_count():
    auc = np.concatenate([BASE[:30], np.full(500, np.nan)])
    assert ReleaseMetrics("2025-03-08", _users(auc)).n_users == 30


def test_too_few_users_is_said_with_both_numbers_and_the_rule_is_to_keep_or_to_warn():
    few = replace(FEW, earlier=("2025-03-06", "2025-03-07"))
    kept, first = decide(few, few, GREEN, CONFIG), decide(None, few, GREEN, CONFIG)
    when = "the 3 days from 2025-03-06 to 2025-03-08"
    said = f"there are too few to tell: 5 users had both a click and a skip on {when}, 20 are needed"
    assert kept.reason == f"Kept, because {said}."
    assert first.reason == f"Promoted, because nothing was serving yet; {said}."


def test_several_days_are_named_with_their_interval_and_have_to_be_the_same_on_both_sides():
    days = ("2025-03-06", "2025-03-07")
    champion, challenger = (replace(one, earlier=days) for one in (CHAMPION, _release(0.02)))
    outcome = decide(champion, challenger, GREEN, CONFIG)
    assert outcome.rule == "not_worse"
    numbers = outcome.numbers["challenger"]
    assert numbers["days"] == [*days, "2025-03-08"]
    assert numbers["gauc_low"] < numbers["gauc"] < numbers["gauc_high"]
    assert f"{numbers['gauc_low']:.4f} to {numbers['gauc_high']:.4f}" in decide(None, challenger, GREEN, CONFIG).reason
    assert decide(CHAMPION, challenger, GREEN, CONFIG).rule == "different_day"
    assert "days" not in decide(CHAMPION, _release(0.02), GREEN, CONFIG).numbers["challenger"]
