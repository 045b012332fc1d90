"""What the champion expects: it shows a change of tastes that no other column shows, and is compared with its own alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from livealign.config import DriftConfig
from orchestration.drift import DriftSide, drift_report
from orchestration.drift_frames import surprise

CONFIG = DriftConfig(permutations=1_000)
USERS, TOPICS = 300, 8


def tastes(rng: np.random.Generator) -> NDArray:
    """[users, topics] click probabilities: a quarter of the topics is loved."""
    return np.where(rng.random((USERS, TOPICS)).argsort(axis=1) < TOPICS // 4, 0.5, 0.05)


def day(rng: np.random.Generator, dt: str, expected: NDArray, true: NDArray, scored: bool = True) -> pd.DataFrame:
    """Impressions of forty rooms, clicked by the true tastes and scored by the expected ones."""
    room = rng.integers(0, 40, 4_000)
    topic, user = rng.integers(0, TOPICS, 40)[room], rng.integers(0, USERS, 4_000)
    click = (rng.random(4_000) < true[user, topic]).astype(float)
    frame = pd.DataFrame({"dt": dt, "room_id": room + int(dt[-2:]) * 100, "click": click})
    if not scored:
        return frame
    score = pd.Series(expected[user, topic])
    return frame.assign(score=score, surprise=surprise(score, frame["click"]))


def test_the_surprise_is_the_log_loss_and_finite() -> None:
    found = surprise(pd.Series([0.25, 0.25, 0.0, 0.5, np.nan]), pd.Series([1.0, 0.0, 1.0, np.nan, 1.0]))
    assert found[0] == pytest.approx(np.log(4))
    assert found[1] == pytest.approx(-np.log(0.75))
    assert np.isfinite(found[2])
    assert found[3:].isna().all()


def test_a_change_of_tastes_is_seen_in_the_surprise_and_in_no_other_column(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    known, changed = tastes(rng), tastes(rng)
    half = np.where(np.arange(USERS)[:, None] % 2 == 0, changed, known)
    # The champion's scores are of its held-out day alone; the days that it was trained on have none.
    reference = pd.concat([day(rng, f"2025-03-0{number}", known, known, scored=number == 4) for number in (1, 2, 3, 4)])
    quiet = drift_report(DriftSide(reference), DriftSide(day(rng, "2025-03-05", known, known)), CONFIG, tmp_path, name="quiet")
    assert {"score", "surprise"} <= set(quiet.columns)
    assert not quiet.drifted, quiet.sentence()
    shifted = drift_report(DriftSide(reference), DriftSide(day(rng, "2025-03-05", known, half)), CONFIG, tmp_path)
    assert [name for name, column in shifted.columns.items() if column.drifted] == ["surprise"], shifted.sentence()
    assert not shifted.content_drifted, "other tastes are no reason to tune the LLM again"


def test_scores_that_only_one_side_has_are_not_compared(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    known = tastes(rng)
    scored, unscored = day(rng, "2025-03-05", known, known), day(rng, "2025-03-04", known, known)
    unscored[["score", "surprise"]] = np.nan
    for reference, current in ((unscored, scored), (scored, unscored)):
        result = drift_report(DriftSide(reference), DriftSide(current), CONFIG, tmp_path)
        assert set(result.columns) == {"click"}


def test_scores_in_too_few_rooms_to_know_chance_are_not_compared(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    known = tastes(rng)
    reference, current = day(rng, "2025-03-04", known, known), day(rng, "2025-03-05", known, known)
    reference.loc[reference["room_id"] > 401, ["score", "surprise"]] = np.nan
    assert set(drift_report(DriftSide(reference), DriftSide(current), CONFIG, tmp_path).columns) == {"click"}
