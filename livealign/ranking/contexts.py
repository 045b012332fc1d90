"""The rooms that an hour, a language and a country prefer, for users without a history.

    contexts = learn_contexts(columns, click, user, day)
    contexts.log_odds(Context("20", "en", ""), codes, languages)    # [n], one a room

For each value of a field and each property of a room (first code, language) the clicks C of the training days are compared
with those E that the click rates of the value and of the property give. The value adds log(1 + (C − E) / (E v / τ² + 1 / τ²)),
a smoothed ratio of rates; a value that was not seen adds nothing. Fields add up, so a context which no user had falls back to
the parts of it that some had, and at last to the whole.

τ² is how much of (C − E) / E repeats: the covariance of two halves of the impressions that share no user and no day. v is how
much it varies in all, beyond the noise 1 / E of clicks. Where they are equal this is gamma-Poisson smoothing (Clayton & Kaldor
1987). What single users or a single day prefer makes v large and not τ², and counts for little. Without a positive τ² the
field adds nothing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.dataset.contexts import ContextColumns, Names, context_columns
from livealign.dataset.corpus import Corpus
from livealign.days import DAY_MS
from livealign.errors import BundleError
from livealign.files import json_bytes, read_json

FORMAT = 1
FIELDS, PROPERTIES = ("hour", "language", "country"), ("code", "language")
_MOST_VALUES = 200  # of a field or property; rarer ones are unknown

Floats = NDArray[np.float64]
Table = Mapping[str, Mapping[str, float]]  # value of the field → property of the room → log-odds


class Context(NamedTuple):
    """Where and when a list is asked for; case-folded, "" where it is not known."""

    hour: str = ""  # of the day, UTC
    language: str = ""
    country: str = ""


UNKNOWN = Context()


class Contexts(NamedTuple):
    """The log-odds of a release, by field and property; empty where it has learned none."""

    tables: Mapping[str, Mapping[str, Table]] = {}

    def log_odds(self, context: Context, codes: NDArray[np.integer], languages: Sequence[str]) -> Floats:
        """[n] what the context adds to the log-odds of a click on rooms.

        Args:
            codes: [n] first codes; languages: [n] case-folded.
        """
        found = np.zeros(len(codes))
        for name, keys in zip(PROPERTIES, ([str(code) for code in codes.tolist()], languages), strict=True):
            parts = [self.tables.get(field, {}).get(name, {}).get(value, {}) for field, value in context._asdict().items()]
            parts = [part for part in parts if part]
            if parts:
                found += np.array([sum(part.get(key, 0.0) for part in parts) for key in keys])
        return found

    def to_bytes(self) -> bytes:
        """The document that `read_contexts` reads."""
        return json_bytes({"log_odds": self.tables}, FORMAT)


def read_contexts(path: Path) -> Contexts:
    """The document that `Contexts.to_bytes` made.

    Raises:
        BundleError: it is damaged, or of a newer version.
    """
    tables = read_json(path, "build the release again", FORMAT, BundleError)
    try:
        return Contexts(
            {
                field: {
                    name: {value: {key: float(odds) for key, odds in row.items()} for value, row in table.items()}
                    for name, table in tables["log_odds"][field].items()
                }
                for field in tables["log_odds"]
            }
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BundleError(f"{path} holds no contexts ({error!r}); build the release again") from error


def contexts_of(corpus: Corpus, codes: NDArray[np.integer], marts: Path) -> Contexts:
    """The contexts of a corpus' training days; `codes`: [items, levels]."""
    shown = corpus.train
    columns = context_columns(corpus, shown, codes, marts)
    return learn_contexts(columns, shown.label("click"), shown.user, shown.shown_at // DAY_MS)


def learn_contexts(columns: ContextColumns, click: NDArray[np.floating], user: NDArray, day: NDArray) -> Contexts:
    """The log-odds of n training impressions.

    Args:
        click: [n] 1, 0, or NaN where it is not known. user, day: [n] numbers, from which the halves are drawn.
    """
    quarter = 2 * (user % 2) + day % 2
    of_context, of_room = columns[: len(FIELDS)], columns[len(FIELDS) :]
    return Contexts(
        {
            field: {
                name: table
                for name, keys in zip(PROPERTIES, of_room, strict=True)
                if (table := _table(values, keys, np.asarray(click, dtype=np.float64), quarter))
            }
            for field, values in zip(FIELDS, of_context, strict=True)
        }
    )


def _table(values: Names, keys: Names, click: Floats, quarter: NDArray) -> dict[str, dict[str, float]]:
    """The log-odds of one field and property; empty if contexts do not differ."""
    value, value_names = _numbered(values)
    key, key_names = _numbered(keys)
    known = (value >= 0) & (key >= 0) & ~np.isnan(click)
    if not click[known].any():
        return {}
    value, key, click, quarter = value[known], key[known], click[known], quarter[known]
    shape = (4, len(value_names), len(key_names))
    cell = np.ravel_multi_index((quarter, value, key), shape)
    counts = (np.bincount(cell, weights, minlength=np.prod(shape)).reshape(shape) for weights in (None, click))
    shown, clicked = (count.astype(np.float64) for count in counts)
    # Rates are of each quarter for itself: what a whole day or a group of users prefers is no matter of contexts.
    of_value, of_key, of_all = (_rate(clicked, shown, rest) for rest in (2, 1, (1, 2)))
    expected = shown * of_value * of_key / np.maximum(of_all, 1e-12)
    excess = clicked - expected
    halves = ((0, 3), (1, 2))  # neither a user nor a day is in both
    together = sum(float((excess[one] * excess[other]).sum()) for one, other in halves)
    scale = sum(float((expected[one] * expected[other]).sum()) for one, other in halves)
    if together <= 0 or scale <= 0:
        return {}
    repeated, excess, expected = together / scale, excess.sum(0), expected.sum(0)
    varied = max(repeated, float((np.square(excess).sum() - expected.sum()) / np.square(expected).sum()))
    log_odds = np.log1p(repeated * excess / (varied * expected + 1)).round(3)
    return {
        name: {key: odds for key, odds in zip(key_names, row, strict=True) if odds}
        for name, row in zip(value_names, log_odds.tolist(), strict=True)
    }


def _rate(clicked: Floats, shown: Floats, over: int | tuple[int, ...]) -> Floats:
    """Click rates, summed over some dimensions, which stay as 1."""
    rate: Floats = clicked.sum(over, keepdims=True) / np.maximum(shown.sum(over, keepdims=True), 1)
    return rate


def _numbered(names: Names) -> tuple[NDArray[np.int64], list[str]]:
    """(number of each name, names); −1 for an unknown or a rare name."""
    distinct, index, counts = np.unique(names.astype(str), return_inverse=True, return_counts=True)
    kept = np.argsort(-counts, kind="stable")[: _MOST_VALUES + 1]
    kept = np.sort(kept[distinct[kept] != ""][:_MOST_VALUES])
    number = np.full(len(distinct), -1, dtype=np.int64)
    number[kept] = np.arange(len(kept))
    return number[index], distinct[kept].tolist()
