"""For which authors content beats the ID: an empirical Bayes estimate per author.

    trust = trust_by_author(gain, author, room, authors)    # float32 [authors]

Most authors' words are about what they air. Some authors' words are not: lyrics of the music they play, or talk about
anything. Averaged over all authors content may gain, and still be noise for these. The gain of an author's impressions (log
loss by the ID alone minus log loss with content) is a noisy mean over few rooms, so the estimates of all authors share a
prior that is fitted to them (empirical Bayes: Morris, JASA 1983):

    m_a ~ N(θ_a, v_a),   θ_a ~ N(μ, τ²),   trust_a = P(θ_a > 0 | m_a)
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROUNDS = 200  # of EM, for two numbers


class _Gains(NamedTuple):
    """The gain of content for each author that was shown."""

    mean: Floats  # [shown] nats an impression
    variance: Floats  # [shown] of that mean


def trust_by_author(gain: Floats, author: NDArray[np.integer], room: NDArray[np.integer], authors: int) -> NDArray[np.float32]:
    """Probability that content predicts each author's clicks better than the ID, [authors].

    It is 1 for all if no known author was shown.

    Args:
        gain: [n] nats by which content lowered the log loss of an impression's click.
        author: [n] index; 0 is "unknown" and in the result stands for an author without impressions.
        room: [n] id of the broadcast.
    """
    of_known = author > 0
    shown, place = np.unique(author[of_known], return_inverse=True)
    if not len(shown):
        return np.ones(authors, dtype=np.float32)
    gains = _by_author(gain[of_known], place, room[of_known], len(shown))
    mean, spread = _prior(gains)
    trust = np.full(authors, _above_zero(mean, spread))
    trust[shown] = _above_zero(*_posterior(gains, mean, spread))
    return trust.astype(np.float32)


def _by_author(gain: Floats, author: NDArray[np.integer], room: NDArray[np.integer], authors: int) -> _Gains:
    """Mean gain of each author, and its variance.

    Impressions of a room are correlated. So the variance of a mean is that of independent impressions, times the design effect
    of cluster sampling (Kish 1965): how much more rooms differ than by chance. All authors share one design effect.
    """
    count = np.bincount(author, minlength=authors)
    mean = np.bincount(author, gain, authors) / count
    away = gain - mean[author]
    of_impressions = max(float((away**2).sum()), 1e-12)
    _, number = np.unique(room, return_inverse=True)
    design_effect = max(1.0, float((np.bincount(number, away) ** 2).sum()) / of_impressions)
    return _Gains(mean, design_effect * of_impressions / len(gain) / count)


def _prior(gains: _Gains) -> tuple[float, float]:
    """μ and τ², by EM over the authors."""
    mean = float(np.average(gains.mean, weights=1 / gains.variance))
    spread = max(float(gains.mean.var()), 1e-8)
    for _ in range(_ROUNDS):
        expected, variance = _posterior(gains, mean, spread)
        mean = float(expected.mean())
        spread = max(float(((expected - mean) ** 2 + variance).mean()), 1e-8)
    return mean, spread


def _posterior(gains: _Gains, mean: float, spread: float) -> tuple[Floats, Floats]:
    """Mean and variance of each shown author's θ, given the author's gains and the prior."""
    precision = 1 / spread + 1 / gains.variance
    return (mean / spread + gains.mean / gains.variance) / precision, 1 / precision


def _above_zero(mean: Floats | float, variance: Floats | float) -> Floats:
    """P(x > 0) of a normal x."""
    return torch.special.ndtr(torch.as_tensor(mean / np.sqrt(variance))).numpy()
