"""The ceiling of text alone: a topic classifier with true labels.

    oracle = text_oracle(corpus, truth, texts)
    probabilities = oracle.probabilities()        # float64 [n]

The classifier learns topics from true labels and the texts that the LLM reads. In an open world it knows the topic of every
member's words, whether or not they were said before. The users' true tastes then give click probabilities. The gap to
`oracle` is what the text of the last ended window does not reveal.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from livealign.dataset.corpus import Corpus
from livealign.dataset.recent_content import recent_content
from livealign.evaluation.day_truth import DayTruth
from livealign.llm.token_budget import SEPARATOR
from livealign.simulation.carriers import DENIALS
from livealign.simulation.lexicon import words_of


class TextOracle(NamedTuple):
    """Topics of the held-out impressions as far as text reveals them, and clicks by topic."""

    beliefs: NDArray[np.floating]  # [n, topics] P(topic | text)
    logits: NDArray[np.floating]  # [n, topics] of a click if it is that topic
    modifiers: Sequence[tuple[float, float]]  # (share of windows, log odds) of highlight and quality together

    def probabilities(self, without: NDArray[np.floating] | float = 0.0) -> NDArray[np.float64]:
        """Probabilities of a click [n]; `without` [n] are log odds to leave out."""
        return expected_click(self.beliefs, self.logits - np.reshape(without, (-1, 1)), self.modifiers)


def text_oracle(corpus: Corpus, truth: DayTruth, texts: Sequence[str]) -> TextOracle:
    """True click probability of the held-out impressions as far as text reveals the topic.

    p = Σ_topic P(topic | text) · mean over highlight and quality of σ(fixed + taste for the topic + …), with P from a
    logistic regression on TF-IDF, averaged over a room's last windows like the content of every model (`recent_content`).

    Args:
        texts: of the corpus' segments but row 0, as the LLM reads them.
    """
    beliefs = recent_content(
        topic_beliefs(texts, truth.topics, corpus.segment_is_train[1:], truth.tastes.shape[1], truth.topic_of_word),
        corpus.segment_room_id[1:],
        corpus.segment_started_at[1:],
        corpus.half_life_seconds,
    )
    usual = topic_shares(truth.topics[corpus.segment_is_train[1:]], beliefs.shape[1])
    beliefs = np.concatenate([usual[None], beliefs])[corpus.test.segment]  # [n, topics]
    return TextOracle(beliefs, truth.fixed[:, None] + truth.tastes, truth.modifiers)


def expected_click(
    beliefs: NDArray[np.floating], logits: NDArray[np.floating], modifiers: Sequence[tuple[float, float]]
) -> NDArray[np.float64]:
    """Σ_topic belief · Σ_modifier share · σ(logit + extra), [n].

    Args:
        beliefs: P(topic) [n, topics]; logits: of a click if it is that topic [n, topics].
        modifiers: (share of windows, log odds) of what text does not reveal: highlight, quality.
    """
    probabilities = np.zeros(logits.shape)
    for share, extra in modifiers:
        probabilities += share / (1 + np.exp(-(logits + extra)))
    return np.asarray((beliefs * probabilities).sum(1), dtype=np.float64)


def topic_shares(topics: NDArray[np.int64], n_topics: int) -> NDArray[np.float32]:
    """The share of each topic [n_topics]; all the same where there is no row."""
    counts = np.bincount(topics, minlength=n_topics).astype(np.float32)
    return counts / counts.sum() if len(topics) else np.full(n_topics, 1 / n_topics, dtype=np.float32)


def topic_beliefs(
    texts: Sequence[str],
    topics: NDArray[np.int64],
    is_train: NDArray[np.bool_],
    n_topics: int,
    topic_of_word: Mapping[str, int] | None = None,
) -> NDArray[np.float32]:
    """P(topic | text) [n, n_topics], learned from the training rows.

    An empty text has no belief: a row of zeros. Where the training rows name one topic, or no word twice, there is nothing to
    learn, and every text has the topics' shares.

    Args:
        n_topics: of the platform; some may be in no room.
        topic_of_word: topics that words reveal by themselves (`revealed_words`); None or empty: words are only counted.
    """
    has_text = np.asarray([bool(text) for text in texts])
    rows = np.flatnonzero(is_train & has_text)
    reader = partial(revealed_words, topic_of_word=topic_of_word) if topic_of_word else "word"
    words = TfidfVectorizer(sublinear_tf=True, min_df=2, ngram_range=(1, 1), analyzer=reader)
    learned = [texts[row] for row in rows.tolist()]
    seen = Counter(word for text in learned for word in set(words.build_analyzer()(text)))
    if len(np.unique(topics[rows])) < 2 or max(seen.values(), default=0) < 2:
        return np.outer(has_text, topic_shares(topics[rows], n_topics)).astype(np.float32)
    classifier = LogisticRegression(C=10.0, max_iter=60, tol=1e-3)
    classifier.fit(words.fit_transform(learned), topics[rows])
    beliefs = np.zeros((len(texts), n_topics), dtype=np.float32)
    beliefs[:, classifier.classes_] = classifier.predict_proba(words.transform(texts))
    return beliefs * has_text[:, None]


def revealed_words(text: str, topic_of_word: Mapping[str, int]) -> list[str]:
    """The words of a text, with "topic N" in place of each word that reveals a topic.

    A denied topic ("no …") and one that only the title names are words of their own, since they say less.
    """
    title, bar, rest = text.partition(SEPARATOR)
    parts = [("title: ", title), ("", rest)] if bar else [("", title)]
    found: list[str] = []
    for part, said in parts:
        before = ""
        for word in words_of(said):
            topic = topic_of_word.get(word)
            if topic is not None:
                found.append(f"{part}{before + ' ' if before in DENIALS else ''}topic {topic}")
            elif len(word) > 1:
                found.append(part + word)
            before = word
    return found
