"""Dagster's instance in a PostgreSQL server that dies for a minute, beside a daemon and a machine that die."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psutil
import pytest

from bentos.smoke import free_port
from livealign.dataset.marts import built_days
from livealign.home import Home
from livealign.simulation.archive import simulate
from livealign.simulation.config import SimulationConfig
from tests.support.fault_workspaces import ROOT, assert_all_whole, champion_of, environment_of, retrain, retrain_until
from tests.support.postgres_server import PostgresServer, binaries, postgres_server
from tests.support.ui_process import ENDED, PATIENCE, Ui, ui_process

pytest.importorskip("dagster_postgres", reason="the optional extra `postgres` is not installed")
TOOLS = binaries()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # whole retrains, several in one test
    pytest.mark.skipif(TOOLS is None, reason="PostgreSQL is not installed (a Debian package)"),
]

A_MINUTE, A_RESTART = 60.0, 15.0  # seconds that the server is away; Dagster tries for about ten
DAY = date(2025, 6, 3)
BACKFILL = "__ASSET_JOB"  # the job of the runs of backfills


@dataclass(frozen=True)
class Ground:
    """A workspace whose Dagster instance is in a server of its own."""

    home: Home
    archive: Path
    server: PostgresServer

    def kill_server_for(self, seconds: float) -> threading.Timer:
        self.server.kill()
        back = threading.Timer(seconds, self.server.start)
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
        away.append(ground.kill_server_for(A_MINUTE))

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


def statuses(ui: Ui, job: str = "daily_retrain") -> list[str]:
    """The states of the runs of a job, the newest first."""
    try:
        return [run["status"] for run in ui.runs(job)]
    except (OSError, AssertionError):  # the webserver cannot ask the database
        return ["?"]


def test_the_ui_goes_on_after_its_daemon_its_machine_and_its_database_died(ground: Ground, tmp_path: Path) -> None:
    variables, log = ground.server.variables, tmp_path / "ui.log"
    with ui_process(ground.home, ground.archive, [DAY], log, **variables) as ui:
        dead = ui.launch("daily_retrain", DAY)
        ui.until(lambda: "STARTED" in statuses(ui), "a run that works")
        processes = ui.processes()
        next(one for one in processes if "dagster._daemon" in one.cmdline()).kill()
        ui.process.wait(PATIENCE)  # `make ui` is not left without its daemon
        for one in processes:  # the run, which would go on, and what started it
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    ground.server.kill()
    ground.server.start()
    with ui_process(ground.home, ground.archive, [DAY], log, **variables) as ui:
        ui.until(lambda: ui.status(dead) in ENDED, "the dead run gives its place back")
        assert ui.status(dead) == "FAILURE"
        assert "the code server that started this run is gone" in ui.said(dead)
        ui.until(lambda: "STARTED" in statuses(ui), "the daemon has started it again")
        ground.kill_server_for(A_RESTART).join()
        ui.launch("daily_retrain", DAY)  # at once: no connection to the dead server is used
        ui.until(lambda: {*statuses(ui)} <= ENDED, "all runs have ended")
        assert_all_whole(ground.home)
        processes = ui.processes()
    assert champion_of(ground.home) is not None
    _, alive = psutil.wait_procs(processes, PATIENCE)
    assert alive == []


def test_a_backfill_whose_database_dies_ends_and_the_next_one_ends_well(ground: Ground, tmp_path: Path) -> None:
    days = SimulationConfig.tiny().dates[:2]
    with ui_process(ground.home, ground.archive, days, tmp_path / "ui.log", **ground.server.variables) as ui:
        ui.backfill(days)
        ui.until(lambda: "STARTED" in statuses(ui, BACKFILL), "a run that works")
        ground.kill_server_for(A_RESTART).join()
        ui.until(lambda: {*statuses(ui, BACKFILL)} <= ENDED, "the run has ended")
        known = len(statuses(ui, BACKFILL))
        ui.backfill(days)
        ui.until(
            lambda: len(statuses(ui, BACKFILL)) > known and {*statuses(ui, BACKFILL)} <= ENDED, "the next backfill has ended"
        )
        assert statuses(ui, BACKFILL)[0] == "SUCCESS"
    assert_all_whole(ground.home)
    assert set(days) <= set(built_days(ground.home.marts, "interactions"))


def test_a_database_of_another_workspace_is_refused_in_one_line(ground: Ground, tmp_path: Path) -> None:
    home = Home(tmp_path / "other", "simulator")
    code, said = retrain(home.root, ground.archive, "--profile", "tiny", "--day", str(DAY), **ground.server.variables)
    assert code == 1
    assert f"belongs to the workspace {ground.home.workspace}; give {home.workspace} an empty one" in said
    assert "Traceback" not in said
    command = [sys.executable, "-m", "orchestration.ui", "--port", str(free_port())]
    environment = environment_of(home.root, LIVEALIGN_ARCHIVE=str(ground.archive), **ground.server.variables)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert f"belongs to the workspace {ground.home.workspace}" in done.stderr
    assert "Traceback" not in done.stderr
