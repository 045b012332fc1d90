"""Drift on the simulator, five seeds: quiet days stay quiet, the shift is found on its day."""

import re
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from livealign.operation_config import DriftConfig
from livealign.simulation.archive import simulate
from livealign.simulation.config import NEW_WORDS, SimulationConfig
from livealign.simulation.topics import TOPICS
from livealign.simulation.world import TREND_TOPIC
from orchestration.drift.columns import day_frame
from orchestration.drift.report import DriftResult, DriftSide, drift_report
from orchestration.drift.surprise import room_surprise
from orchestration.drift.words import room_words
from tests.planted.simulated_marts import SimulatedMarts, simulated_marts, taste_scores

pytestmark = pytest.mark.slow

SEEDS = (17, 18, 19, 20, 21)
REFERENCE_DAYS = 5
NEW_TOPIC = TOPICS[TREND_TOPIC]
NEW_TOPIC_WORDS = set(re.findall(r"[a-z]{3,}", f"{NEW_TOPIC.things} {NEW_TOPIC.acts} {NEW_TOPIC.events} {NEW_TOPIC.spanish}"))
CONFIG = DriftConfig(sample_rows=10_000, embedding_rows=1_000, permutations=2_000)


def judge(marts: SimulatedMarts, days: list[date], day: date, out: Path) -> DriftResult:
    """The report of `day`, with a champion that was held out on the last of `days` and knows the tastes of then."""

    def side(days: list[date], scored: date) -> DriftSide:
        rows = np.isin(marts.day, [str(one) for one in days])
        return DriftSide(
            day_frame(marts.folder, days, CONFIG, marts.codes),
            room_words(marts.folder, days, CONFIG),
            room_surprise(marts.folder, scored, taste_scores(out.parent / "archive", scored, held_out)),
            vectors={"hashed_words": marts.vectors[rows]},
            vector_rooms=marts.room_id[rows],
        )

    held_out = days[-1]
    return drift_report(side(days, held_out), side([day], day), CONFIG, out)


def platform(folder: Path, seed: int, shift_day: int, days: int, new_words: float = 0.0) -> tuple[SimulatedMarts, list[date]]:
    """A platform of a closed vocabulary, or of the open world, where every day has words that no day before had."""
    config = SimulationConfig(users=600, seed=seed, shift_day=shift_day, days=days, new_words=new_words)
    simulate(config, folder / "archive")
    return simulated_marts(folder / "archive", folder / "marts", REFERENCE_DAYS, seed), config.dates


def test_the_planted_shift_is_found_on_its_day_and_its_new_words_are_named_first(tmp_path: Path) -> None:
    for seed in SEEDS:
        marts, days = platform(tmp_path / str(seed), seed, shift_day=REFERENCE_DAYS, days=REFERENCE_DAYS + 1)
        result = judge(marts, days[:REFERENCE_DAYS], days[REFERENCE_DAYS], tmp_path / str(seed) / "report")
        assert result.drifted, f"seed {seed}: {result.sentence()}"
        assert result.content_drifted
        first = next(iter(result.columns))
        assert first == "new_words", f"seed {seed}: {result.sentence()}"
        assert result.columns["surprise"].drifted, f"seed {seed}: {result.sentence()}"
        examples = set(result.columns[first].examples)
        assert len(examples & NEW_TOPIC_WORDS) >= len(examples) / 2, f"seed {seed}: {sorted(examples)}"


def test_in_the_open_world_the_words_of_an_ordinary_day_are_no_drift(tmp_path: Path) -> None:
    """With the new words that the simulator has by default."""
    marts, days = platform(tmp_path, SEEDS[0], shift_day=99, days=REFERENCE_DAYS + 1, new_words=NEW_WORDS)
    result = judge(marts, days[:REFERENCE_DAYS], days[REFERENCE_DAYS], tmp_path / "report")
    assert not result.columns["new_words"].drifted, result.sentence()


def test_of_twenty_quiet_days_at_most_one_raises_an_alarm(tmp_path: Path) -> None:
    alarms = []
    for seed in SEEDS:
        marts, days = platform(tmp_path / str(seed), seed, shift_day=99, days=REFERENCE_DAYS + 4)
        for day in days[REFERENCE_DAYS:]:
            result = judge(marts, days[:REFERENCE_DAYS], day, tmp_path / str(seed) / "report")
            assert result.calibrated
            if result.drifted:
                alarms.append(f"seed {seed}, {day}: {result.sentence()}")
    assert len(alarms) <= 1, alarms
