"""Drift against a planted truth: quiet days stay quiet, a planted shift is found."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from livealign.days import partition
from livealign.operation_config import DriftConfig
from orchestration.drift.chance import MINIMUM_ROOMS, RoomPermutations, chance_threshold
from orchestration.drift.columns import DriftError, day_frame
from orchestration.drift.embeddings import energy_test
from orchestration.drift.report import DriftResult, DriftSide, drift_report
from orchestration.drift.words import room_words

CONFIG = DriftConfig(sample_rows=6_000, embedding_rows=600, permutations=1_000)
FIRST = date(2025, 3, 1)
TOPICS = 6
ROOMS, WINDOWS = 40, 12  # a day
TOPIC_WORDS = [
    "shotgun rooftop",
    "pumpkin scarecrow",
    "bishop gambit",
    "chorus melody",
    "kitchen recipe",
    "trail sunset",
    "kiln glaze",
]


def _write(folder: Path, mart: str, day: date, columns: dict) -> None:
    file = partition(folder, mart, day)
    file.parent.mkdir(parents=True)
    pq.write_table(pa.table(columns), file)


def _plant_day(marts: Path, day: date, rng: np.random.Generator, shifted: bool) -> tuple[pd.Series, NDArray, NDArray]:
    """One day of 40 rooms, a topic each. Shifted: half of the rooms have a new topic, and clicks double.

    Returns:
        codes (segment_id → topic), vectors [segments, 8], rooms [segments].
    """
    start = datetime(day.year, day.month, day.day, 12, tzinfo=UTC).replace(tzinfo=None)
    room = day.toordinal() * 1000 + np.repeat(np.arange(ROOMS), WINDOWS)
    topic = np.repeat(np.where(shifted & (np.arange(ROOMS) % 2 == 0), TOPICS, rng.integers(0, TOPICS, ROOMS)), WINDOWS)
    segment = room * 100 + np.tile(np.arange(WINDOWS), ROOMS)
    _write(
        marts,
        "segments",
        day,
        {
            "segment_id": segment,
            "room_id": room,
            "category": [f"game {t}" for t in topic],
            "language": ["en"] * len(segment),
            "speech_text": [f"{TOPIC_WORDS[t]} " * int(n) for n, t in zip(rng.poisson(4, len(segment)), topic, strict=True)],
            "chat_text": [None if n == 0 else "hi " * int(n) for n in rng.poisson(2, len(segment))],
            "n_comments": rng.poisson(2, len(segment)),
            "n_viewers": rng.poisson(9, len(segment)),
        },
    )
    n = 1_500
    shown = rng.integers(0, len(segment), n)
    click = (rng.random(n) < (0.4 if shifted else 0.2)).astype(np.int8)
    unseen = rng.random(n) < 0.1
    _write(
        marts,
        "interactions",
        day,
        {
            "impression_id": day.toordinal() * 10_000 + np.arange(n),
            "user_id": rng.integers(0, 200, n),
            "author_id": shown // WINDOWS,
            "room_id": room[shown],
            "segment_id": pa.array(segment[shown], mask=unseen),
            "segment_age_seconds": pa.array(rng.uniform(0, 30, n), mask=unseen),
            "shown_at": pa.array([start + timedelta(seconds=int(s)) for s in rng.integers(0, 3600, n)], pa.timestamp("ms")),
            "surface": rng.choice(["feed", "follow"], n).tolist(),
            "minute_in_room": rng.uniform(0, 60, n),
            "click": click,
            "long_view": pa.array(click * (rng.random(n) < 0.5), pa.int8()),
            "watch_seconds": click * rng.exponential(90, n),
        },
    )
    centres = np.random.default_rng(0).normal(size=(TOPICS + 1, 8))
    vectors = centres[topic] + 0.3 * rng.normal(size=(len(segment), 8))
    return pd.Series(topic, index=segment), vectors, room


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Five quiet days as the reference, then a quiet day and a shifted day."""
    marts, rng = tmp_path_factory.mktemp("marts"), np.random.default_rng(5)
    days = [FIRST + timedelta(days=number) for number in range(7)]
    parts = [_plant_day(marts, day, rng, shifted=day == days[6]) for day in days]
    codes = pd.concat([part[0] for part in parts])
    before = np.concatenate([part[1] for part in parts[:5]]), np.concatenate([part[2] for part in parts[:5]])
    return {
        "marts": marts,
        "days": days,
        "codes": codes,
        "reference": DriftSide(
            day_frame(marts, days[:5], CONFIG, codes),
            room_words(marts, days[:5], CONFIG),
            vectors={"tuned_llm": before[0]},
            vector_rooms=before[1],
        ),
        "parts": parts,
    }


