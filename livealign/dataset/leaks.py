"""Does anything that a model reads come from after the moment it is read for? Counted on the very arrays that it reads.

dbt's tests say the same of the marts; this one stands behind all that is done to them on the way to a model.
"""

import numpy as np

from livealign.dataset.corpus import Corpus
from livealign.dataset.examples import TASKS, Examples
from livealign.days import DAY_MS, end_of

WINDOW_MS = 30_000


def future_reads(corpus: Corpus) -> dict[str, int]:
    """How many rows know too much, by what it is that they know. All zero is as it should be."""
    held_out_from = end_of(corpus.train_days[-1])
    clicks = corpus.train.labels[:, TASKS.index("click")]
    found = {
        "training impressions after the training days": int((corpus.train.shown_at >= held_out_from).sum()),
        "held-out impressions of another day": int(_outside(corpus).sum()),
        "training clicks known later": int((~np.isnan(clicks) & (corpus.train.click_known_at > held_out_from)).sum()),
    }
    for name, examples in (("training", corpus.train), ("held-out", corpus.test)):
        found[f"{name} windows not over when shown"] = int(_too_new(corpus, examples.segment, examples.shown_at).sum())
        history = _too_new(corpus, examples.history_segment, examples.shown_at[:, None])
        found[f"{name} histories that know a later window"] = int(history.any(axis=1).sum())
    return found


def _too_new(corpus: Corpus, segment: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Where a segment row, which ends 30 s after it began, was not over at `at` (epoch milliseconds)."""
    return (segment > 0) & (corpus.segment_started_at[segment] + WINDOW_MS > at)


def _outside(corpus: Corpus) -> np.ndarray:
    shown: Examples = corpus.test
    end = end_of(corpus.day)
    return (shown.shown_at < end - DAY_MS) | (shown.shown_at >= end)
