"""Each user's taste for each code, with a prior shared by all users.

A segment belongs to every code of the first level to some degree, by the distance of its aligned vector to the centroids: its
affinities a [K]. Of the impressions of code c shown to user u, let e_uc be the clicks expected if all users clicked alike, and
k_uc the observed clicks. Then (a Poisson-lognormal model: Aitchison and Ho, Biometrika 1989)

    k_uc ~ Poisson(e_uc exp(t_uc)),   t_u ~ N(m, S)   and the room's score for u is   log Σ_c a_c E[exp(t_uc)]

m and S are fitted to all users by EM with a Laplace approximation (empirical Bayes). S holds which codes are liked together, so
a click also counts for related codes, and a user with few impressions stays near the mean.

Tastes change rarely and suddenly. If a user's own tastes explain a day worse than the mean tastes do, the earlier counts are
probably of another taste. They are multiplied by the probability that the taste has not changed (Bayesian online changepoint
detection, Adams and MacKay 2007, with one run length for each user).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from livealign.dataset.examples import Examples
from livealign.dataset.scaling import position_index
from livealign.days import DAY_MS

Floats = NDArray[np.float32]

_SHARPNESS = 20.0  # of affinities: exp(−20 × extra squared distance ÷ its usual size)
_FIRST_ROUNDS, _ROUNDS = 12, 6  # of EM from scratch, and from the previous day
_NEWTON_STEPS = 3  # in each round
_USERS = 8_192  # at a time
_CHANGES_A_DAY = 0.01  # prior share of users whose taste changes from one day to the next


@dataclass(frozen=True)
class Affinity:
    """The affinity of a segment to each code of the first level.

    Without vectors it belongs to its own code alone.
    """

    centroids: Floats  # [K, dim]; dim 0: no vectors
    width: float  # the usual size of extra squared distances

    @classmethod
    def of(cls, codes_per_level: int, codes: NDArray[np.integer], vectors: Floats | None) -> "Affinity":
        """The affinity of item rows with codes [n, levels] and vectors [n, dim]."""
        if vectors is None:
            return cls(np.zeros((codes_per_level, 0), dtype=np.float32), 1.0)
        counts = np.bincount(codes[:, 0], minlength=codes_per_level)
        sums = np.zeros((codes_per_level, vectors.shape[1]))
        np.add.at(sums, codes[:, 0], vectors)
        centroids = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
        centroids[counts == 0] = 1e3  # an unused code is far from all vectors
        extra = _extra_distance(vectors, centroids)[:, counts > 0]
        return cls(centroids, max(1e-9, float(np.median(extra.mean(1)))))

    def weights(self, codes: NDArray[np.integer], vectors: Floats | None) -> Floats:
        """[n, K], each row summing to one."""
        if vectors is None or not self.centroids.shape[1]:
            return np.eye(len(self.centroids), dtype=np.float32)[codes[:, 0]]
        weights = np.exp(-_SHARPNESS / self.width * _extra_distance(vectors, self.centroids))
        return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class Tastes:
    """The tastes of all users of a vocabulary; row 0 is an unknown user."""

    affinity: Affinity
    log_rates: Floats  # [users, K] log E[exp(t)]

    def scores(self, user: NDArray[np.int64], weights: Floats) -> Floats:
        """[n] log of user [n]'s click rate relative to the mean, by affinities [n, K]."""
        return np.log((weights * np.exp(self.log_rates[user])).sum(1) + 1e-9).astype(np.float32)


class _Prior(NamedTuple):
    mean: Tensor  # [K]
    covariance: Tensor  # [K, K]


