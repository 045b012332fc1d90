"""`livealign backbone compare` on planted days, and `fetch`."""

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from livealign.cli.main import app
from livealign.home import Home
from tests.planted.broadcasts import write_broadcasts


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["backbone", *arguments])


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("LIVEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LIVEALIGN_PROFILE", "tiny")
    monkeypatch.setenv("COLUMNS", "200")
    return Home.from_environment("simulator")


def test_it_prints_each_way_and_the_settings_and_writes_the_same_for_machines(home: Home, tmp_path: Path) -> None:
    write_broadcasts(home.marts)
    out = tmp_path / "rows.json"
    said = run("compare", "tiny", "--sample", "64", "--json", str(out))
    assert said.exit_code == 0, said.output
    assert "64 windows of 16 broadcasts, 2025-03-01 to 2025-03-02" in said.output
    written = json.loads(out.read_text())
    assert len(written["rows"]) == 6
    (chosen,) = [row for row in written["rows"] if row["chosen"]]
    settings = written["settings"]["tiny"]
    assert tomllib.loads(settings)["encoder"]["pooling"] == chosen["pooling"]
    assert settings.rstrip() in said.output
    assert "counted words" in said.output
    assert 0 < written["counted_words"]["half_to_half"] <= 1
    assert 0 < written["chance"]["half_to_half"] < chosen["half_to_half"] <= 1


def test_a_file_that_is_there_stays_and_nothing_is_measured(home: Home, tmp_path: Path) -> None:
    write_broadcasts(home.marts)
    out = tmp_path / "rows.json"
    out.write_text("mine")
    said = run("compare", "tiny", "--json", str(out))
    assert "stays as it is" in str(said.exception)
    assert out.read_text() == "mine"


def test_a_backbone_or_day_that_is_missing_is_named_with_the_remedy(home: Home) -> None:
    assert "livealign backbone fetch minilm-l6" in str(run("compare", "minilm-l6").exception)
    assert "run `make retrain`" in str(run("compare", "tiny").exception)
    write_broadcasts(home.marts)
    assert "run `make retrain`" in str(run("compare", "tiny", "--platform", "twitch").exception)


def test_fetch_checks_a_model_that_need_not_be_fetched() -> None:
    said = run("fetch", "tiny")
    assert said.exit_code == 0
    assert 'backbone = "tiny" in livealign.toml' in said.output
