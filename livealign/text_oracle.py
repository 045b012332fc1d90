"""The ceiling of the text, on the simulated platform: a topic classifier with true labels, then the users' true tastes.

    oracle = text_oracle(corpus, marts, archive, segments)   # None where there is no truth
    probabilities = oracle.probabilities()                   # float64 [n]

It is what a reader could reach that learned the topics from true labels, from the same texts that the LLM reads, and that
knows every user's taste. What it lacks to `oracle` is what the text of the last ended window does not tell.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from livealign.artifacts import read_json
from livealign.config import SegmentConfig
from livealign.content import texts_of
from livealign.dataset import Corpus
from livealign.dataset_marts import rows_by_key
from livealign.heldout import SIMULATE_AGAIN, EvaluationError, read_truth_file, truth_file
from livealign.recent_content import recent_content
from livealign.simulation.platform import MANIFEST

WINDOW_MILLISECONDS = 30_000
_MOMENT = (
    "highlight",
    "low_quality",
)  # of a window; what each adds to the log odds has the same name in the archive's settings


class TextOracle(NamedTuple):
    """What the text tells of the held-out impressions, and what their users would do."""

    beliefs: NDArray[np.floating]  # [n, topics] P(topic | text)
    logits: NDArray[np.floating]  # [n, topics] of a click if it is that topic
    moments: Sequence[tuple[float, float]]  # (how often, what it adds to the log odds) of highlight and quality

    def probabilities(self, without: NDArray[np.floating] | float = 0.0) -> NDArray[np.float64]:
        """Of a click [n]; `without` [n] log odds that are taken out."""
        return expected_click(self.beliefs, self.logits - np.reshape(without, (-1, 1)), self.moments)


def text_oracle(corpus: Corpus, marts: Path, archive: Path, config: SegmentConfig) -> TextOracle | None:
    """True click probability of the held-out impressions as far as text tells the topic; None without truth.

    p = Σ_topic P(topic | text) · mean over highlight and quality of σ(fixed + taste for the topic + …), with P from a
    logistic regression on TF-IDF, averaged over a room's last windows like the content of every model (`recent_content`).

    Raises:
        EvaluationError: there is a truth folder, but a file of it is missing or damaged.
    """
    if not (archive / "truth").is_dir():
        return None
    days = [*corpus.train_days, corpus.day]
    topics, moments = _topics(archive, corpus, days)
    texts = texts_of(marts, corpus.segment_ids[1:], days, config)
    beliefs = recent_content(
        topic_beliefs(texts, topics, corpus.segment_is_train[1:]),
        corpus.segment_room_id[1:],
        corpus.segment_started_at[1:],
        corpus.half_life_seconds,
    )
    usual = np.bincount(topics[corpus.segment_is_train[1:]], minlength=beliefs.shape[1])
    beliefs = np.concatenate([(usual / usual.sum())[None], beliefs])[corpus.test.segment]  # [n, topics]
    fixed, tastes = true_log_odds(archive, corpus)
    return TextOracle(beliefs, fixed[:, None] + tastes, moments)


def true_log_odds(archive: Path, corpus: Corpus) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Of a click on the held-out impressions: all but taste and moment, the place included [n]; the user's tastes [n, topics].

    Raises:
        EvaluationError: a file of the truth is missing or damaged, or lacks impressions.
    """
    shown = read_truth_file(truth_file(archive, "impressions", corpus.day), ["impression_id", "user", "fixed_logit"])
    rows = rows_by_key(shown["impression_id"].to_numpy(), corpus.test.impression_id)
    if (rows < 0).any():
        raise EvaluationError(f"{archive / 'truth'} lacks {(rows < 0).sum()} impressions of {corpus.day}; {SIMULATE_AGAIN}")
    tastes = read_truth_file(truth_file(archive, "tastes", corpus.day), ["taste"])["taste"].combine_chunks()
    by_user = tastes.flatten().to_numpy().reshape(len(tastes), -1)
    return shown["fixed_logit"].to_numpy()[rows], by_user[shown["user"].to_numpy()[rows]]


def expected_click(
    beliefs: NDArray[np.floating], logits: NDArray[np.floating], moments: Sequence[tuple[float, float]]
) -> NDArray[np.float64]:
    """Σ_topic belief · Σ_moment share · σ(logit + extra), [n].

    Args:
        beliefs: P(topic) [n, topics]; logits: of a click if it is that topic [n, topics].
        moments: (how often, what it adds to the log odds) of what text is not asked about: highlight, quality.
    """
    probabilities = np.zeros(logits.shape)
    for share, extra in moments:
        probabilities += share / (1 + np.exp(-(logits + extra)))
    return np.asarray((beliefs * probabilities).sum(1), dtype=np.float64)