def learn_tastes(
    examples: Examples,
    codes: NDArray[np.integer],
    vectors: Floats | None,
    users: int,
    codes_per_level: int,
    positions: int,
    device: torch.device | str = "cpu",
) -> tuple[Tastes, Floats]:
    """Tastes from all `examples`, and each example's score [n] by tastes of earlier days.

    A click counts from the midnight after it could be known. So a score never depends on the future, and is computed like a
    released one: from whole earlier days.

    Args:
        codes: [items, levels]; vectors: [items, dim] or None; users: size of the vocabulary.
        positions: rows of the table of base rates by place in the list.
    """
    affinity = Affinity.of(codes_per_level, codes, vectors)
    weights = affinity.weights(codes, vectors)
    click = examples.label("click")
    counted = ~np.isnan(click)
    base = _base_rates(examples, click, counted, positions)
    day = examples.shown_at // DAY_MS
    known_on = np.where(counted, np.maximum(examples.shown_at, examples.click_known_at) // DAY_MS, np.iinfo(np.int64).max)

    expected, clicked = (torch.zeros(users - 1, codes_per_level, dtype=torch.float64, device=device) for _ in range(2))
    state = _State.empty(users, codes_per_level, device)
    scores = np.zeros(len(examples), dtype=np.float32)
    for today in np.unique(day):
        rows = np.flatnonzero(day == today)
        scores[rows] = Tastes(affinity, state.log_rates()).scores(examples.user[rows], weights[examples.item[rows]])
        rows = np.flatnonzero(known_on == today)
        rows = rows[examples.user[rows] > 0]
        user = torch.from_numpy(examples.user[rows] - 1).to(device)
        shown = torch.from_numpy(weights[examples.item[rows]].astype(np.float64)).to(device)
        new_expected, new_clicked = (
            torch.zeros_like(expected).index_add_(0, user, shown * torch.from_numpy(times).to(device)[:, None])
            for times in (base[rows], click[rows].astype(np.float64))
        )
        unchanged = state.unchanged(new_expected, new_clicked)[:, None]
        expected, clicked = unchanged * expected + new_expected, unchanged * clicked + new_clicked
        state = state.fit(expected, clicked)
    return Tastes(affinity, state.log_rates()), scores


class _State(NamedTuple):
    """The fit after a day: the prior, and mode and variance of each known user's tastes."""

    prior: _Prior | None  # None before the first day
    mode: Tensor  # [users − 1, K]
    variance: Tensor  # [users − 1, K]

    @classmethod
    def empty(cls, users: int, codes: int, device: torch.device | str) -> "_State":
        zeros = torch.zeros(users - 1, codes, dtype=torch.float64, device=device)
        return cls(None, zeros, zeros)

    def log_rates(self) -> Floats:
        mean = torch.zeros_like(self.mode[:0].sum(0)) if self.prior is None else self.prior.mean
        variance = torch.zeros_like(mean) if self.prior is None else self.prior.covariance.diagonal()
        rows = torch.cat([(mean + variance / 2)[None], self.mode + self.variance / 2])
        return rows.clamp(-6, 6).float().cpu().numpy()

    def unchanged(self, expected: Tensor, clicked: Tensor) -> Tensor:
        """[users − 1] probability that each user's tastes are unchanged, given the counts [users − 1, K] of a new day."""
        if self.prior is None:
            return torch.ones_like(self.mode[:, 0])
        log_rates = torch.from_numpy(self.log_rates()).to(expected)
        mean_tastes, own = (
            (clicked * rates - expected * rates.exp()).sum(1) for rates in (log_rates[:1].expand_as(expected), log_rates[1:])
        )
        return torch.sigmoid(own - mean_tastes - math.log(_CHANGES_A_DAY / (1 - _CHANGES_A_DAY)))

    def fit(self, expected: Tensor, clicked: Tensor) -> "_State":
        """The state after EM from this one, fitted to the counts [users − 1, K] so far."""
        if not len(expected) or not float(expected.sum()):
            return self
        prior, mode, rounds = self.prior, self.mode.clone(), _ROUNDS
        codes = expected.shape[1]
        identity = torch.eye(codes, dtype=expected.dtype, device=expected.device)
        if prior is None:
            mean = torch.log((clicked.sum(0) + 5) / (expected.sum(0) + 5))
            prior, mode, rounds = _Prior(mean, 0.5 * identity + 0.3), mean.expand_as(expected).clone(), _FIRST_ROUNDS
        variance = torch.zeros_like(mode)
        for _ in range(rounds):
            precision = torch.linalg.inv(prior.covariance)
            total = torch.zeros_like(prior.covariance)
            for start in range(0, len(mode), _USERS):
                part = slice(start, start + _USERS)
                mode[part], covariance = _posterior(mode[part], expected[part], clicked[part], prior.mean, precision)
                variance[part] = covariance.diagonal(dim1=1, dim2=2)
                total += covariance.sum(0)
            mean = mode.mean(0)
            away = mode - mean
            prior = _Prior(mean, (away.T @ away + total) / len(mode) + 1e-4 * identity)
        return _State(prior, mode, variance)


def _posterior(mode: Tensor, expected: Tensor, clicked: Tensor, mean: Tensor, precision: Tensor) -> tuple[Tensor, Tensor]:
    """Mode of each user's tastes [u, K] by Newton steps, and the covariance there [u, K, K] (Laplace)."""

    def curvature() -> Tensor:
        return precision + torch.diag_embed(expected * mode.clamp(-6, 4).exp())

    for _ in range(_NEWTON_STEPS):
        gradient = clicked - expected * mode.clamp(-6, 4).exp() - (mode - mean) @ precision
        step = torch.cholesky_solve(gradient[..., None], torch.linalg.cholesky(curvature()))[..., 0]
        mode = mode + step.clamp(-1, 1)
    return mode, torch.cholesky_inverse(torch.linalg.cholesky(curvature()))


def _base_rates(examples: Examples, click: Floats, counted: NDArray[np.bool_], positions: int) -> NDArray[np.float64]:
    """[n] share of clicks at each impression's place in the list, smoothed towards the overall share."""
    place = position_index(examples.position, positions)
    trials = np.bincount(place[counted], minlength=positions + 1)
    hits = np.bincount(place[counted], weights=click[counted], minlength=positions + 1)
    overall = hits.sum() / max(1, trials.sum())
    return ((hits + 100 * overall) / (trials + 100))[place]


def _extra_distance(vectors: Floats, centroids: Floats) -> Floats:
    """[n, K] squared distance to each centroid, minus that to the nearest."""
    squared = (vectors**2).sum(1)[:, None] - 2 * vectors @ centroids.T + (centroids**2).sum(1)
    return squared - squared.min(1, keepdims=True)
