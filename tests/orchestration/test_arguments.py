"""The one-line errors of a retrain for wrong arguments and variables, before anything is written."""

import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import typer

from livealign.cli.command import run_command
from livealign.errors import BackboneError, LiveAlignError
from livealign.home import Home
from livealign.llm.backbone import choose_device
from livealign.platforms.registry import EXPECTED, PLATFORMS
from livealign.retrain.findings import refuse_findings
from livealign.retrain.preflight import check_retrain
from orchestration import retrain, ui
from orchestration.resources import Workspace
from orchestration.retrain import main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("variables", "options", "said"),
    [
        ({"LIVEALIGN_SEED": "abc"}, [], "LIVEALIGN_SEED=abc: takes a whole number"),
        ({"LIVEALIGN_NIGHTLY": "every night"}, [], "LIVEALIGN_NIGHTLY='every night': not a cron"),
        ({"LIVEALIGN_FIRST_DAY": "2020"}, [], "LIVEALIGN_FIRST_DAY='2020': "),
        ({"LIVEALIGN_REPORTS_PORT": "http"}, [], "LIVEALIGN_REPORTS_PORT='http': it takes a port"),
        ({"LIVEALIGN_DBT_TARGET": "prod"}, [], "LIVEALIGN_DBT_TARGET='prod': it is local or shared"),
        (
            {"LIVEALIGN_DBT_TARGET": "shared", "LIVEALIGN_SHARED_WAREHOUSE": "/no/such/folder/w.duckdb"},
            [],
            "LIVEALIGN_SHARED_WAREHOUSE='/no/such/folder/w.duckdb': it takes a DuckDB file in a folder",
        ),
        ({"LIVEALIGN_WAREHOUSE_MEMORY": "much"}, [], "LIVEALIGN_WAREHOUSE_MEMORY='much': it takes a size"),
        ({"LIVEALIGN_WAREHOUSE_THREADS": "0"}, [], "LIVEALIGN_WAREHOUSE_THREADS='0': it takes a whole number"),
        ({"LIVEALIGN_WEBHOOK_URL": "hook/secret"}, [], "LIVEALIGN_WEBHOOK_URL is no URL"),
        ({"LIVEALIGN_CONFIG": "gone.toml"}, [], "LIVEALIGN_CONFIG names gone.toml"),
        ({}, ["--profile", "tinny"], "--profile tinny: there is no profile 'tinny'; did you mean tiny?"),
        ({}, ["--day", "2025-6-5"], "--day 2025-6-5: "),
        ({}, ["--accept", "everything"], "--accept 'everything': only volumes"),
        ({}, ["--accept", ""], "--accept '': only volumes"),
        ({}, ["--days", "-1"], "--days -1: is from 1"),
        ({}, ["--seed", "x"], "--seed x: takes a whole number"),
        ({}, ["--platform", "simulater"], "there is no platform 'simulater'"),
        ({}, ["--set", "finetune.stepz=1"], "--set finetune.stepz=1: no such setting; did you mean finetune.steps?"),
        ({}, ["--dayz", "1"], "No such option: --dayz"),
    ],
)
def test_a_retrain_that_cannot_start_says_why_in_one_line_and_leaves_nothing(
    variables: dict[str, str],
    options: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LIVEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LIVEALIGN_PLATFORM", "simulator")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    monkeypatch.setattr(sys, "argv", ["retrain", *options])
    with pytest.raises(SystemExit) as ended:
        run_command(app)
    assert ended.value.code in (1, 2)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert "secret" not in lines[0]
    assert not (tmp_path / "home").exists()


def test_each_of_several_faults_has_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LIVEALIGN_NIGHTLY", "bad")
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    monkeypatch.setattr(sys, "argv", ["retrain", "--profile", "tiny", "--archive", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit):
        run_command(app)
    heading, *faults = capsys.readouterr().err.strip().splitlines()
    assert "2 things keep the retrain from starting" in heading
    assert ["LIVEALIGN_NIGHTLY='bad'" in faults[0], "is no folder" in faults[1]] == [True, True]


def test_a_device_that_there_is_not_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEALIGN_DEVICE", "abacus")
    with pytest.raises(BackboneError, match="LIVEALIGN_DEVICE='abacus': there is no such device"):
        choose_device()


def test_a_home_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LiveAlignError, match=r"LIVEALIGN_HOME=.*file: .* cannot be made \(Not a directory\)"):
        Home(tmp_path / "file", "simulator").activate()


def make(*variables: str) -> str:
    """What `make retrain` would run, and the LIVEALIGN_SET it would run it with."""
    probe = "-f", "Makefile", "-f", "-", "--no-print-directory", "--silent", "probe", *variables
    recipe = 'probe: ; @printenv LIVEALIGN_SET || true; echo "$(ARGS)"\n'
    command = ["make", *probe]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LIVEALIGN_")}
    return subprocess.run(command, cwd=ROOT, env=environment, input=recipe, capture_output=True, text=True, check=True).stdout


def test_make_hands_settings_over_as_they_are_and_names_no_profile_unasked() -> None:
    assert make().split() == ["--platform", "simulator"]
    said = make("SET=ranker.hidden=[8, 4] codes.levels=2", "PROFILE=tiny", "SEED=3").splitlines()
    assert said[0] == "ranker.hidden=[8, 4] codes.levels=2"
    assert said[1].split() == ["--platform", "simulator", "--profile", "tiny", "--seed", "3"]


@pytest.mark.slow
def test_a_process_of_the_retrain_ends_with_one_line() -> None:
    environment = {**os.environ, "LIVEALIGN_SEED": "abc"}
    command = [sys.executable, "-m", "orchestration.retrain"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [done.stderr.strip()]


@pytest.mark.parametrize("platform", [name for name in PLATFORMS if name != "simulator"])
def test_a_retrain_without_an_archive_says_what_the_platforms_archive_looks_like(
    platform: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LIVEALIGN_PLATFORM", platform)
    monkeypatch.delenv("LIVEALIGN_ARCHIVE", raising=False)
    workspace = Workspace.from_environment()
    with pytest.raises(LiveAlignError) as refused:
        refuse_findings(check_retrain(workspace.home, workspace.archive, workspace.profile.backbone), print)
    assert str(tmp_path / "home" / "archive" / platform) in str(refused.value)
    assert f"give an archive of platform {platform} by ARCHIVE=folder, with {EXPECTED[platform]} in it" in str(refused.value)


def test_a_first_day_after_the_days_of_a_retrain_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LIVEALIGN_PLATFORM", "parquet")
    monkeypatch.setenv("LIVEALIGN_ARCHIVE", str(tmp_path))
    monkeypatch.setenv("LIVEALIGN_FIRST_DAY", "2025-06-09")
    monkeypatch.setattr(retrain, "archive_days", lambda _, __: [date(2025, 6, 8), date(2025, 6, 9)])
    with pytest.raises(LiveAlignError, match=r"LIVEALIGN_FIRST_DAY=2025-06-09 is after 2025-06-08, .*set it to 2025-06-08"):
        retrain.prepare(Workspace.from_environment(), None)


def test_a_retrain_with_an_incomplete_backbone_ends_before_landing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, archive = tmp_path / "model", tmp_path / "archive"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "llama"}')
    (model / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1")
    archive.mkdir()
    monkeypatch.setenv("LIVEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LIVEALIGN_PLATFORM", "parquet")
    monkeypatch.setenv("LIVEALIGN_ARCHIVE", str(archive))
    monkeypatch.setenv("LIVEALIGN_BACKBONE", str(model))
    monkeypatch.setattr(retrain, "archive_days", lambda _, __: [date(2025, 6, 9)])
    workspace = Workspace.from_environment()
    with pytest.raises(BackboneError, match="git lfs pull"):
        retrain.prepare(workspace, None)
    assert not workspace.home.landing.exists()


def test_a_ui_of_an_unknown_platform_or_with_impossible_variables_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LIVEALIGN_PLATFORM", "simulater")
    with pytest.raises(LiveAlignError, match="there is no platform 'simulater'"):
        ui.main()
    monkeypatch.setenv("LIVEALIGN_PLATFORM", "simulator")
    monkeypatch.setenv("LIVEALIGN_NIGHTLY", "every night")
    monkeypatch.setenv("LIVEALIGN_REPORTS_PORT", "0")
    with pytest.raises(LiveAlignError) as refused:
        ui.main()
    assert len(str(refused.value).splitlines()) == 3, "a line for each"
    assert not (tmp_path / "home").exists()