def _report(planted: dict, number: int, out: Path) -> DriftResult:
    marts, days = planted["marts"], [planted["days"][number]]
    _, vectors, rooms = planted["parts"][number]
    frame = day_frame(marts, days, CONFIG, planted["codes"])
    current = DriftSide(frame, room_words(marts, days, CONFIG), vectors={"tuned_llm": vectors}, vector_rooms=rooms)
    return drift_report(planted["reference"], current, CONFIG, out)


def test_a_day_drawn_like_the_reference_raises_no_alarm(planted, tmp_path):
    result = _report(planted, 5, tmp_path)
    assert not result.drifted, result.sentence()
    assert not result.content_drifted
    assert result.calibrated
    assert result.sentence().startswith("No drift in")
    # All columns share one rate of false alarms.
    reference, (_, vectors, rooms) = planted["reference"], planted["parts"][5]
    sides = (reference.vectors["tuned_llm"], vectors, reference.vector_rooms, rooms, CONFIG)
    shared, alone = (energy_test(*sides, tests).threshold for tests in (len(result.columns), 1))
    assert result.columns["tuned_llm"].threshold == pytest.approx(shared)
    assert shared > alone


def test_each_column_is_judged_as_one_of_all_tests(planted, tmp_path, monkeypatch):
    told: list[int] = []

    def threshold(null, tests, config):
        told.append(tests)
        return chance_threshold(null, tests, config)

    monkeypatch.setattr("orchestration.drift.report.chance_threshold", threshold)
    result = _report(planted, 5, tmp_path)
    assert set(told) == {len(result.columns)}
    assert len(told) > 5


def test_a_planted_shift_is_found_and_the_shifted_columns_come_first(planted, tmp_path):
    result = _report(planted, 6, tmp_path)
    drifted = [name for name, column in result.columns.items() if column.drifted]
    assert result.drifted
    assert result.content_drifted
    assert set(drifted) >= {"tuned_llm", "new_words", "category", "code_1", "click"}
    assert not set(drifted) & {"language", "surface", "minute_in_room", "segment_age_seconds", "text_characters"}
    document = json.loads(result.json.read_text())
    assert document["verdict"]["drifted"] is True
    assert next(iter(document["verdict"]["columns"])) in {"tuned_llm", "new_words", "category", "code_1", "click"}
    assert sorted(document["verdict"]["columns"]["new_words"]["examples"]) == sorted(TOPIC_WORDS[TOPICS].split())
    failed = [test["name"] for test in document["tests"] if test["status"] == "FAIL"]
    assert "Drift in tuned_llm" in failed
    assert "Value Drift for column category" in failed
    assert "Drift in new_words" in failed
    html = result.html.read_text()
    assert "tuned_llm" in html
    assert all(word in html for word in TOPIC_WORDS[TOPICS].split())
    assert "Wasserstein" in html


def test_a_column_that_disappears_is_drift_and_says_so(planted, tmp_path):
    current = day_frame(planted["marts"], [planted["days"][5]], CONFIG).assign(long_view=np.nan)
    result = drift_report(DriftSide(planted["reference"].frame), DriftSide(current), CONFIG, tmp_path)
    assert next(iter(result.columns)) == "long_view"
    assert result.columns["long_view"].method == "disappeared"
    assert result.drifted