def true_topics(archive: Path, corpus: Corpus) -> NDArray[np.int64] | None:
    """[segments − 1] the true topic of every segment of the corpus but row 0; None without truth.

    Raises:
        EvaluationError: there is a truth folder, but a file of it is missing or damaged.
    """
    if not (archive / "truth").is_dir():
        return None
    return _topics(archive, corpus, [*corpus.train_days, corpus.day])[0]


def true_low_quality(archive: Path, corpus: Corpus) -> NDArray[np.bool_] | None:
    """[segments] whether text is missing or garbled in the stream of each segment; row 0 False. None without truth.

    Raises:
        EvaluationError: there is a truth folder, but a file of it is missing or damaged.
    """
    if not (archive / "truth").is_dir():
        return None
    table, rows = _windows(archive, corpus, [*corpus.train_days, corpus.day])
    return np.concatenate([[False], table["low_quality"].to_numpy(zero_copy_only=False)[rows]])


def _windows(archive: Path, corpus: Corpus, days: Sequence[date]) -> tuple[pa.Table, NDArray[np.int64]]:
    """The truth of all windows of these days, and the row of each segment of the corpus in it [segments − 1]."""
    columns = ["room_id", "window", "topic", *_MOMENT]
    table = pa.concat_tables([read_truth_file(truth_file(archive, "segments", day), columns) for day in days])
    segments = np.stack([corpus.segment_room_id[1:], corpus.segment_started_at[1:] // WINDOW_MILLISECONDS], axis=1)
    known = np.stack([table["room_id"].to_numpy(), table["window"].to_numpy()], axis=1)
    _, numbers = np.unique(np.concatenate([known, segments]), axis=0, return_inverse=True)
    rows = rows_by_key(numbers.reshape(-1)[: len(known)], numbers.reshape(-1)[len(known) :])
    if (rows < 0).any():
        raise EvaluationError(f"{archive / 'truth'} lacks {(rows < 0).sum()} of {len(rows)} windows; {SIMULATE_AGAIN}")
    return table, rows


def _topics(archive: Path, corpus: Corpus, days: Sequence[date]) -> tuple[NDArray[np.int64], list[tuple[float, float]]]:
    """The topic of each segment [segments − 1]; and how often windows are highlights or of low quality, with their log odds."""
    table, rows = _windows(archive, corpus, days)
    of_highlight, of_low_quality = log_odds_of(archive, *_MOMENT)
    highlight, poor = (table[name].to_numpy(zero_copy_only=False) for name in _MOMENT)
    moments = [
        (float(((highlight == h) & (poor == q)).mean()), h * of_highlight + q * of_low_quality)
        for h in (False, True)
        for q in (False, True)
    ]
    return table["topic"].to_numpy().astype(np.int64)[rows], moments


def log_odds_of(archive: Path, *names: str) -> list[float]:
    """What each of these did to the log odds of a click, by the settings that the archive was made with.

    Raises:
        EvaluationError: the archive does not say.
    """
    made_with = read_json(archive / MANIFEST).get("config", {})
    if absent := [name for name in names if name not in made_with]:
        raise EvaluationError(f"{archive / MANIFEST} does not say what {' and '.join(absent)} did to clicks; {SIMULATE_AGAIN}")
    return [float(made_with[name]) for name in names]


def topic_beliefs(texts: Sequence[str], topics: NDArray[np.int64], is_train: NDArray[np.bool_]) -> NDArray[np.float32]:
    """P(topic | text) [n, topics], learned from the training rows; an empty text has no belief (a row of zeros)."""
    has_text = np.asarray([bool(text) for text in texts])
    rows = np.flatnonzero(is_train & has_text)
    words = TfidfVectorizer(sublinear_tf=True, min_df=2, ngram_range=(1, 1))
    classifier = LogisticRegression(C=10.0, max_iter=60, tol=1e-3)
    classifier.fit(words.fit_transform([texts[row] for row in rows.tolist()]), topics[rows])
    beliefs = np.zeros((len(texts), int(topics.max()) + 1), dtype=np.float32)
    beliefs[:, classifier.classes_] = classifier.predict_proba(words.transform(texts))
    return beliefs * has_text[:, None]
