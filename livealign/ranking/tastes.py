"""What each user likes among the semantic codes: their own click rates, held by a prior that all users share.

A room-moment belongs to every code of the first level a little, by how near its aligned vector lies to the centroids: its
affinities a [K]. Let e_uc be the clicks to expect of what user u was shown of code c if everybody clicked alike, and k_uc
the clicks there were. Then (a Poisson-lognormal model: Aitchison and Ho, Biometrika 1989)

    k_uc ~ Poisson(e_uc exp(t_uc)),   t_u ~ N(m, S)   and the room's score for u is   log Σ_c a_c E[exp(t_uc)]

m and S are fitted to all users by EM with a Laplace approximation (empirical Bayes). S knows which codes are liked together,
so that one click speaks for its kin, and a user of few impressions stays near the mean.

Tastes change, now and then, and at once. A day that a user's own tastes explain worse than everybody's do tells that what was
counted before it is of another taste: those counts lose the share that such a change is probable (Bayesian online changepoint
detection, Adams and MacKay 2007, with one run length kept for each user).
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
_FIRST_ROUNDS, _ROUNDS = 12, 6  # of EM from nothing, and from the day before
_NEWTON_STEPS = 3  # in each round
_USERS = 8_192  # at a time
_CHANGES_A_DAY = 0.01  # share of users whose taste is another one than the day before, before anything is known of the day


@dataclass(frozen=True)
class Affinity:
    """How much a room-moment belongs to each code of the first level. Without vectors it is its code and no other."""

    centroids: Floats  # [K, dim]; dim 0: there are no vectors
    width: float  # the usual size of extra squared distances

    @classmethod
    def of(cls, codes_per_level: int, codes: NDArray[np.integer], vectors: Floats | None) -> "Affinity":
        """From item rows: codes [n, levels] of a codebook of `codes_per_level`, and their vectors [n, dim]."""
        if vectors is None:
            return cls(np.zeros((codes_per_level, 0), dtype=np.float32), 1.0)
        counts = np.bincount(codes[:, 0], minlength=codes_per_level)
        sums = np.zeros((codes_per_level, vectors.shape[1]))
        np.add.at(sums, codes[:, 0], vectors)
        centroids = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
        centroids[counts == 0] = 1e3  # a dead code: nothing is near it
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
    """The tastes of all users of a vocabulary; row 0 is a user who was never seen."""

    affinity: Affinity
    log_rates: Floats  # [users, K] log E[exp(t)]

    def scores(self, user: NDArray[np.int64], weights: Floats) -> Floats:
        """[n] log of how much likelier than usual user [n] clicks on a room of these affinities [n, K]."""
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
    """Tastes from all `examples`, and the score of each of them [n] by the days before its own alone.

    A click counts from the midnight after it could be known, so that a score never has the future in it, and is made
    as the released one will be: in the morning.

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
        holds = state.holds(new_expected, new_clicked)[:, None]
        expected, clicked = holds * expected + new_expected, holds * clicked + new_clicked
        state = state.fitted(expected, clicked)
    return Tastes(affinity, state.log_rates()), scores


class _State(NamedTuple):
    """Where the fit stands after a day: the prior, and mode and variance of each known user's tastes."""

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

    def holds(self, expected: Tensor, clicked: Tensor) -> Tensor:
        """[users − 1] how probable it is that each user's tastes are still those, by the counts [users − 1, K] of a new day."""
        if self.prior is None:
            return torch.ones_like(self.mode[:, 0])
        log_rates = torch.from_numpy(self.log_rates()).to(expected)
        everybodys, own = (
            (clicked * rates - expected * rates.exp()).sum(1) for rates in (log_rates[:1].expand_as(expected), log_rates[1:])
        )
        return torch.sigmoid(own - everybodys - math.log(_CHANGES_A_DAY / (1 - _CHANGES_A_DAY)))

    def fitted(self, expected: Tensor, clicked: Tensor) -> "_State":
        """EM from here, to the counts [users − 1, K] so far; rounds enough to follow one more day."""
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
    """Newton's steps towards the mode of each user's tastes [u, K], and the covariance there [u, K, K] (Laplace)."""

    def curvature() -> Tensor:
        return precision + torch.diag_embed(expected * mode.clamp(-6, 4).exp())

    for _ in range(_NEWTON_STEPS):
        gradient = clicked - expected * mode.clamp(-6, 4).exp() - (mode - mean) @ precision
        step = torch.cholesky_solve(gradient[..., None], torch.linalg.cholesky(curvature()))[..., 0]
        mode = mode + step.clamp(-1, 1)
    return mode, torch.cholesky_inverse(torch.linalg.cholesky(curvature()))


def _base_rates(examples: Examples, click: Floats, counted: NDArray[np.bool_], positions: int) -> NDArray[np.float64]:
    """[n] the share of clicks at each impression's place in the list, smoothed towards the share overall."""
    place = position_index(examples.position, positions)
    trials = np.bincount(place[counted], minlength=positions + 1)
    hits = np.bincount(place[counted], weights=click[counted], minlength=positions + 1)
    overall = hits.sum() / max(1, trials.sum())
    return ((hits + 100 * overall) / (trials + 100))[place]


def _extra_distance(vectors: Floats, centroids: Floats) -> Floats:
    """[n, K] squared distance to each centroid beyond that to the nearest."""
    squared = (vectors**2).sum(1)[:, None] - 2 * vectors @ centroids.T + (centroids**2).sum(1)
    return squared - squared.min(1, keepdims=True)
