"""The cheap content that replaces the LLM's in comparisons."""

import numpy as np
import pytest

from benchmarks.quality.controls import has_minilm, hour_weekday_content, minilm_content, tfidf_content
from livealign.days import DAY_MS
from livealign.errors import BackboneError

TEXTS = ["a goal in the last minute", "the soup needs salt", "what a goal", "salt and soup", "", "xylophone"]


def test_tfidf_is_fitted_to_training_texts_and_knows_likeness() -> None:
    vectors = tfidf_content(TEXTS, np.array([True, True, True, True, False, False]))
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    assert unit[0] @ unit[2] > unit[0] @ unit[3] + 0.1
    assert (vectors[4:] == 0).all()  # no text, and no word of training


def test_texts_without_a_repeated_word_have_no_content() -> None:
    assert (tfidf_content(["one", "two"], np.array([True, True])) == 0).all()


def test_hours_and_weekdays_are_those_of_the_clock() -> None:
    monday_noon = int(np.datetime64("2025-06-02T12:00", "ms").astype(np.int64))
    vectors = hour_weekday_content(np.array([monday_noon, monday_noon + DAY_MS + 3_600_000]))
    assert np.argmax(vectors[:, :24], axis=1).tolist() == [12, 13]
    assert np.argmax(vectors[:, 24:], axis=1).tolist() == [0, 1]


def test_minilm_reads_where_it_is_installed_and_says_how_to_install_it_where_not() -> None:
    if not has_minilm():
        with pytest.raises(BackboneError, match="make controls"):
            minilm_content(TEXTS)
        return
    vectors = minilm_content(TEXTS)
    assert vectors[0] @ vectors[2] > vectors[0] @ vectors[3] + 0.2
    assert (vectors[4] == 0).all()