def test_the_frame_is_sampled_evenly_over_days_and_the_same_for_the_same_seed(planted):
    small = replace(CONFIG, sample_rows=500)
    frame = day_frame(planted["marts"], planted["days"][:5], small)
    assert frame["dt"].value_counts().to_dict() == {str(day): 100 for day in planted["days"][:5]}
    pd.testing.assert_frame_equal(frame, day_frame(planted["marts"], planted["days"][:5], small))
    other = day_frame(planted["marts"], planted["days"][:5], replace(small, seed=1))
    assert not frame["minute_in_room"].equals(other["minute_in_room"])


def test_an_impression_before_the_first_window_has_no_text_rather_than_an_empty_one(planted):
    frame = day_frame(planted["marts"], [planted["days"][0]], CONFIG)
    without = frame["has_content"] == 0
    assert 0.05 < without.mean() < 0.15
    assert frame.loc[without, "text_characters"].isna().all()
    assert (frame.loc[without, "category"] == "(none)").all()
    assert frame.loc[~without, "text_characters"].min() > 0


def test_a_day_that_is_reported_twice_is_one_point_of_the_trend(planted, tmp_path):
    from evidently.ui.workspace import Workspace

    for number in (5, 6, 5):
        current = DriftSide(day_frame(planted["marts"], [planted["days"][number]], CONFIG))
        drift_report(planted["reference"], current, CONFIG, tmp_path, name="beside", trend=(tmp_path / "trend", "quiet"))
    assert (tmp_path / "beside.html").stat().st_size > 10_000
    workspace = Workspace(str(tmp_path / "trend"))
    (project,) = workspace.search_project("quiet")
    runs = [workspace.get_run(project.id, one) for one in workspace.list_runs(project.id)]
    assert sorted(run.metadata["day"] for run in runs) == [str(planted["days"][5]), str(planted["days"][6])]


def test_missing_marts_are_named(tmp_path):
    with pytest.raises(DriftError, match="dt=2025-03-01"):
        day_frame(tmp_path, [FIRST], CONFIG)


def _rooms(rng: np.random.Generator, n_rooms: int, shift: float = 0.0) -> tuple[NDArray, NDArray]:
    """Vectors of rooms that each have a centre of their own: [n_rooms * 20, 8]."""
    centres = rng.normal(size=(n_rooms, 8)) + shift
    return np.repeat(centres, 20, axis=0) + 0.2 * rng.normal(size=(n_rooms * 20, 8)), np.repeat(np.arange(n_rooms), 20)


def test_the_energy_test_takes_new_rooms_for_what_they_are_and_finds_a_shift():
    alarms = {"rooms": 0, "rows": 0, "shift": 0}
    for seed in range(10):
        rng = np.random.default_rng(seed)
        config = replace(CONFIG, seed=seed, embedding_rows=300, permutations=500)
        (reference, reference_rooms), (quiet, quiet_rooms) = _rooms(rng, 60), _rooms(rng, 15)
        shifted, shifted_rooms = _rooms(rng, 15, shift=0.7)
        rows = np.arange(len(reference)), np.arange(len(quiet))
        by_room = energy_test(reference, quiet, reference_rooms, quiet_rooms, config)
        by_row = energy_test(reference, quiet, *rows, config)
        found = energy_test(reference, shifted, reference_rooms, shifted_rooms, config)
        alarms["rooms"] += by_room.score > by_room.threshold
        alarms["rows"] += by_row.score > by_row.threshold
        alarms["shift"] += found.score > found.threshold
    assert alarms["rooms"] <= 1
    assert alarms["rows"] >= 7  # what permuting rows instead of rooms would cry
    assert alarms["shift"] >= 9


