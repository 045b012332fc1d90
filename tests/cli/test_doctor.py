"""`livealign doctor`: the machine and what a retrain would miss, for a person and for a bug report."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from livealign.cli.main import app


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments])


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")


def test_it_names_the_machine_and_ends_with_0_where_nothing_is_missing() -> None:
    said = doctor()
    assert said.exit_code == 0
    for expected in ("number type", "cores", "memory", "torch", "dbt-duckdb", "smollm2-135m", "a retrain has what it needs"):
        assert expected in said.output


def test_it_ends_with_1_and_a_line_for_each_thing_that_is_missing() -> None:
    said = doctor("--platform", "twitch", "--json")
    assert said.exit_code == 1
    (found,) = json.loads(said.output)["findings"]
    assert found["stops"]
    assert "archive/twitch is no folder" in found["what"]
    assert "ARCHIVE=folder" in found["remedy"]


def test_a_wrong_setting_or_platform_is_a_finding_beside_the_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    said = json.loads(doctor("--set", "finetune.stepz=3", "--json").output)
    assert "finetune.steps" in str(said["findings"])
    assert said["packages"]["torch"]
    assert "there is no platform 'nowhere'" in doctor("--platform", "nowhere").output


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEALIGN_WRITE_KEYS", "hunter2")
    monkeypatch.setenv("LIVEALIGN_REDIS_URL", "redis://user:hunter2@host")
    monkeypatch.setenv("https_proxy", "http://user:hunter2@proxy")
    monkeypatch.setenv("LIVEALIGN_SEED", "5")
    said = doctor("--json").output
    assert "hunter2" not in said
    assert json.loads(said)["environment"]["LIVEALIGN_WRITE_KEYS"] == "(set)"
    assert json.loads(said)["environment"]["LIVEALIGN_SEED"] == "5"


def test_variables_of_the_graph_and_the_store_are_looked_at_as_before_a_retrain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEALIGN_NIGHTLY", "every night")
    monkeypatch.setenv("LIVEALIGN_WEBHOOK_URL", "https://host:99999/hunter2")
    (tmp_path / "file").write_text("")
    said = doctor("--set", f"machines.store={tmp_path / 'file'}", "--json")
    found = [one["what"].partition("=")[0] for one in json.loads(said.output)["findings"]]
    assert found == ["LIVEALIGN_NIGHTLY", "LIVEALIGN_WEBHOOK_URL is no URL", "machines.store "]
    assert said.exit_code == 1
    assert "hunter2" not in said.output
    assert "LIVEALIGN_NIGHTLY" in doctor("--set", "finetune.stepz=3", "--json").output, "beside a wrong setting too"
