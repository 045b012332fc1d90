"""Variables of the graph: each impossible value is a finding that names the variable and the remedy."""

import os
from datetime import date
from pathlib import Path

import pytest

from livealign.retrain.captions import CAPTIONS, captions_file
from livealign.retrain.graph_variables import before_first_day, variable_findings

WRONG = {
    "LIVEALIGN_NIGHTLY": ("0 3 30 2 *", "every night"),
    "LIVEALIGN_FIRST_DAY": ("2020", "2025-02-30"),
    "LIVEALIGN_REPORTS_PORT": ("0", "65536", "http"),
    "DAGSTER_POSTGRES_PORT": ("99999", "-1"),
    "LIVEALIGN_DBT_TARGET": ("prod", ""),
    "LIVEALIGN_WAREHOUSE_THREADS": ("0", "many"),
    "LIVEALIGN_WAREHOUSE_MODELS_AT_ONCE": ("0", "1.5"),
    "LIVEALIGN_WAREHOUSE_MEMORY": ("0GB", "0%", "101%", "1KB", "99MB", "0.0GB", "much", "4", "4G B"),
    "LIVEALIGN_WEBHOOK_URL": ("https://host:99999/x", "https://host:0/", "https://host:port/", "http://", "hook", "http://[/"),
    "LIVEALIGN_WEBHOOK_FORMAT": ("xml",),
    "LIVEALIGN_CAPTIONS": ("/nope", "/nope.csv", "/", "/dev/zero", "~x.csv"),
    "LIVEALIGN_ID_KEY": ("k" * 65,),
    "DAGSTER_POSTGRES_HOST": ("db.example",),
}


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("LIVEALIGN_", "DAGSTER_"))]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("variable", WRONG)
def test_an_impossible_value_is_one_finding_that_names_the_variable(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(variable_findings()) == []
    for value in WRONG[variable]:
        monkeypatch.setenv(variable, value)
        (found,) = variable_findings()
        assert found.what.startswith(variable), value
        assert found.remedy
        assert found.stops


def test_each_wrong_variable_has_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LIVEALIGN_NIGHTLY", "LIVEALIGN_WAREHOUSE_MEMORY", "LIVEALIGN_WEBHOOK_URL"):
        monkeypatch.setenv(variable, WRONG[variable][0])
    assert len(list(variable_findings())) == 3


def test_possible_values_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "captions.csv").write_text("segment_id,caption\n")
    for variable, values in {
        "LIVEALIGN_WAREHOUSE_MEMORY": ("100MB", "4 GB", "1.5gb", "2GiB", "80%"),
        "LIVEALIGN_WEBHOOK_URL": ("https://hooks.example/T0/B0?x=1", "http://[::1]:8080/x", ""),
        "LIVEALIGN_CAPTIONS": (str(tmp_path / "captions.csv"), ""),
        "LIVEALIGN_NIGHTLY": ("30 2 * * 1-5", ""),
    }.items():
        for value in values:
            monkeypatch.setenv(variable, value)
            assert list(variable_findings()) == [], value


def test_captions_are_the_named_file_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert captions_file() is None
    (tmp_path / "teacher.parquet").write_bytes(b"")
    monkeypatch.setenv(CAPTIONS, str(tmp_path / "teacher.parquet"))
    assert captions_file() == tmp_path / "teacher.parquet"


def test_a_day_before_the_first_says_which_day_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEALIGN_FIRST_DAY", "2025-06-09")
    assert before_first_day(date(2025, 6, 9)) is None
    said = before_first_day(date(2025, 6, 8))
    assert said == "LIVEALIGN_FIRST_DAY=2025-06-09 is after 2025-06-08; set it to 2025-06-08 or earlier to retrain for that day"