def test_too_few_rooms_to_judge_raise_no_alarm():
    rng = np.random.default_rng(0)
    (reference, reference_rooms), (current, current_rooms) = _rooms(rng, 30), _rooms(rng, 2, shift=5)
    test = energy_test(reference, current, reference_rooms, current_rooms, CONFIG)
    assert test.score > 0.1
    assert test.threshold == 1.0


def test_embeddings_without_the_room_of_each_row_are_refused(planted):
    with pytest.raises(DriftError, match="give a room a row"):
        DriftSide(planted["reference"].frame, vectors={"raw_llm": np.eye(3)})


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_permuted_scores_measure_what_evidently_measures(kind):
    """The permuted score of the real assignment of rooms is Evidently's score of the same data."""
    from orchestration.drift.evidently import column_score

    rng = np.random.default_rng(3)
    if kind == "numeric":
        before, now = pd.Series(rng.gamma(2, 30, 3_000)), pd.Series(rng.gamma(2, 36, 800))
    else:
        before, now = pd.Series(rng.choice(list("abcd"), 3_000)), pd.Series(rng.choice(list("abcde"), 800))
    chance = RoomPermutations.of(rng.integers(0, 50, 3_000), rng.integers(0, 20, 800), CONFIG)
    real = replace(chance, permuted=chance.label[None])
    assert real.column_scores(before, now, kind)[0] == pytest.approx(column_score(before, now, kind), rel=0.02)


def test_quiet_days_of_room_effects_stay_below_the_threshold_of_chance():
    """40 planted quiet days with strong room effects in a number and a category: at most the stated share of false alarms."""
    rng, alarms = np.random.default_rng(11), 0
    config = replace(CONFIG, false_alarms=0.05)
    for _ in range(40):
        sides = []
        for n_rooms, n in ((180, 4_000), (30, 800)):
            room = rng.integers(0, n_rooms, n)
            number, topic = rng.normal(size=n_rooms)[room] + 0.5 * rng.normal(size=n), rng.integers(0, 12, n_rooms)[room]
            sides.append(pd.DataFrame({"room_id": room, "number": number, "topic": topic.astype(str)}))
        chance = RoomPermutations.of(sides[0]["room_id"].to_numpy(), sides[1]["room_id"].to_numpy(), config)
        observed = replace(chance, permuted=chance.label[None])
        for name, kind in (("number", "numeric"), ("topic", "categorical")):
            null = chance.column_scores(sides[0][name], sides[1][name], kind)
            alarms += observed.column_scores(sides[0][name], sides[1][name], kind)[0] > np.quantile(null, 1 - 0.05 / 2)
    assert alarms <= 6  # 2 expected of 80


def test_the_threshold_of_chance_shares_the_false_alarms_among_all_tests():
    null, config = np.arange(100_001) / 100_000, replace(CONFIG, false_alarms=0.1)
    assert chance_threshold(null, 1, config) == pytest.approx(0.9, abs=1e-6)
    assert chance_threshold(null, 20, config) == pytest.approx(0.995, abs=1e-6)
    assert chance_threshold(np.zeros(0), 20, config) == 0


def test_a_day_of_too_few_rooms_is_not_judged(planted, tmp_path):
    for rooms, times in ((MINIMUM_ROOMS - 1, 0), (MINIMUM_ROOMS, CONFIG.permutations)):
        assert len(RoomPermutations.of(np.arange(30), np.arange(rooms), CONFIG).permuted) == times
    frame = day_frame(planted["marts"], [planted["days"][6]], CONFIG, planted["codes"])
    shifted = sorted(frame["room_id"].unique())[:4:2]
    result = drift_report(planted["reference"], DriftSide(frame[frame["room_id"].isin(shifted)]), CONFIG, tmp_path)
    assert any(column.drifted for column in result.columns.values()), "its columns are above their floors"
    assert (result.calibrated, result.drifted, result.content_drifted) == (False, False, False)
    assert result.sentence().startswith("Too few rooms to judge drift")
