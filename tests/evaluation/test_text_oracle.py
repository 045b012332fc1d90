"""The ceiling of the text: what a reader with true labels and true tastes could reach."""

import numpy as np
import pytest

from livealign.evaluation.text_oracle import expected_click, topic_beliefs


def test_beliefs_follow_the_words_and_an_empty_text_has_none() -> None:
    words = (["goal", "keeper", "corner"], ["soup", "salt", "oven"], ["loot", "boss", "level"])
    rng = np.random.default_rng(0)
    topics = np.arange(90) % 3
    texts = [" ".join(rng.choice(words[topic], 2)) for topic in topics]
    texts[88] = ""
    beliefs = topic_beliefs(texts, topics, np.arange(90) < 60)
    assert beliefs[60:88].argmax(1).tolist() == topics[60:88].tolist()
    assert beliefs[60:88].sum(1) == pytest.approx(np.ones(28), abs=1e-5)
    assert (beliefs[88] == 0).all()


def test_the_expected_click_weighs_topics_and_moments() -> None:
    def sigmoid(x: float) -> float:
        return float(1 / (1 + np.exp(-x)))

    found = expected_click(np.array([[0.75, 0.25]]), np.array([[0.0, 2.0]]), [(0.9, 0.0), (0.1, 1.0)])
    by_hand = 0.75 * (0.9 * 0.5 + 0.1 * sigmoid(1.0)) + 0.25 * (0.9 * sigmoid(2.0) + 0.1 * sigmoid(3.0))
    assert found == pytest.approx([by_hand])
