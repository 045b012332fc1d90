"""A home whose name is full of what SQL, patterns and format strings take for syntax works, or is refused at once."""

from datetime import datetime
from pathlib import Path

import pytest

from livealign.dataset.marts import publish_marts
from livealign.errors import LiveAlignError
from livealign.home import Home
from livealign.landing.validate import validate_landing
from livealign.operation_config import DriftConfig
from livealign.release.snapshot import busiest_time
from orchestration.drift.columns import day_frame
from tests.planted import slow_warehouse
from tests.planted.landing import DAYS, REJECTS, planted_rows
from tests.planted.landing_rows import write_landing
from tests.support.run_dbt import Dbt, rows

ODD = """it's [a-b] {x} {{y}} "q" 50% ; 中"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    root = tmp_path_factory.mktemp("odd") / ODD
    home = Home(root, "simulator")
    home.activate()
    write_landing(home.landing, DAYS, planted_rows(), REJECTS)
    return home


def test_a_landing_in_an_odd_home_is_validated(home):
    assert {problem.check for problem in validate_landing(home.landing)} >= {"unknown_room"}


@pytest.mark.slow
def test_dbt_builds_marts_in_an_odd_home_and_they_are_read(home):
    (home.root / "dbt").mkdir()
    done = Dbt(home.root / "dbt").run("build", home.landing, home.warehouse_file, DAYS, "--exclude-resource-type", "unit_test")
    assert done.success, done.messages
    found = rows(home.warehouse_file, "select impression_id, click from marts.interactions")
    expected = slow_warehouse.interactions(planted_rows(), datetime(2025, 6, 4))
    assert len(found) > 100
    assert all(row["click"] == expected[row["impression_id"]]["click"] for row in found)
    assert publish_marts(home.warehouse_tables, home.marts)["interactions"] == len(found)
    assert 0 < len(day_frame(home.marts, DAYS, DriftConfig())) <= len(found)  # what drift reads
    assert busiest_time(home.marts, DAYS[-1])  # what a release's snapshot reads


@pytest.mark.parametrize(
    "name",
    [
        "a\\b",
        "line\nbreak",
        "tab\t",
        "year=2025",
        "what?",
        "a*",
        "a::b",
        "no #1",
        "esc\x1b[31m",
        b"\xff".decode("utf-8", "surrogateescape"),
    ],
)
def test_a_home_that_could_not_be_read_is_refused_at_once(monkeypatch, tmp_path, name):
    monkeypatch.setenv("LIVEALIGN_HOME", str(tmp_path / name))
    with pytest.raises(LiveAlignError, match="choose a") as error:
        Home.from_environment("simulator")
    assert "\n" not in str(error.value)
    assert not list(Path(tmp_path).iterdir())
