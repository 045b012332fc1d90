"""Champion against challenger: may the new release replace the one that serves?

A pure function of measurements on held-out days that neither model was trained on. Nothing is read or written here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from livealign.config import PromotionConfig
from livealign.metrics import Interval, UserAuc, gauc, gauc_interval, paired_bootstrap

Rule = Literal[
    "failed_checks",
    "missing_metrics",
    "not_finite",
    "first_release",
    "champion_damaged",
    "champion_not_scored",
    "different_day",
    "too_few_users",
    "tie",
    "worse",
    "slice_worse",
    "not_worse",
]


@dataclass(frozen=True)
class ReleaseMetrics:
    """A release's click ranking on held-out days (`livealign.retrain.champion.release_metrics` makes it)."""

    day: str  # YYYY-MM-DD, the day both sides are scored on, or the last of several
    users: UserAuc
    slices: Mapping[str, UserAuc] = field(default_factory=dict)  # "author_popularity=tail" → the same, on that slice's rows
    finite: bool = True  # False when a score was NaN or infinite: the model has diverged
    earlier: tuple[str, ...] = ()  # days before `day` that are part of it, oldest first

    @property
    def when(self) -> str:
        """The days, for a sentence."""
        return f"the {len(self.earlier) + 1} days from {self.earlier[0]} to {self.day}" if self.earlier else self.day

    @property
    def gauc(self) -> float:
        return gauc(self.users) if self.finite else float("nan")

    @property
    def n_users(self) -> int:
        """Users with both a click and a skip on one day; it depends on the labels only, not on the model."""
        return int(self.users.evaluable.sum())


@dataclass(frozen=True)
class Unscored:
    """A champion without metrics on the day, and why."""

    problem: str
    damaged: bool  # its bundle is no longer what it was: it could not be served again after a restart


@dataclass(frozen=True)
class Decision:
    """The outcome, the rule that decided, a sentence for people, and the numbers behind it (JSON-able)."""

    decision: Literal["promote", "keep"]
    rule: Rule
    reason: str
    numbers: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {"decision": self.decision, "rule": self.rule, "reason": self.reason, "numbers": self.numbers}


def decide(
    champion: ReleaseMetrics | Unscored | None,
    challenger: ReleaseMetrics | None,
    checks: Mapping[str, bool],
    config: PromotionConfig,
    least_users: int,
) -> Decision:
    """Promote the challenger if its checks are green and it is not worse than the champion by more than the margin.

    Not worse: the one-sided lower confidence bound of GAUC(challenger) − GAUC(champion), by paired bootstrap over users, lies
    above −`gauc_margin` (non-inferiority; a challenger has newer data, so it need not be better). In no guarded slice may it
    lose more than the slice's margin and be surely worse: slices are small, so noise alone must not block. All slices share
    one error rate (Bonferroni), or six of them could refuse one in four equally good challengers.

    Args:
        champion: what serves now, rescored on the challenger's day; None if nothing serves yet.
        challenger: None if its evaluation is missing.
        checks: name of each guarding check → whether it passed.
        least_users: users with both classes below which metrics are too few to tell: the champion stays, and a first release is
            promoted with that warning, because nothing else could serve.
    """
    numbers = _numbers(champion, challenger, checks, config)
    failed = sorted(name for name, passed in checks.items() if not passed)
    if failed:
        return Decision(
            "keep", "failed_checks", f"Kept, because {_count(failed, 'check')} failed: {', '.join(failed)}.", numbers
        )
    if challenger is None:
        return Decision("keep", "missing_metrics", "Kept, because the challenger was not evaluated.", numbers)
    enough = challenger.n_users >= least_users
    if not challenger.finite or (enough and not np.isfinite(challenger.gauc)):
        return Decision(
            "keep", "not_finite", "Kept, because the challenger's scores are not finite: its training diverged.", numbers
        )
    few = (
        f"there are too few to tell: {challenger.n_users} users had both a click and a skip on {challenger.when}, "
        f"{least_users} are needed"
    )
    if champion is None:
        said = f"its GAUC on {challenger.when} is {_gauc_said(challenger, config)}" if enough else few
        return Decision("promote", "first_release", f"Promoted, because nothing was serving yet; {said}.", numbers)
    if isinstance(champion, Unscored):
        if not champion.damaged:
            reason = f"Kept, because the champion could not be scored on {challenger.when}: {champion.problem}."
            return Decision("keep", "champion_not_scored", reason, numbers)
        if not enough:
            return Decision("keep", "too_few_users", f"Kept, because {few}.", numbers)
        reason = (
            f"Promoted, because the champion's bundle is damaged and could not serve again ({champion.problem}); "
            f"the challenger's GAUC on {challenger.when} is {_gauc_said(challenger, config)}."
        )
        return Decision("promote", "champion_damaged", reason, numbers)
    if champion.when != challenger.when or not np.array_equal(champion.users.users, challenger.users.users):
        reason = (
            f"Kept, because champion and challenger were not scored on the same rows ({champion.when} and {challenger.when}); "
            "rescore the champion on the challenger's day."
        )
        return Decision("keep", "different_day", reason, numbers)
    if not enough:
        return Decision("keep", "too_few_users", f"Kept, because {few}.", numbers)
    if not champion.finite:
        reason = f"Promoted, because the champion's scores are not finite and the challenger's GAUC is {challenger.gauc:.4f}."
        return Decision("promote", "not_finite", reason, numbers)
    return _compare(champion, challenger, config, numbers)


