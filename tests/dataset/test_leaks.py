"""Planted leaks: every way in which a model could read the future is counted, and an honest corpus has none."""

from dataclasses import replace

import numpy as np
import pytest

from livealign.config import DatasetConfig
from livealign.dataset.corpus import Corpus, load_corpus
from livealign.dataset.examples import TASKS, Engaged
from livealign.dataset.leaks import WINDOW_MS, future_reads
from livealign.days import DAY_MS, end_of
from tests.planted.marts import plant_marts


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    planted = plant_marts(tmp_path_factory.mktemp("marts"), users=60, authors=12, days=3, requests_per_day=80)
    return load_corpus(planted.marts, planted.days[-1], DatasetConfig(train_days=7, history_length=6))


def test_an_honest_corpus_reads_nothing_early(corpus: Corpus) -> None:
    assert (corpus.train.segment > 0).any(), "an empty corpus would be honest too"
    assert (corpus.train.history_segment > 0).any()
    assert set(future_reads(corpus).values()) == {0}


def test_a_window_that_is_not_over_is_found_in_training_and_in_the_held_out_day(corpus: Corpus) -> None:
    for part, name in ((corpus.train, "training"), (corpus.test, "held-out")):
        row = int(np.flatnonzero(part.segment > 0)[0])
        shown_at = part.shown_at.copy()
        shown_at[row] = corpus.segment_started_at[part.segment[row]] + 10_000
        leaky = replace(part, shown_at=shown_at, history=np.full_like(part.history, -1))
        found = future_reads(replace(corpus, **{"train" if name == "training" else "test": leaky}))
        assert found[f"{name} windows not over when shown"] == 1


def test_a_history_that_knows_a_later_moment_is_found(corpus: Corpus) -> None:
    late = int(np.argmax(corpus.segment_started_at))
    history, engaged = corpus.train.history.copy(), corpus.train.engaged
    history[:3, 0] = len(engaged.segment)
    late_too = Engaged(*(np.append(column, late) for column in engaged))
    history[history == -1] = len(engaged.segment) - 1  # the padding is no longer the last
    found = future_reads(replace(corpus, train=replace(corpus.train, history=history, engaged=late_too)))
    assert found["training histories that know a later window"] == 3


def test_training_on_the_held_out_day_is_found(corpus: Corpus) -> None:
    found = future_reads(replace(corpus, train=corpus.test))
    assert found["training impressions after the training days"] == len(corpus.test)
    assert future_reads(replace(corpus, test=corpus.train))["held-out impressions of another day"] == len(corpus.train)


def test_a_click_that_was_not_yet_known_is_found(corpus: Corpus) -> None:
    click = corpus.train.labels[:, TASKS.index("click")]
    known_at = corpus.train.click_known_at.copy()
    known_at[int(np.flatnonzero(~np.isnan(click))[0])] += 7 * DAY_MS
    found = future_reads(replace(corpus, train=replace(corpus.train, click_known_at=known_at)))
    assert found["training clicks known later"] == 1


def with_time(corpus: Corpus, part: str, column: str, row: int, at: int) -> Corpus:
    """The corpus with one time of its "train" or "test" examples changed."""
    examples = getattr(corpus, part)
    times = getattr(examples, column).copy()
    times[row] = at
    return replace(corpus, **{part: replace(examples, **{column: times})})


def test_a_millisecond_of_the_future_is_found_and_the_last_one_before_it_is_none(corpus: Corpus) -> None:
    trained, held_out = end_of(corpus.train_days[-1]), end_of(corpus.day)
    clicks = corpus.train.labels[:, TASKS.index("click")]
    bare, labelled = (int(np.flatnonzero(rows)[-1]) for rows in (corpus.test.segment == 0, ~np.isnan(clicks)))
    shown = int(np.flatnonzero(corpus.test.segment > 0)[0])
    over = int(corpus.segment_started_at[corpus.test.segment[shown]]) + WINDOW_MS
    without_history = replace(corpus, test=replace(corpus.test, history=np.full_like(corpus.test.history, -1)))
    for name, part, column, row, good, bad in (
        ("training impressions after the training days", "train", "shown_at", -1, trained - 1, trained),
        ("training clicks known later", "train", "click_known_at", labelled, trained, trained + 1),
        ("held-out impressions of another day", "test", "shown_at", bare, held_out - 1, held_out),
        ("held-out impressions of another day", "test", "shown_at", bare, held_out - DAY_MS, held_out - DAY_MS - 1),
        ("held-out windows not over when shown", "test", "shown_at", shown, over, over - 1),
    ):
        counts = [future_reads(with_time(without_history, part, column, row, at))[name] for at in (good, bad)]
        assert counts == [0, 1], name
