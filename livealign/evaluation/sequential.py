"""The always-valid sequential test of two releases, which may be looked at at any time.

    arms = [ratio_of(clicks, impressions), …]        # one value a user
    compare(champion, challenger, effect, alpha)     # difference, confidence sequence, p-value

The mean of an arm is a ratio of sums over its users, such as clicks to impressions; its variance is that of the linearised
ratio, clustered by user (Cochran 1977, §6.3; Deng et al. 2018, "Applying the delta method in metric analytics"). The difference
of two means with variance V is tested by a mixture sequential probability ratio test: the likelihood ratio of N(θ, V) to
N(0, V), averaged over θ ~ N(0, τ²),

    Λ = √(V / (V + τ²)) · exp(τ² d² / (2 V (V + τ²))).

While there is no difference Λ is a martingale that begins at 1, so it ever reaches 1/α with a probability of at most α, however
often it is looked at (Robbins 1970; Johari, Koomen, Pekelis and Walsh 2017, "Peeking at A/B tests"). 1/Λ is the p-value, and
the differences that are not rejected form a confidence sequence. With estimated variances this holds for many users
(Waudby-Smith et al. 2024, "Time-uniform central limit theory and asymptotic confidence sequences"); arms with fewer than
LEAST_USERS are not compared. A small arm in which by chance nobody did something rare would seem to be sure of it:
the variance of an arm is therefore not taken to be smaller than that of as many users of both arms together. τ is a share of
the mean, fixed beforehand: it says which differences are found soonest, and the
level holds for every τ.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

LEAST_USERS = 100  # in each arm


class Ratio(NamedTuple):
    """The mean of one arm: sums over its users of numerator y, denominator n, and products."""

    users: int
    y: float
    n: float
    yy: float
    yn: float
    nn: float

    @property
    def mean(self) -> float:
        """y / n; NaN without any."""
        return self.y / self.n if self.n > 0 else math.nan

    @property
    def variance(self) -> float:
        """Of the mean, clustered by user; NaN with fewer than two users."""
        if self.users < 2 or self.n <= 0:
            return math.nan
        return self.residual(self.mean) * self.users / (self.users - 1) / self.n**2

    def residual(self, mean: float) -> float:
        """Σ over users of (y − mean·n)²."""
        return max(self.yy - 2 * mean * self.yn + mean**2 * self.nn, 0.0)


class Comparison(NamedTuple):
    """The difference of two arms, second − first, as far as it is known."""

    difference: float
    low: float  # confidence sequence: −∞ and ∞ while the arms are not compared
    high: float
    p_value: float  # always valid; 1 while the arms are not compared
    alpha: float

    @property
    def decided(self) -> bool:
        """Whether the arms differ, surely."""
        return self.p_value <= self.alpha


def ratio_of(numerator: ArrayLike, denominator: ArrayLike) -> Ratio:
    """The ratio of the sums of two columns, one value a user [users]."""
    y, n = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    return Ratio(len(n), float(y.sum()), float(n.sum()), float(y @ y), float(y @ n), float(n @ n))


def compare(first: Ratio, second: Ratio, effect: float, alpha: float) -> Comparison:
    """The difference second − first with its confidence sequence.

    Args:
        effect: τ, the size of the differences that are looked for, as a share of the mean of both arms.
        alpha: the probability that the sequence ever misses the true difference.
    """
    difference = second.mean - first.mean
    total = first.n + second.n
    mean = (first.y + second.y) / total if total > 0 else math.nan
    prior = (effect * mean) ** 2
    if min(first.users, second.users) < LEAST_USERS:
        return Comparison(difference, -math.inf, math.inf, 1.0, alpha)
    spread = (first.residual(mean) + second.residual(mean)) / (first.users + second.users)  # of a user of either arm
    variance = sum(max(arm.variance, spread * arm.users / arm.n**2) for arm in (first, second) if arm.n > 0)
    if not (variance > 0 and prior > 0):
        return Comparison(difference, -math.inf, math.inf, 1.0, alpha)
    both = variance + prior
    log_ratio = 0.5 * (math.log(variance / both) + prior * difference**2 / (variance * both))
    half = _half_width(variance, prior, alpha)
    return Comparison(difference, difference - half, difference + half, min(1.0, math.exp(-log_ratio)), alpha)


def interval_of(arm: Ratio, effect: float, alpha: float) -> tuple[float, float]:
    """The confidence sequence of one arm's mean; −∞ and ∞ with too few users."""
    prior = (effect * arm.mean) ** 2
    if arm.users < LEAST_USERS or not (arm.variance > 0 and prior > 0):
        return -math.inf, math.inf
    half = _half_width(arm.variance, prior, alpha)
    return arm.mean - half, arm.mean + half


def _half_width(variance: float, prior: float, alpha: float) -> float:
    """Half the width of the confidence sequence: the largest difference with Λ < 1/α."""
    both = variance + prior
    return math.sqrt(variance * both / prior * (2 * math.log(1 / alpha) + math.log(both / variance)))
