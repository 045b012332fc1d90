"""Dagster's instance in a PostgreSQL server that dies for a minute in the middle of a retrain."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from livealign.home import Home
from livealign.simulation.archive import simulate
from livealign.simulation.config import SimulationConfig
from tests.support.fault_workspaces import assert_all_whole, champion_of, retrain_until
from tests.support.postgres_server import PostgresServer, binaries, postgres_server
from tests.support.ui_process import ENDED, Ui, ui_process

pytest.importorskip("dagster_postgres", reason="the optional extra `postgres` is not installed")
TOOLS = binaries()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # whole retrains, several in one test
    pytest.mark.skipif(TOOLS is None, reason="PostgreSQL is not installed (a Debian package)"),
]

AWAY_SECONDS = 60.0
DAY = date(2025, 6, 3)


@dataclass(frozen=True)
class Ground:
    """A workspace whose Dagster instance is in a server of its own."""

    home: Home
    archive: Path
    server: PostgresServer

    def kill_server_for_a_minute(self) -> threading.Timer:
        self.server.kill()
        back = threading.Timer(AWAY_SECONDS, self.server.start)
        back.start()
        return back


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("ground")
    simulate(SimulationConfig.tiny(), folder / "archive")
    assert TOOLS is not None
    with postgres_server(TOOLS) as server:
        yield Ground(Home(folder / "home", "simulator"), folder / "archive", server)


def test_a_retrain_whose_database_dies_ends_in_one_line_and_the_next_one_ends_well(ground: Ground) -> None:
    away: list[threading.Timer] = []
    options = ("--day", str(DAY))

    def kill() -> None:
        away.append(ground.kill_server_for_a_minute())

    code, said = retrain_until("llm_adapter", kill, ground.home.root, ground.archive, *options, **ground.server.variables)
    for timer in away:
        timer.join()
    assert len(away) == 1
    assert code == 1
    assert not any("Traceback" in line for line in said)
    assert f"PostgreSQL at 127.0.0.1:{ground.server.port}, does not answer" in said[-1], said[-3:]
    assert said[-1].endswith("look at the server, then run again, which continues")
    assert_all_whole(ground.home)
    assert champion_of(ground.home) is None
    code, said = retrain_until("landing", lambda: None, ground.home.root, ground.archive, *options, **ground.server.variables)
    assert code == 0, said[-3:]
    assert champion_of(ground.home) is not None


def test_a_run_of_the_daemon_ends_though_its_database_dies_and_leaves_all_whole(ground: Ground, tmp_path: Path) -> None:
    variables = ground.server.variables

    def statuses(ui: Ui) -> list[str]:
        try:
            return [run["status"] for run in ui.runs("daily_retrain")]
        except (OSError, AssertionError):  # the webserver cannot ask the database
            return ["?"]

    log = tmp_path / "ui.log"
    with ui_process(ground.home, ground.archive, [DAY], log, **variables) as ui:
        before = len(statuses(ui))
        ui.launch("daily_retrain", DAY)
        ui.until(lambda: "STARTED" in statuses(ui), "a run that works")
        ground.kill_server_for_a_minute().join()
        ui.until(lambda: {*statuses(ui)} <= ENDED, "the run has ended, or another has in its place")
        assert len(statuses(ui)) > before
        assert_all_whole(ground.home)
    assert champion_of(ground.home) is not None
