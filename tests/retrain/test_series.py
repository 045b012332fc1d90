"""The series of the last retrain, for Prometheus."""

import re
from datetime import date
from pathlib import Path

from livealign.files import replace_json
from livealign.home import Home
from livealign.release.decisions import decision_file
from livealign.retrain.series import FILE, write_series

SUMMARY = {"total_seconds": 93.5, "drift": {"content_drifted": True}}
NOW = 1_749_600_000.0


def decided(home: Home, day: int, decision: str, rule: str) -> None:
    release = f"2025-06-0{day}-0123456789ab"
    numbers = {"challenger": {"day": release[:10]}}
    record = {"release": release, "against": None, "decision": decision, "rule": rule, "reason": "", "numbers": numbers}
    replace_json(decision_file(home.releases, release), record | {"decided_at": f"2025-06-0{day}T04:00:00+00:00"})


def values(file: Path) -> dict[str, float]:
    found = re.findall(r'^(\w+)\{platform="simulator"\} (\S+)$', file.read_text(), re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_the_series_say_when_how_long_and_what_was_decided(tmp_path: Path) -> None:
    home = Home(tmp_path, "simulator")
    home.releases.mkdir(parents=True)
    decided(home, 1, "promote", "first_release")
    decided(home, 2, "keep", "worse")
    decided(home, 3, "keep", "failed_checks")
    (home.releases / "champion").write_text("2025-06-01-0123456789ab\n")
    file = write_series(home, date(2025, 6, 3), SUMMARY, NOW)
    assert file == home.reports / FILE
    assert values(file) == {
        "livealign_retrain_finished_timestamp_seconds": NOW,
        "livealign_retrain_day_timestamp_seconds": 1_748_908_800.0,  # date -u -d 2025-06-03 +%s
        "livealign_retrain_seconds": 93.5,
        "livealign_gate_refused_days": 2.0,
        "livealign_content_drifted": 1.0,
        "livealign_champion_day_timestamp_seconds": 1_748_736_000.0,
    }
    lines = file.read_text().splitlines()
    assert len([line for line in lines if line.startswith("# TYPE")]) == 6
    decided(home, 4, "keep", "tie")
    write_series(home, date(2025, 6, 4), SUMMARY, NOW)
    assert values(file)["livealign_gate_refused_days"] == 0, "the same models again are no refusal"


def test_before_the_first_promotion_there_is_no_champion_to_tell_the_age_of(tmp_path: Path) -> None:
    home = Home(tmp_path, "simulator")
    found = values(write_series(home, date(2025, 6, 3), SUMMARY, NOW))
    assert "livealign_champion_day_timestamp_seconds" not in found
    assert found["livealign_gate_refused_days"] == 0
