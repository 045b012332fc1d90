"""Drift on the simulated platform, five seeds: quiet days stay quiet, and the planted shift is found on its day."""

from datetime import date
from pathlib import Path

import pytest

from livealign.config import DriftConfig
from livealign.simulation import SimulationConfig, simulate
from orchestration.drift import DriftResult, day_frame, drift_report
from orchestration.drift_words import NEW_WORDS, room_words
from tests.simulated_marts import SimulatedMarts, simulated_marts

pytestmark = pytest.mark.slow

SEEDS = (17, 18, 19, 20, 21)
REFERENCE_DAYS = 5
CONFIG = DriftConfig(sample_rows=10_000, embedding_rows=1_000, permutations=2_000)


def judge(marts: SimulatedMarts, days: list[date], day: date, out: Path) -> DriftResult:
    before = [str(one) in {str(known) for known in days} for one in marts.day]
    now = [one == str(day) for one in marts.day]
    return drift_report(
        day_frame(marts.folder, days, CONFIG, marts.codes),
        day_frame(marts.folder, [day], CONFIG, marts.codes),
        {"words": (marts.vectors[before], marts.vectors[now])},
        CONFIG,
        out,
        rooms=(marts.room_id[before], marts.room_id[now]),
        words=(room_words(marts.folder, days, CONFIG), room_words(marts.folder, [day], CONFIG)),
    )


def platform(folder: Path, seed: int, shift_day: int, days: int) -> tuple[SimulatedMarts, list[date]]:
    config = SimulationConfig(users=600, seed=seed, shift_day=shift_day, days=days)
    simulate(config, folder / "archive")
    return simulated_marts(folder / "archive", folder / "marts", REFERENCE_DAYS, seed), config.dates


def test_of_twenty_quiet_days_at_most_one_raises_an_alarm(tmp_path: Path) -> None:
    alarms = []
    for seed in SEEDS:
        marts, days = platform(tmp_path / str(seed), seed, shift_day=99, days=REFERENCE_DAYS + 4)
        for day in days[REFERENCE_DAYS:]:
            result = judge(marts, days[:REFERENCE_DAYS], day, tmp_path / "report")
            assert result.calibrated
            if result.drifted:
                alarms.append(f"seed {seed}, {day}: {result.sentence()}")
    assert len(alarms) <= 1, alarms


def test_the_planted_shift_is_found_on_its_day_by_the_words_that_are_new(tmp_path: Path) -> None:
    """A new topic trends from day six on: its words are named first, for every seed."""
    for seed in SEEDS:
        marts, days = platform(tmp_path / str(seed), seed, shift_day=REFERENCE_DAYS, days=REFERENCE_DAYS + 1)
        result = judge(marts, days[:REFERENCE_DAYS], days[REFERENCE_DAYS], tmp_path / "report")
        assert result.drifted, f"seed {seed}: {result.sentence()}"
        assert result.content_drifted
        assert next(iter(result.columns)) == NEW_WORDS, f"seed {seed}: {result.sentence()}"
