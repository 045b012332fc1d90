"""Drift on the simulated platform, five seeds: quiet days stay quiet."""

from datetime import date
from pathlib import Path

import pytest

from livealign.config import DriftConfig
from livealign.simulation import SimulationConfig, simulate
from orchestration.drift import DriftResult, day_frame, drift_report, reference_frame
from tests.simulated_marts import SimulatedMarts, simulated_marts

pytestmark = pytest.mark.slow

SEEDS = (17, 18, 19, 20, 21)
REFERENCE_DAYS = 5
CONFIG = DriftConfig(sample_rows=10_000, embedding_rows=1_000, permutations=2_000)


def judge(marts: SimulatedMarts, days: list[date], day: date, out: Path) -> DriftResult:
    before = [str(one) in {str(known) for known in days} for one in marts.day]
    now = [one == str(day) for one in marts.day]
    return drift_report(
        reference_frame(marts.folder, days, CONFIG, marts.codes),
        day_frame(marts.folder, [day], CONFIG, marts.codes),
        {"words": (marts.vectors[before], marts.vectors[now])},
        CONFIG,
        out,
        rooms=(marts.room_id[before], marts.room_id[now]),
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
