"""Off-policy values: the click rate that another policy would have.

They are read from lists that were logged with their propensities.

Self-normalised inverse propensity scores (Swaminathan and Joachims 2015, "The self-normalized estimator for counterfactual
learning"): with w = 1 / p the value of a policy is Σ w·reward / Σ w over what it would have chosen too. Its effective sample
size is (Σ w)² / Σ w² (Kish 1965): so many equal weights would say as much. Intervals are clustered by user.

Two policies are read:

- serving one release to all users, from the lists that it made: p is the share of users whom it served (`release_values`);
- showing the rooms that a release scores highest, from lists that explore: p is the probability that the room was in the list
  (`selection_values`). Weighted so, every candidate counts once, shown or not. Without exploration nothing can be said about
  the rooms that were not shown, and there is no such value.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.evaluation.sequential import ratio_of

SELECTED = 0.1  # share of the candidates that the policy of `selection_value` shows
_WIDTH = 1.96  # standard errors of a 95 % interval

Floats = NDArray[np.float64]


class OffPolicyValue(NamedTuple):
    """The mean reward under another policy."""

    value: float  # NaN if nothing was chosen
    low: float  # 95 %, clustered by user; NaN with fewer than two users
    high: float
    effective: float  # sample size
    rows: int  # that the policy has chosen too


def snips(reward: NDArray, weight: NDArray, user: NDArray) -> OffPolicyValue:
    """The self-normalised value of rows [n].

    Args:
        weight: inverse propensities. reward: NaN where it is not known; such rows are left out.
    """
    known = np.isfinite(np.asarray(reward, np.float64))
    reward, weight = np.asarray(reward, np.float64)[known], np.asarray(weight, np.float64)[known]
    if not len(reward):
        return OffPolicyValue(np.nan, np.nan, np.nan, 0.0, 0)
    _, person = np.unique(np.asarray(user)[known], return_inverse=True)
    ratio = ratio_of(np.bincount(person, weight * reward), np.bincount(person, weight))
    half = _WIDTH * float(np.sqrt(ratio.variance))
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    return OffPolicyValue(ratio.mean, ratio.mean - half, ratio.mean + half, effective, len(reward))


def release_values(release: NDArray, reward: NDArray, share: NDArray, user: NDArray) -> dict[str, OffPolicyValue]:
    """The click rate of each release if it served all users.

    Args:
        release, reward, share, user: [n] of the impressions; `share` is that of the arm of their list.
    """
    return {
        str(name): snips(reward[release == name], 1 / share[release == name], user[release == name])
        for name in np.unique(release)
    }


def selection_values(
    scores: Mapping[str, NDArray], reward: NDArray, propensity: NDArray, user: NDArray
) -> dict[str, OffPolicyValue]:
    """The click rate of the candidates that each release scores highest.

    Empty where no list has explored.

    Args:
        scores: by release or variant [n]. reward, user: [n] of the impressions.
        propensity: [n] that the room is in its list; NaN where it was not logged.
    """
    usable = np.isfinite(propensity) & np.isfinite(np.asarray(reward, np.float64))
    if not (usable & (propensity < 1)).any():
        return {}
    weight, clicked, users = 1 / propensity[usable], np.asarray(reward, np.float64)[usable], user[usable]
    values = {"all candidates": snips(clicked, weight, users)}
    for name, score in scores.items():
        chosen = _highest(score[usable], weight)
        values[name] = snips(clicked[chosen], weight[chosen], users[chosen])
    return values


def _highest(score: NDArray, weight: Floats) -> NDArray[np.bool_]:
    """The rows of the SELECTED share of the weight with the highest scores; equal scores are chosen together."""
    order = np.argsort(-score, kind="stable")
    above = np.cumsum(weight[order])
    last = int(np.searchsorted(above, SELECTED * above[-1]))
    return np.asarray(score >= score[order[min(last, len(order) - 1)]])
