"""The promotion rule: champion or challenger, a pure function of measurements.

The measurements are of held-out days that neither model was trained on. This module reads and writes no file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from livealign.metrics import Interval, UserAuc, gauc, gauc_interval, paired_bootstrap
from livealign.operation_config import PromotionConfig

Rule = Literal[
    "failed_checks",
    "missing_metrics",
    "not_finite",
    "first_release",
    "champion_damaged",
    "champion_unreadable",
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
    """A release's click ranking on held-out days.

    `livealign.retrain.champion.release_metrics` computes it.
    """

    day: str  # YYYY-MM-DD, the day that both releases are scored on, or the last of several
    users: UserAuc
    slices: Mapping[str, UserAuc] = field(default_factory=dict)  # "author_popularity=tail" → the same, on that slice's rows
    finite: bool = True  # False when a score was NaN or infinite: the model has diverged
    earlier: tuple[str, ...] = ()  # further days before `day`, oldest first

    @property
    def when(self) -> str:
        """The days as words of a sentence."""
        return f"the {len(self.earlier) + 1} days from {self.earlier[0]} to {self.day}" if self.earlier else self.day

    @property
    def gauc(self) -> float:
        """GAUC of clicks; NaN if a score was not finite."""
        return gauc(self.users) if self.finite else float("nan")

    @property
    def n_users(self) -> int:
        """Users with both a click and a skip on one day; depends on the labels, not on the model."""
        return int(self.users.evaluable.sum())


@dataclass(frozen=True)
class Unscored:
    """A champion that has no metrics on the day, and the reason."""

    problem: str
    why: Literal["damaged", "unreadable", "missing"]  # its bundle has changed; of another version; something is not here
    days: int = 1  # held-out days in a row on which it could not be scored, this one included


@dataclass(frozen=True)
class Decision:
    """The outcome, the rule that decided, a sentence for people, and the numbers (JSON values)."""

    decision: Literal["promote", "keep"]
    rule: Rule
    reason: str
    numbers: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The decision as JSON values."""
        return {"decision": self.decision, "rule": self.rule, "reason": self.reason, "numbers": self.numbers}


def decide(
    champion: ReleaseMetrics | Unscored | None,
    challenger: ReleaseMetrics | None,
    checks: Mapping[str, bool],
    config: PromotionConfig,
    least_users: int,
) -> Decision:
    """Promote the challenger if its checks passed and it is not worse than the margin allows.

    Not worse: the one-sided lower confidence bound of GAUC(challenger) − GAUC(champion), by paired bootstrap over users, lies
    above −`gauc_margin` (non-inferiority; a challenger has newer data, so it need not be better). In no guarded slice may it
    both lose more than the slice's margin and be significantly worse: slices are small, so noise alone must not block it. All
    slices share one error rate (Bonferroni); without that, six slices could reject one in four equally good challengers.

    Args:
        champion: the release that serves now, rescored on the challenger's day; None if nothing serves yet.
        challenger: None if its evaluation is missing.
        checks: name of each blocking check → whether it passed.
        least_users: users with both classes that are needed to judge. With fewer the champion stays, and a first release is
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
        quality = f"its GAUC on {challenger.when} is {_gauc_text(challenger, config)}" if enough else few
        return Decision("promote", "first_release", f"Promoted, because nothing was serving yet; {quality}.", numbers)
    if isinstance(champion, Unscored):
        if champion.why == "missing" and champion.days < config.most_unscored_days:
            reason = (
                f"Kept, because the champion could not be scored on {challenger.when}: {champion.problem}. "
                f"It gives way after {config.most_unscored_days} such days in a row, and this is day {champion.days}."
            )
            return Decision("keep", "champion_not_scored", reason, numbers)
        if not enough:
            return Decision("keep", "too_few_users", f"Kept, because {few}.", numbers)
        rule, because = _gives_way(champion)
        quality = f"the challenger's GAUC on {challenger.when} is {_gauc_text(challenger, config)}"
        return Decision("promote", rule, f"Promoted, because {because} ({champion.problem}); {quality}.", numbers)
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


def _gives_way(champion: Unscored) -> tuple[Rule, str]:
    """The rule by which a champion without scores gives way, and the reason as a clause."""
    if champion.why == "damaged":
        return "champion_damaged", "the champion's bundle is damaged and could not serve again"
    if champion.why == "unreadable":
        return "champion_unreadable", "this version cannot read the champion's models, so no challenger could be compared"
    return "champion_not_scored", f"the champion could not be scored on {champion.days} days in a row"


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

    comparison = (
        f"GAUC {challenger.gauc:.4f} against the champion's {champion.gauc:.4f} "
        f"({difference.difference:+.4f}, {config.confidence:.0%} sure of at least {difference.low:+.4f}; "
        f"allowed is {-config.gauc_margin:+.4f})"
    )
    if not difference.low > -config.gauc_margin:
        how = "is worse" if difference.high < 0 else "may be worse than the margin allows"
        return Decision("keep", "worse", f"Kept, because the challenger {how}: {comparison}.", numbers)

    numbers["slices"] = _guarded(champion, challenger, config)
    worse = [f"{name} ({part['difference']:+.4f})" for name, part in numbers["slices"].items() if part["worse"]]
    if worse:
        reason = f"Kept, because the challenger is worse than its margin for {', '.join(worse)}; overall {comparison}."
        return Decision("keep", "slice_worse", reason, numbers)
    how = "is better" if difference.low > 0 else "is not worse"
    return Decision("promote", "not_worse", f"Promoted, because the challenger {how}: {comparison}.", numbers)


def _guarded(champion: ReleaseMetrics, challenger: ReleaseMetrics, config: PromotionConfig) -> dict[str, dict[str, Any]]:
    """Difference and bounds of each guarded slice of the day, and whether it is worse than its margin."""
    sure = 1 - (1 - config.confidence) / max(len(config.guarded_slices), 1)
    parts: dict[str, dict[str, Any]] = {}
    for name, margin in config.guarded_slices:
        if name not in champion.slices or name not in challenger.slices:
            continue
        part = _difference(champion.slices[name], challenger.slices[name], config, sure)
        if part.n_users == 0:  # no user both clicked and skipped there
            continue
        worse = part.n_users >= config.min_users and part.difference < -margin and part.high < 0
        parts[name] = {**part._asdict(), "margin": margin, "worse": bool(worse)}
    return parts


def _difference(champion: UserAuc, challenger: UserAuc, config: PromotionConfig, confidence: float) -> Interval:
    """Challenger − champion over the users of both. A one-sided bound of confidence c is a two-sided interval of 2c − 1."""
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
    """GAUC with its two-sided interval of 95 %; computed for several days only."""
    return gauc_interval(release.users, config.bootstrap_samples, config.seed)


def _gauc_text(release: ReleaseMetrics, config: PromotionConfig) -> str:
    """GAUC as words of a sentence; with several days the interval comes first."""
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
