"""Measures of vectors: how well windows find their broadcast and author; the category."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import recall_score
from sklearn.model_selection import GroupKFold

from livealign.tuning.comparison_sample import ComparisonSample
from livealign.tuning.losses import whitening

FOLDS = 5
RIDGE = 10.0
ROUNDING = 1e-5  # cosines closer than this are equal
Found = NDArray[np.float64]


@dataclass(frozen=True)
class Measures:
    """Quality of one kind of vectors on a sample; arrays have a row for each author."""

    half_to_half: Found  # [authors] mean reciprocal rank of the second half's windows
    next_day: Found  # [authors] mean reciprocal rank of the author's next day; NaN where only one day was chosen
    category: float | None  # accuracy, the mean over categories; None where fewer than two can be tried

    @property
    def score(self) -> Found:
        """The score that ranks candidates [authors]: the mean of the retrievals that there are."""
        return np.where(np.isnan(self.next_day), self.half_to_half, (self.half_to_half + self.next_day) / 2)

    def means(self) -> dict[str, float | None]:
        """The mean of each measure, and the standard error of the score; None is not measured."""
        next_day = self.next_day[np.isfinite(self.next_day)]
        return {
            "half_to_half": float(self.half_to_half.mean()),
            "next_day": float(next_day.mean()) if len(next_day) else None,
            "mean": float(self.score.mean()),
            "standard_error": float(self.score.std(ddof=1) / np.sqrt(len(self.score))) if len(self.score) > 1 else None,
            "category": self.category,
        }


@dataclass(frozen=True)
class Chance:
    """The measures that vectors without any content reach on a sample."""

    half_to_half: float
    next_day: float | None
    category: float | None


def whitened(vectors: NDArray[np.float32], floor: float) -> NDArray[np.float64]:
    """Vectors [n, hidden] of a language model as the tuning's loss compares them.

    In the raw ones a few dimensions outweigh the rest.
    """
    matrix = torch.from_numpy(vectors).double()
    white: NDArray[np.float64] = ((matrix - matrix.mean(dim=0)) @ whitening(matrix, floor)).numpy()
    return white


def measure(vectors: NDArray[np.floating], sample: ComparisonSample) -> Measures:
    """Measure the vectors [n, width] of a sample's texts, by cosine."""
    exact = vectors.astype(np.float64)
    unit = exact / np.linalg.norm(exact, axis=1, keepdims=True).clip(1e-12)
    authors = np.unique(sample.author)
    first, second = ~sample.second_half, sample.second_half
    earlier, later = sample.day == 0, sample.day == 1
    halves = reciprocal_ranks(unit[first], unit[second], sample.room[first], sample.room[second])
    days = reciprocal_ranks(unit[earlier], unit[later], sample.author[earlier], sample.author[later])
    return Measures(
        _mean_by(sample.author[first], halves, authors),
        _mean_by(sample.author[earlier], days, authors),
        _category_accuracy(exact, sample),
    )


def chance_of(sample: ComparisonSample) -> Chance:
    """The expected value of each measure for a random order or a random class."""
    per_room = int(sample.second_half.sum()) // sample.broadcasts
    later = sample.day == 1
    per_author = int(later.sum()) // max(1, len(np.unique(sample.author[later])))
    kept = _probed(sample)
    return Chance(
        expected_reciprocal_rank(int(sample.second_half.sum()), per_room),
        expected_reciprocal_rank(int(later.sum()), per_author) if later.any() else None,
        1.0 / len(set(np.array(sample.category)[kept].tolist())) if kept.any() else None,
    )


def reciprocal_ranks(queries: NDArray, candidates: NDArray, of_query: NDArray, of_candidate: NDArray) -> Found:
    """1 / rank of each query's best candidate with its key, by cosine; equal ones count half.

    Args:
        queries, candidates: unit vectors [q, d] and [c, d]; each query's key is among the candidates'.
        of_query, of_candidate: keys, [q] and [c].
    """
    if not len(queries):
        return np.zeros(0)
    cosine = queries @ candidates.T
    same = of_query[:, None] == of_candidate
    best = np.where(same, cosine, -np.inf).max(axis=1, keepdims=True)
    others = np.where(same, -np.inf, cosine)
    nearer, equal = others > best + ROUNDING, np.abs(others - best) <= ROUNDING
    return np.asarray(1.0 / (1.0 + nearer.sum(axis=1) + 0.5 * equal.sum(axis=1)), np.float64)


def expected_reciprocal_rank(candidates: int, relevant: int) -> float:
    """Mean of 1 / rank of the first of `relevant` among `candidates` in random order."""
    total, none_before = 0.0, 1.0
    for rank in range(1, candidates - relevant + 2):
        left = candidates - rank + 1
        total += none_before * relevant / left / rank
        none_before *= 1.0 - relevant / left
    return total


def _mean_by(keys: NDArray, values: Found, wanted: NDArray) -> Found:
    """[wanted] mean of the values of each wanted key; NaN without a value."""
    rows = np.searchsorted(wanted, keys)
    count = np.bincount(rows, minlength=len(wanted))
    return np.where(count > 0, np.bincount(rows, values, len(wanted)) / np.maximum(count, 1), np.nan)


def _probed(sample: ComparisonSample) -> NDArray[np.bool_]:
    """[n] windows whose category is that of at least two authors; none if only one category is."""
    category = np.array(sample.category, dtype=object)
    known = {one for one in set(sample.category) - {""} if len(np.unique(sample.author[category == one])) >= 2}
    return np.isin(category, sorted(known)) if len(known) >= 2 else np.zeros(len(category), bool)


def _category_accuracy(vectors: NDArray, sample: ComparisonSample) -> float | None:
    """Accuracy of a ridge probe, the mean over categories.

    It is cross-validated by author, so by broadcast too: an author keeps a category, and who speaks is not what is asked.
    """
    kept = _probed(sample)
    if not kept.any():
        return None
    rows, truth, author = vectors[kept], np.array(sample.category)[kept], sample.author[kept]
    said = np.empty_like(truth)
    for train, test in GroupKFold(min(FOLDS, len(np.unique(author)))).split(rows, truth, author):
        if len(np.unique(truth[train])) < 2:
            said[test] = truth[train][0]
            continue
        said[test] = RidgeClassifier(alpha=RIDGE, class_weight="balanced").fit(rows[train], truth[train]).predict(rows[test])
    return float(recall_score(truth, said, average="macro", labels=np.unique(truth), zero_division=0.0))