def _compare(
    champion: ReleaseMetrics, challenger: ReleaseMetrics, config: PromotionConfig, numbers: dict[str, Any]
) -> Decision:
    difference = _difference(champion.users, challenger.users, config, config.confidence)
    numbers |= {
        "difference": difference.difference,
        "low": difference.low,
        "high": difference.high,
        "margin": config.gauc_margin,
    }
    if difference.difference == difference.low == difference.high == 0:
        return Decision("keep", "tie", "Kept, because the challenger ranks exactly like the champion.", numbers)

    said = (
        f"GAUC {challenger.gauc:.4f} against the champion's {champion.gauc:.4f} "
        f"({difference.difference:+.4f}, {config.confidence:.0%} sure of at least {difference.low:+.4f}; "
        f"allowed is {-config.gauc_margin:+.4f})"
    )
    if not difference.low > -config.gauc_margin:
        how = "is worse" if difference.high < 0 else "may be worse than the margin allows"
        return Decision("keep", "worse", f"Kept, because the challenger {how}: {said}.", numbers)

    numbers["slices"] = _guarded(champion, challenger, config)
    worse = [f"{name} ({part['difference']:+.4f})" for name, part in numbers["slices"].items() if part["worse"]]
    if worse:
        reason = f"Kept, because the challenger is worse than its margin for {', '.join(worse)}; overall {said}."
        return Decision("keep", "slice_worse", reason, numbers)
    how = "is better" if difference.low > 0 else "is not worse and knows newer data"
    return Decision("promote", "not_worse", f"Promoted, because the challenger {how}: {said}.", numbers)


def _guarded(champion: ReleaseMetrics, challenger: ReleaseMetrics, config: PromotionConfig) -> dict[str, dict[str, Any]]:
    """Each guarded slice that the day has: its difference, its bounds, and whether it is worse than its margin."""
    sure = 1 - (1 - config.confidence) / max(len(config.guarded_slices), 1)
    parts: dict[str, dict[str, Any]] = {}
    for name, margin in config.guarded_slices:
        if name not in champion.slices or name not in challenger.slices:
            continue
        part = _difference(champion.slices[name], challenger.slices[name], config, sure)
        if part.n_users == 0:  # nobody both clicked and skipped there
            continue
        worse = part.n_users >= config.min_users and part.difference < -margin and part.high < 0
        parts[name] = {**part._asdict(), "margin": margin, "worse": bool(worse)}
    return parts


def _difference(champion: UserAuc, challenger: UserAuc, config: PromotionConfig, confidence: float) -> Interval:
    """Challenger − champion over the users both know. Bounds of one-sided confidence c are a two-sided interval of 2c − 1."""
    _, mine, theirs = np.intersect1d(challenger.users, champion.users, return_indices=True)
    return paired_bootstrap(
        challenger.auc[mine],
        champion.auc[theirs],
        challenger.impressions[mine],
        config.bootstrap_samples,
        config.seed,
        2 * confidence - 1,
    )


def _gauc_interval(release: ReleaseMetrics, config: PromotionConfig) -> Interval:
    """GAUC with its two-sided interval of 95 %, which a single day with enough users does without."""
    return gauc_interval(release.users, config.bootstrap_samples, config.seed)


def _gauc_said(release: ReleaseMetrics, config: PromotionConfig) -> str:
    """GAUC for a sentence; of several days the interval comes first."""
    if not release.earlier:
        return f"{release.gauc:.4f}"
    interval = _gauc_interval(release, config)
    return f"{interval.low:.4f} to {interval.high:.4f}, estimated as {release.gauc:.4f} of {release.n_users} users"


def _numbers(
    champion: ReleaseMetrics | Unscored | None,
    challenger: ReleaseMetrics | None,
    checks: Mapping[str, bool],
    config: PromotionConfig,
) -> dict[str, Any]:
    def of(release: ReleaseMetrics | Unscored | None) -> dict[str, Any] | None:
        if release is None:
            return None
        if isinstance(release, Unscored):
            return {"problem": release.problem}
        value = release.gauc  # JSON knows no NaN
        numbers: dict[str, Any] = {
            "day": release.day,
            "gauc": value if np.isfinite(value) else None,
            "n_users": release.n_users,
        }
        if release.earlier and np.isfinite(value):
            interval = _gauc_interval(release, config)
            numbers |= {"days": [*release.earlier, release.day], "gauc_low": interval.low, "gauc_high": interval.high}
        return numbers

    return {"champion": of(champion), "challenger": of(challenger), "checks": dict(checks)}


def _count(items: list[str], noun: str) -> str:
    return f"{len(items)} {noun}" if len(items) == 1 else f"{len(items)} {noun}s"
