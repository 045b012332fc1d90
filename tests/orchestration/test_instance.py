"""Where Dagster keeps its runs: SQLite in the workspace, or a PostgreSQL server that variables name."""

import os
from pathlib import Path

import pytest
import yaml
from dagster import DagsterInstance
from sqlalchemy.exc import OperationalError

from livealign.errors import LiveAlignError
from livealign.home import Home
from orchestration.runs.instance import DAGSTER_YAML, _claim, lost_database, prepare_dagster_home

NAMES = {"HOST": "db.example", "USER": "dagster", "PASSWORD": "secret-of-the-database", "DB": "dagster"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in NAMES:
        monkeypatch.delenv(f"DAGSTER_POSTGRES_{name}", raising=False)
    monkeypatch.setenv("DAGSTER_POSTGRES_PORT", "5432")  # which is set where it is missing
    monkeypatch.setenv("DAGSTER_HOME", "of somebody else")
    return Home(tmp_path, "simulator")


def settings_of(home: Home) -> str:
    prepare_dagster_home(home)
    return (home.dagster / "dagster.yaml").read_text()


def test_the_variables_decide_and_no_secret_is_written(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dagster_postgres", reason="the optional extra `postgres` is not installed")
    assert settings_of(home) == DAGSTER_YAML
    for name, value in NAMES.items():
        monkeypatch.setenv(f"DAGSTER_POSTGRES_{name}", value)
    text = settings_of(home)
    assert yaml.safe_load(text)["storage"]["postgres"]["postgres_db"]["hostname"] == {"env": "DAGSTER_POSTGRES_HOST"}
    assert "secret-of-the-database" not in text
    monkeypatch.delenv("DAGSTER_POSTGRES_HOST")
    assert settings_of(home) == DAGSTER_YAML


def test_a_server_without_its_other_variables_is_one_line(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_HOST", "db.example")
    monkeypatch.setenv("DAGSTER_POSTGRES_USER", "dagster")
    with pytest.raises(LiveAlignError, match="DAGSTER_POSTGRES_PASSWORD, DAGSTER_POSTGRES_DB not; set all of them"):
        prepare_dagster_home(home)


def test_a_lost_server_is_named_and_other_errors_are_not_its_fault(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = OperationalError("select 1", {}, Exception("connection refused\n\tIs it running?"))
    wrapped = RuntimeError("too many retries")
    wrapped.__cause__ = refused
    assert lost_database(wrapped) is None  # SQLite
    monkeypatch.setenv("DAGSTER_POSTGRES_HOST", "db.example")
    line = lost_database(wrapped)
    assert line is not None
    assert "\n" not in line
    assert line.startswith(
        "Dagster's database, PostgreSQL at db.example:5432, does not answer (connection refused Is it running?)"
    )
    assert lost_database(ValueError("another")) is None


@pytest.mark.timeout(20)
def test_the_id_of_a_workspace_is_made_once_and_what_is_none_is_one_line(home: Home) -> None:
    with DagsterInstance.ephemeral() as instance:
        _claim(instance, home)
        _claim(instance, home)
        file = home.dagster / "workspace.id"
        made = file.read_bytes()
        for damaged in (b"\xff\xfe", b"", b"ABC", None):
            file.unlink()
            if damaged is None:
                os.mkfifo(file)
            else:
                file.write_bytes(damaged)
            with pytest.raises(
                LiveAlignError, match=r"workspace.id (holds no id of a workspace|cannot be read .*); restore it, or move it"
            ):
                _claim(instance, home)
        file.unlink()
        file.write_bytes(made + b"\n")
        _claim(instance, home)


def test_settings_of_dagster_that_are_no_text_are_written_again(home: Home) -> None:
    prepare_dagster_home(home)
    (home.dagster / "dagster.yaml").write_bytes(b"\xff\xfe")
    assert settings_of(home) == DAGSTER_YAML
