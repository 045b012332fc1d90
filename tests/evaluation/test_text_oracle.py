"""The ceiling of the text: what a reader with true labels and true tastes could reach."""

import numpy as np
import pytest

from livealign.evaluation.text_oracle import expected_click, revealed_words, topic_beliefs


def test_beliefs_follow_the_words_and_an_empty_text_has_none() -> None:
    words = (["goal", "keeper", "corner"], ["soup", "salt", "oven"], ["loot", "boss", "level"])
    rng = np.random.default_rng(0)
    topics = np.arange(90) % 3
    texts = [" ".join(rng.choice(words[topic], 2)) for topic in topics]
    texts[88] = ""
    beliefs = topic_beliefs(texts, topics, np.arange(90) < 60, 3)
    assert beliefs[60:88].argmax(1).tolist() == topics[60:88].tolist()
    assert beliefs[60:88].sum(1) == pytest.approx(np.ones(28), abs=1e-5)
    assert (beliefs[88] == 0).all()


def test_the_expected_click_weighs_topics_and_moments() -> None:
    def sigmoid(x: float) -> float:
        return float(1 / (1 + np.exp(-x)))

    found = expected_click(np.array([[0.75, 0.25]]), np.array([[0.0, 2.0]]), [(0.9, 0.0), (0.1, 1.0)])
    by_hand = 0.75 * (0.9 * 0.5 + 0.1 * sigmoid(1.0)) + 0.25 * (0.9 * sigmoid(2.0) + 0.1 * sigmoid(3.0))
    assert found == pytest.approx([by_hand])


def test_a_ceiling_knows_members_that_no_training_text_has() -> None:
    """Each topic's members are other ones on the last day, so words that are only counted know nothing of it."""
    rng = np.random.default_rng(1)
    topics = np.arange(120) % 3
    is_train = np.arange(120) < 90
    words = [f"{'old' if train else 'new'}{topic}" for topic, train in zip(topics, is_train, strict=True)]
    texts = [f"stream | host: look at {word}, {rng.choice(['slowly', 'again', 'now'])}" for word in words]
    topic_of_word = {f"{age}{topic}": topic for age in ("old", "new") for topic in range(3)}
    known = topic_beliefs(texts, topics, is_train, 3, topic_of_word)
    counted = topic_beliefs(texts, topics, is_train, 3)
    assert known[~is_train].argmax(1).tolist() == topics[~is_train].tolist()
    assert known[~is_train].max(1).min() > 0.8
    assert counted[~is_train].max(1).max() < 0.5


def test_a_ceiling_tells_denials_and_titles_from_what_is_said() -> None:
    text = "Ruy Lopez tonight | games | host: no jab today, look at Lopez"
    assert revealed_words(text, {"ruy": 2, "lopez": 2, "jab": 1}) == [
        *("title: topic 2", "title: topic 2", "title: tonight"),
        *("games", "host", "no", "no topic 1", "today", "look", "at", "topic 2"),
    ]
    rng = np.random.default_rng(2)
    topics = rng.integers(3, size=400)
    denied = (topics + rng.integers(1, 3, size=400)) % 3
    texts = [f"a{rng.integers(3)} | host: no a{other} today, a{topic}" for topic, other in zip(topics, denied, strict=True)]
    is_train = np.arange(400) < 200
    beliefs = topic_beliefs(texts, topics, is_train, 3, {f"a{topic}": topic for topic in range(3)})
    assert (beliefs.argmax(1) == topics)[~is_train].mean() > 0.95


@pytest.mark.parametrize(
    ("texts", "topics", "share_of_topic_1"),
    [
        (["soup soup", "soup", "goal"], [1, 1, 1], 1.0),  # one topic in every room
        (["soup", "goal", "loot"], [1, 0, 1], 0.5),  # no word twice
        (["", "", "goal"], [1, 0, 0], 0.2),  # no text to learn from
        (["soup", "soup", "goal"], [4, 1, 0], None),  # the last topics of the platform are in few rooms or in none
    ],
)
def test_a_platform_with_little_text_or_one_topic_has_beliefs_for_every_topic(
    texts: list[str], topics: list[int], share_of_topic_1: float | None
) -> None:
    beliefs = topic_beliefs(texts, np.array(topics), np.array([True, True, False]), 5)
    assert beliefs.shape == (3, 5)
    assert beliefs[2].sum() == pytest.approx(1)
    if share_of_topic_1 is not None:
        assert beliefs[2, 1] == pytest.approx(share_of_topic_1)


def test_without_training_rows_every_topic_is_as_likely() -> None:
    beliefs = topic_beliefs(["soup", "goal"], np.array([1, 0]), np.zeros(2, dtype=bool), 4)
    assert beliefs == pytest.approx(np.full((2, 4), 0.25))
