"""Calibration metrics: how well predicted probabilities agree with what happened.

Rows whose label is NaN (not observed before the horizon) are left out everywhere.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livealign.metrics import FloatArray, IntArray, MetricError, observed


class Reliability(NamedTuple):
    """Calibration curve: [n_bins] each, bins of equal count, in order of predicted probability."""

    predicted: FloatArray
    observed: FloatArray
    rows: IntArray


def normalised_entropy(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Normalised entropy: log loss over the entropy of the base rate; below 1 is better.

    NE = −(1/n) Σ [y ln p + (1−y) ln(1−p)] / H(base rate) (He et al. 2014, eq. 3).
    Probabilities are clipped to [1e-7, 1 − 1e-7]. NaN with one class, where the entropy of the base rate is zero.
    """
    p, label = observed(probabilities, labels)
    _check_probabilities(p)
    rate = label.mean() if len(label) else float("nan")
    if not 0 < rate < 1:
        return float("nan")
    p = np.clip(p, 1e-7, 1 - 1e-7)
    log_loss = -(label * np.log(p) + (1 - label) * np.log1p(-p)).mean()
    return float(log_loss / -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate)))


def reliability(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> Reliability:
    """Mean predicted and observed rate in `bins` bins of equal count.

    Equal count, because click probabilities crowd near zero and bins of equal width would leave most empty (Nixon et al. 2019).
    """
    p, label = observed(probabilities, labels)
    _check_probabilities(p)
    order = np.argsort(p, kind="stable")
    edges = _bin_edges(len(p), bins)
    count = np.diff(edges)
    if len(p) == 0:
        return Reliability(np.empty(0), np.empty(0), np.empty(0, np.int64))
    return Reliability(np.add.reduceat(p[order], edges[:-1]) / count, np.add.reduceat(label[order], edges[:-1]) / count, count)


def _bin_edges(n: int, bins: int) -> NDArray[np.int64]:
    """The edges of bins of equal count among n sorted rows [bins + 1]."""
    return np.linspace(0, n, min(bins, max(n, 1)) + 1).astype(np.int64)


def ece(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error: Σ_b (n_b / n) |observed_b − predicted_b|.

    Bins are those of `reliability` (Naeini et al. 2015).
    """
    curve = reliability(probabilities, labels, bins)
    if curve.rows.sum() == 0:
        return float("nan")
    return float(np.average(np.abs(curve.observed - curve.predicted), weights=curve.rows))


def ece_beyond_chance(probabilities: ArrayLike, labels: ArrayLike, clusters: ArrayLike, bins: int = 15) -> float:
    """The part of `ece` that chance between clusters does not explain.

    Σ_b max(0, |r_b| − 2 s_b) / n, with r_b the sum of label − probability in bin b and s_b² = Σ_c r_bc², its variance if
    clusters (broadcasts) err independently of each other. A few broadcasts that happened to be liked prove no fault.

    Args:
        probabilities, labels, clusters: [n].
    """
    p, label, cluster = observed(probabilities, labels, clusters)
    _check_probabilities(p)
    if len(p) == 0:
        return float("nan")
    order = np.argsort(p, kind="stable")
    edges = _bin_edges(len(p), bins)
    of_bin = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
    cell = np.unique(np.stack([of_bin, np.unique(cluster, return_inverse=True)[1][order]], 1), axis=0, return_inverse=True)
    of_cell = np.bincount(cell[1].reshape(-1), (label - p)[order])
    summed = np.bincount(cell[0][:, 0], of_cell)
    chance = np.sqrt(np.bincount(cell[0][:, 0], of_cell**2))
    return float(np.maximum(0.0, np.abs(summed) - 2 * chance).sum() / len(p))


def _check_probabilities(p: FloatArray) -> None:
    if len(p) and not (p.min() >= 0 and p.max() <= 1):
        raise MetricError(f"probabilities must lie in [0, 1], got {p.min():.3g} to {p.max():.3g}; pass them through a sigmoid")
