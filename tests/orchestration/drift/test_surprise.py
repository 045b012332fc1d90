"""The champion's surprise: counted by hand, blind to hard rooms, sensitive to changed tastes."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from livealign.days import partition
from livealign.operation_config import DriftConfig
from orchestration.drift.columns import DriftError
from orchestration.drift.report import DriftSide, drift_report
from orchestration.drift.surprise import room_surprise, surprise_test

CONFIG = DriftConfig(permutations=1_000)
BEFORE, DAY = date(2025, 3, 4), date(2025, 3, 5)
USERS, TOPICS, ROOMS, SHOWN = 300, 8, 40, 8_000


class Played(NamedTuple):
    """A day's impressions of forty rooms with a topic each."""

    side: DriftSide
    loss: float  # mean log loss


def tastes(rng: np.random.Generator) -> NDArray:
    """[users, topics] click probabilities: a quarter of the topics is loved."""
    return np.where(rng.random((USERS, TOPICS)).argsort(axis=1) < TOPICS // 4, 0.5, 0.05)


def write(marts: Path, day: date, room: NDArray, click: NDArray) -> None:
    file = partition(marts, "interactions", day)
    file.parent.mkdir(parents=True, exist_ok=True)
    clicks = pa.array(click, from_pandas=True).cast(pa.int8())
    served = np.full(len(room), 0.9)  # by the model that served them, not by the champion
    pq.write_table(pa.table({"impression_id": np.arange(len(room)), "room_id": room, "click": clicks, "score": served}), file)


def play(marts: Path, rng: np.random.Generator, day: date, expected: NDArray, true: NDArray) -> Played:
    """Clicked by the true tastes, scored by the expected ones."""
    place, user = rng.integers(0, ROOMS, SHOWN), rng.integers(0, USERS, SHOWN)
    topic, room = rng.integers(0, TOPICS, ROOMS)[place], place + day.day * 100
    click = (rng.random(SHOWN) < true[user, topic]).astype(float)
    write(marts, day, room, click)
    p = expected[user, topic]
    frame = pd.DataFrame({"dt": str(day), "room_id": room, "click": click, "score": p})
    side = DriftSide(frame, surprise=room_surprise(marts, day, pd.Series(p)))
    return Played(side, float(-np.log(np.where(click == 1, p, 1 - p)).mean()))


def test_excess_is_the_log_loss_minus_what_the_scores_promise_summed_by_room(tmp_path: Path) -> None:
    write(tmp_path, DAY, np.array([7, 7, 8, 8, 9]), np.array([1, 0, 1, np.nan, 1]))
    found = room_surprise(tmp_path, DAY, pd.Series([0.25, 0.5, 0.0, 0.5], index=[0, 1, 2, 3]))
    assert found["room_id"].tolist() == [7, 8], "room 9 has no score"
    assert found["impressions"].tolist() == [2, 1], "what is not known yet is left out"
    expected = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    assert found["excess"][0] == pytest.approx((np.log(4) - expected) + (np.log(2) - np.log(2)))
    assert found["excess"][1] == pytest.approx(np.log(1e6), rel=0.01), "one sure mistake, and finite"


def test_the_score_is_the_difference_of_the_means_over_impressions_and_never_below_zero() -> None:
    before = pd.DataFrame({"room_id": [1, 2, 3], "impressions": [10, 10, 20], "excess": [1.0, 0.0, 1.0]})
    now = pd.DataFrame({"room_id": [4, 5, 6], "impressions": [30, 5, 5], "excess": [6.0, 0.0, 2.0]})
    assert surprise_test(before, now, CONFIG).score == pytest.approx(8 / 40 - 2 / 40)
    assert surprise_test(now, before, CONFIG).score == 0


def test_a_change_of_tastes_is_seen_in_the_surprise_and_in_no_other_column(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    known, other = tastes(rng), tastes(rng)
    changed = np.where(np.arange(USERS)[:, None] % 4 == 0, other, known)
    reference, quiet = (play(tmp_path, rng, day, known, known).side for day in (BEFORE, DAY))
    same = drift_report(reference, quiet, CONFIG, tmp_path, name="quiet")
    assert {"score", "surprise"} <= set(same.columns)
    assert not same.drifted, same.sentence()
    shifted = drift_report(reference, play(tmp_path, rng, DAY, known, changed).side, CONFIG, tmp_path)
    assert [name for name, column in shifted.columns.items() if column.drifted] == ["surprise"], shifted.sentence()
    assert not shifted.content_drifted, "other tastes are no reason to tune the LLM again"


def test_days_that_are_harder_to_predict_are_no_change_of_tastes(tmp_path: Path) -> None:
    """The champion knows that clicks are hard to predict: its loss is higher, its surprise is not."""
    alarms = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        sure, unsure = np.full((USERS, TOPICS), 0.05), np.full((USERS, TOPICS), 0.5)
        before, now = play(tmp_path, rng, BEFORE, sure, sure), play(tmp_path, rng, DAY, unsure, unsure)
        test = surprise_test(before.side.surprise, now.side.surprise, replace(CONFIG, seed=seed))
        assert now.loss > 2 * before.loss
        alarms += test.score > test.threshold
    assert alarms <= 1


def test_scores_that_only_one_side_or_few_rooms_have_are_not_compared(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    scored = play(tmp_path, rng, BEFORE, tastes(rng), tastes(rng)).side
    unscored = DriftSide(scored.frame.assign(score=np.nan))
    few = DriftSide(
        scored.frame.assign(score=scored.frame["score"].where(scored.frame["room_id"] < 402)), surprise=scored.surprise[:2]
    )
    for reference, current in ((unscored, scored), (scored, unscored), (few, scored), (scored, few)):
        assert set(drift_report(reference, current, CONFIG, tmp_path).columns) == {"click"}


def test_missing_interactions_are_named(tmp_path: Path) -> None:
    with pytest.raises(DriftError, match=r"interactions/dt=2025-03-05.*materialize"):
        room_surprise(tmp_path, DAY, pd.Series([0.5]))


def test_of_more_tests_each_needs_a_higher_score(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    known = tastes(rng)
    before, now = (play(tmp_path, rng, day, known, known).side.surprise for day in (BEFORE, DAY))
    config = replace(CONFIG, surprise_threshold=0.0)
    alone, shared = (surprise_test(before, now, config, tests).threshold for tests in (1, 20))
    assert alone < shared
