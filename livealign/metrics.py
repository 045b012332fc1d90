"""Ranking metrics on NumPy arrays, vectorised over users and lists.

Rows whose label is NaN (not observed before the horizon) are left out everywhere; a score that is not finite is an error.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livealign.errors import LiveAlignError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class MetricError(LiveAlignError):
    """Scores and labels do not fit together, or a score is not finite."""


class UserAuc(NamedTuple):
    """Each user's AUC and counts, for GAUC and UAUC; arrays [n_users], sorted by user."""

    users: NDArray
    auc: FloatArray  # NaN for users with one class only
    impressions: IntArray
    positives: IntArray

    @property
    def evaluable(self) -> NDArray[np.bool_]:
        """Users with both a positive and a negative, on the same day where days are told apart."""
        return np.isfinite(self.auc)

    @property
    def dropped(self) -> int:
        """Users left out of UAUC and GAUC because they have one class only."""
        return int((~self.evaluable).sum())


class Interval(NamedTuple):
    """A difference and its bootstrap percentile interval."""

    difference: float
    low: float
    high: float
    n_users: int  # users that both sides could be measured on


class ListMetrics(NamedTuple):
    """Means over lists with at least one relevant item."""

    ndcg: float
    recall: float
    hit_rate: float
    mrr: float
    n_lists: int
    n_lists_dropped: int  # without a relevant item


def auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the ROC curve of all rows together, ties counted half; NaN with one class.

    Mann-Whitney form: AUC = (Σ midranks of positives − P(P+1)/2) / (P·N)  (Hanley & McNeil 1982).
    """
    score, label = observed(scores, labels)
    return float(_group_auc(score, label, np.zeros(len(score), np.int64), 1)[0][0]) if len(score) else float("nan")


def user_auc(scores: ArrayLike, labels: ArrayLike, users: ArrayLike, days: ArrayLike | None = None) -> UserAuc:
    """AUC within each user, ties counted half.

    Args:
        scores, labels, users: [n]. One sort serves all users.
        days: [n] day of each row. The scores of each day come from other models, so a user's rows are ranked within a day:
            AUC_u = Σ_d n_ud · AUC_ud / Σ_d n_ud over the days with both classes, and only their rows are counted.
    """
    score, label, user, day = observed(scores, labels, users, np.zeros(np.shape(scores)) if days is None else days)
    names, index = np.unique(user, return_inverse=True)
    distinct, day_index = np.unique(day, return_inverse=True)
    if len(distinct) <= 1:
        values, impressions, positives = _group_auc(score, label, index, len(names))
        return UserAuc(names, values, impressions, positives)
    cells, cell = np.unique(index * len(distinct) + day_index, return_inverse=True)
    values, rows, positives = _group_auc(score, label, cell, len(cells))
    return _over_days(names, cells // len(distinct), values, rows, positives)


def _over_days(names: NDArray, owner: IntArray, values: FloatArray, rows: IntArray, positives: IntArray) -> UserAuc:
    """The days of each user as one; a user without a day of both classes keeps all rows.

    Args:
        owner, values, rows, positives: [user-days] place in `names`, AUC, rows and positives of a user's day.
    """
    n, both = len(names), np.isfinite(values)
    judged = np.bincount(owner[both], minlength=n) > 0
    counted = both | ~judged[owner]
    impressions, clicks = (
        np.bincount(owner[counted], counts[counted], minlength=n).astype(np.int64) for counts in (rows, positives)
    )
    total = np.bincount(owner[both], rows[both] * values[both], minlength=n)
    return UserAuc(names, np.where(judged, total / np.maximum(impressions, 1), np.nan), impressions, clicks)


def uauc(per_user: UserAuc) -> float:
    """UAUC = (1/|U|) Σ_u AUC_u over users U with both classes; NaN if there are none."""
    return float(per_user.auc[per_user.evaluable].mean()) if per_user.evaluable.any() else float("nan")


def gauc(per_user: UserAuc) -> float:
    """GAUC = Σ_u n_u · AUC_u / Σ_u n_u over users with both classes; NaN if there are none.

    n_u is the number of impressions of user u (Zhou et al. 2018, DIN, eq. 7).
    """
    keep = per_user.evaluable
    return float(np.average(per_user.auc[keep], weights=per_user.impressions[keep])) if keep.any() else float("nan")


def paired_bootstrap(
    challenger: FloatArray, baseline: FloatArray, weights: ArrayLike, samples: int, seed: int, confidence: float = 0.95
) -> Interval:
    """Difference in GAUC (challenger − baseline) with a bootstrap percentile interval.

    Users are resampled with replacement. Both sides are measured on the same drawn users, so what users share cancels out
    (Efron & Tibshirani 1993, ch. 13).

    Args:
        challenger, baseline: AUC per user [n_users], same users in the same order; NaN where a user has one class.
        weights: impressions per user [n_users] (ones give the difference in UAUC).
        samples: bootstrap draws. seed: of the draws. confidence: two-sided, 0.95 → percentiles 2.5 and 97.5.
    """
    a, b, weight = np.asarray(challenger, np.float64), np.asarray(baseline, np.float64), np.asarray(weights, np.float64)
    if not a.shape == b.shape == weight.shape:
        raise MetricError(f"paired bootstrap needs the same users on both sides, got {a.shape}, {b.shape}, {weight.shape}")
    keep = np.isfinite(a) & np.isfinite(b) & (weight > 0)
    weight, gain = weight[keep], (weight * (a - b))[keep]
    n_users = len(weight)
    if n_users == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    rng = np.random.default_rng(seed)
    drawn = np.empty(samples)
    for sample in range(samples):  # per draw, not per user: memory stays at one row however many users there are
        times = np.bincount(rng.integers(0, n_users, n_users), minlength=n_users)
        drawn[sample] = times @ gain / (times @ weight)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(gain.sum() / weight.sum()), float(low), float(high), n_users)


def gauc_interval(per_user: UserAuc, samples: int, seed: int, confidence: float = 0.95) -> Interval:
    """GAUC with its interval, by `paired_bootstrap` against an AUC of zero."""
    return paired_bootstrap(per_user.auc, np.zeros(len(per_user.auc)), per_user.impressions, samples, seed, confidence)


def permutation_test(challenger: FloatArray, baseline: FloatArray, weights: ArrayLike, samples: int, seed: int) -> float:
    """One-sided p-value that the challenger ranks better than the baseline.

    It is the share of random sign flips whose gain is at least as large.
    Under the null a user's two AUCs could as well be swapped, so each user's weighted difference keeps or changes its sign at
    random (Fisher's randomisation test). At least 1 / (samples + 1); NaN if no user has both classes.

    Args:
        challenger, baseline, weights: per user [n_users], as in `paired_bootstrap`.
    """
    gain = np.asarray(weights, np.float64) * (np.asarray(challenger, np.float64) - np.asarray(baseline, np.float64))
    gain = gain[np.isfinite(gain)]
    if not len(gain):
        return float("nan")
    rng = np.random.default_rng(seed)
    as_good = sum(bool(rng.choice((-1.0, 1.0), len(gain)) @ gain >= gain.sum()) for _ in range(samples))
    return (as_good + 1) / (samples + 1)


def list_metrics(scores: ArrayLike, labels: ArrayLike, lists: ArrayLike, k: int) -> ListMetrics:
    """NDCG@k, Recall@k, HR@k and MRR, each the mean over lists with a relevant item.

    Relevant is a label above 0.
    NDCG@k = Σ_{i≤k} y_i / log2(i+1) over the same sum of the ideal order (Järvelin & Kekäläinen 2002, gain = label).
    Recall@k = relevant in the top k / relevant in the list. HR@k = 1 if any relevant is in the top k. MRR = 1 / rank of
    the first relevant, over the whole list (Voorhees 1999).
    Ties: NDCG and Recall take the mean over all orders of the tied items (McSherry & Najork 2008); in HR and MRR tied items
    that are not relevant come first. So a constant score earns no more than chance.

    Args:
        scores, labels, lists: [n]; `lists` says which list (request, user, user-day) a row belongs to.
    """
    score, label, list_ = observed(scores, labels, lists)
    index = np.unique(list_, return_inverse=True)[1]
    if len(score) == 0:
        return ListMetrics(float("nan"), float("nan"), float("nan"), float("nan"), 0, 0)
    n_lists = int(index.max() + 1)
    relevant = np.bincount(index, label > 0, n_lists)
    keep = relevant > 0
    if not keep.any():
        return ListMetrics(float("nan"), float("nan"), float("nan"), float("nan"), 0, n_lists)

    start, end, order = _tied_positions(-score, index, n_lists)
    index, label = index[order], label[order]
    hit = label > 0
    size = np.bincount(index).max()
    discount = np.where(np.arange(size) < k, 1 / np.log2(np.arange(size) + 2), 0.0)
    summed = np.concatenate([[0.0], np.cumsum(discount)])
    gain = np.bincount(index, label * (summed[end] - summed[start]) / (end - start), n_lists)

    ideal_start, _, ideal_order = _tied_positions(-label, index, n_lists)
    position = ideal_start + _rank_among_equals(ideal_start, index[ideal_order])
    ideal = np.bincount(index[ideal_order], label[ideal_order] * discount[position], n_lists)

    found = np.bincount(index, hit * (np.minimum(end, k) - np.minimum(start, k)) / (end - start), n_lists)
    # Rank of the best relevant item, tied irrelevant ones first: positions above its ties + irrelevant ties + 1.
    tie = np.cumsum((np.diff(index, prepend=-1) != 0) | (np.diff(start, prepend=-1) != 0)) - 1
    irrelevant_ties = np.bincount(tie, ~hit)[tie]
    rank = np.full(n_lists, np.inf)
    np.minimum.at(rank, index[hit], (start + irrelevant_ties + 1)[hit])
    return ListMetrics(
        ndcg=float((gain[keep] / ideal[keep]).mean()),
        recall=float((found[keep] / relevant[keep]).mean()),
        hit_rate=float((rank[keep] <= k).mean()),
        mrr=float((1 / rank[keep]).mean()),
        n_lists=int(keep.sum()),
        n_lists_dropped=int((~keep).sum()),
    )


def observed(scores: ArrayLike, labels: ArrayLike, *others: ArrayLike) -> tuple[NDArray, ...]:
    """Scores and labels as float64, and the other arrays, of the rows whose label was observed.

    The label of a row that was not observed is NaN.

    Raises:
        MetricError: lengths differ, or a score is not finite.
    """
    score, label = np.asarray(scores, np.float64), np.asarray(labels, np.float64)
    arrays = (score, label, *(np.asarray(other) for other in others))
    if any(array.shape != (len(score),) for array in arrays):
        raise MetricError(f"scores, labels and groups must have one value per row, got {[array.shape for array in arrays]}")
    seen = ~np.isnan(label)
    if not np.isfinite(score[seen]).all():
        bad = int((~np.isfinite(score[seen])).sum())
        raise MetricError(f"{bad} of {len(score)} scores are not finite; the model that made them has diverged")
    return tuple(array[seen] for array in arrays)


def _group_auc(score: FloatArray, label: FloatArray, group: IntArray, n: int) -> tuple[FloatArray, IntArray, IntArray]:
    """AUC, rows and positives of each group 0..n-1."""
    start, end, order = _tied_positions(score, group, n)
    positive = label[order] > 0
    midrank = (start + end + 1) / 2  # 1-based mean rank of the tied rows
    rows = np.bincount(group, minlength=n).astype(np.int64)
    positives = np.bincount(group[order], positive, n).astype(np.int64)
    rank_sum = np.bincount(group[order], midrank * positive, n)
    pairs = positives * (rows - positives)
    values = np.full(n, np.nan)
    np.divide(rank_sum - positives * (positives + 1) / 2, pairs, out=values, where=pairs > 0)
    return values, rows, positives


def _tied_positions(key: FloatArray, group: IntArray, n: int) -> tuple[IntArray, IntArray, IntArray]:
    """Sort by group, then key; for each sorted row the half-open span [start, end) of positions its ties share in its group.

    Returns:
        start, end: [n_rows], 0-based within the group. order: [n_rows], the sort.
    """
    order = np.lexsort((key, group))
    sorted_key, sorted_group = key[order], group[order]
    first = np.ones(len(order), bool)
    first[1:] = (sorted_key[1:] != sorted_key[:-1]) | (sorted_group[1:] != sorted_group[:-1])
    begins = np.flatnonzero(first)
    tie = np.cumsum(first) - 1
    offset = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=n))])[sorted_group]
    return begins[tie] - offset, np.append(begins[1:], len(order))[tie] - offset, order


def _rank_among_equals(start: IntArray, group: IntArray) -> IntArray:
    """0, 1, 2, … within each run of rows of one group that share `start`."""
    first = np.ones(len(start), bool)
    first[1:] = (start[1:] != start[:-1]) | (group[1:] != group[:-1])
    begins = np.flatnonzero(first)
    return np.arange(len(start)) - begins[np.cumsum(first) - 1]
