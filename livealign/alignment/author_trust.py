"""Of which authors does content tell more than their ID? A probability for each, from rooms that the towers did not see.

    trust = trust_by_author(gain, author, room, authors)    # float32 [authors]

Most authors' words are about what they air; those of some are not: lyrics of the music they play, talk of anything. Averaged
over all authors content may well gain, and still be noise about these. What content gained an author's impressions (the log
loss by the ID alone minus that with content) is a noisy mean of few rooms, so that authors are held together by a prior
fitted to all of them (empirical Bayes: Morris, JASA 1983):

    m_a ~ N(θ_a, v_a),   θ_a ~ N(μ, τ²),   trust_a = P(θ_a > 0 | m_a)
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROUNDS = 200  # of EM, for two numbers


class _Gains(NamedTuple):
    """What content gained each author that was shown."""

    mean: Floats  # [shown] nats an impression
    variance: Floats  # [shown] of that mean


def trust_by_author(gain: Floats, author: NDArray[np.integer], room: NDArray[np.integer], authors: int) -> NDArray[np.float32]:
    """How probable it is that content tells more of each author's clicks than the ID does, [authors]; 1 where nothing is known.

    Args:
        gain: [n] nats by which the click of an impression was less surprising with content than without.
        author: [n] index; 0 is "unknown", and stands in the result for an author who was never seen.
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
    """Impressions of a room rise and fall together: the variance of a mean is that of independent ones times how much more
    rooms differ than they would by chance (the design effect of cluster sampling, Kish 1965), which all authors share.
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
    """Mean and variance of each shown author's θ, given what was seen of them and the prior."""
    precision = 1 / spread + 1 / gains.variance
    return (mean / spread + gains.mean / gains.variance) / precision, 1 / precision


def _above_zero(mean: Floats | float, variance: Floats | float) -> Floats:
    """P(x > 0) of a normal x."""
    return torch.special.ndtr(torch.as_tensor(mean / np.sqrt(variance))).numpy()
