"""Count every array entry that comes from the future.

dbt's tests check the marts for this. Here the arrays that a model reads are checked, after every step between mart and model.
"""

import numpy as np

from livealign.dataset.corpus import Corpus
from livealign.dataset.examples import TASKS, Examples
from livealign.days import DAY_MS, end_of

WINDOW_MS = 30_000


def future_reads(corpus: Corpus) -> dict[str, int]:
    """Number of rows with data from the future, by kind of data. All should be zero."""
    held_out_from = end_of(corpus.train_days[-1])
    clicks = corpus.train.labels[:, TASKS.index("click")]
    counts = {
        "training impressions after the training days": int((corpus.train.shown_at >= held_out_from).sum()),
        "held-out impressions of another day": int(_outside(corpus).sum()),
        "training clicks known later": int((~np.isnan(clicks) & (corpus.train.click_known_at > held_out_from)).sum()),
    }
    for name, examples in (("training", corpus.train), ("held-out", corpus.test)):
        counts[f"{name} windows not over when shown"] = int(_too_new(corpus, examples.segment, examples.shown_at).sum())
        history = _too_new(corpus, examples.history_segment, examples.shown_at[:, None])
        counts[f"{name} histories that know a later window"] = int(history.any(axis=1).sum())
    return counts


def _too_new(corpus: Corpus, segment: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Whether each segment, which lasts 30 s, had not ended at `at` (epoch milliseconds)."""
    return (segment > 0) & (corpus.segment_started_at[segment] + WINDOW_MS > at)


def _outside(corpus: Corpus) -> np.ndarray:
    shown: Examples = corpus.test
    end = end_of(corpus.day)
    return (shown.shown_at < end - DAY_MS) | (shown.shown_at >= end)
