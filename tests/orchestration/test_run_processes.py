"""Which runs are dead: asked of the code server that started them, which may be dead, busy, or without its database."""

import json
import logging
import multiprocessing
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, job, op
from dagster._daemon.monitoring.run_monitoring import monitor_started_run

from livealign.home import Home
from orchestration.runs.dagster_private import GRPC_INFO_TAG, DagsterApiServer, WorkerStatus
from orchestration.runs.instance import open_instance
from orchestration.runs.run_processes import LOOK, WatchedRunLauncher, look_again_after_errors


@op
def nothing() -> None: ...


@job
def planted() -> None:
    nothing()


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterInstance]:
    for name in ("DAGSTER_POSTGRES_HOST", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    with open_instance(Home(tmp_path, "simulator")) as opened:
        yield opened


def started(instance: DagsterInstance, where: dict[str, Any] | None = None) -> DagsterRun:
    tags = {} if where is None else {GRPC_INFO_TAG: json.dumps({"host": "localhost", **where})}
    return instance.create_run_for_job(planted, tags=tags, status=DagsterRunStatus.STARTED)


def test_the_instance_asks_and_a_run_of_no_code_server_counts_as_alive(instance: DagsterInstance) -> None:
    assert isinstance(instance.run_launcher, WatchedRunLauncher)
    assert instance.run_launcher.supports_check_run_worker_health
    assert instance.run_launcher.check_run_worker_health(started(instance)).status == WorkerStatus.RUNNING


def test_the_daemon_reports_a_dead_run_as_failed_and_leaves_the_others(instance: DagsterInstance, tmp_path: Path) -> None:
    dead, by_hand = started(instance, {"socket": str(tmp_path / "gone")}), started(instance)
    for run in (dead, by_hand):
        record = instance.get_run_record_by_id(run.run_id)
        assert record is not None
        workspace: Any = None  # is asked only where a run can be resumed
        monitor_started_run(instance, workspace, record, logging.getLogger(__name__))
    found = [instance.get_run_by_id(run.run_id) for run in (dead, by_hand)]
    assert [run and run.status for run in found] == [DagsterRunStatus.FAILURE, DagsterRunStatus.STARTED]
    (said,) = [log.message for log in instance.all_logs(dead.run_id) if "Marking run" in log.message]
    assert "the code server that started this run is gone" in said


def test_a_run_is_dead_where_its_code_server_is_gone_and_not_where_it_is_busy(
    instance: DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.runs.run_processes._PATIENCE_SECONDS", 1.0)
    path, ask = tmp_path / "s", instance.run_launcher.check_run_worker_health
    by_path = started(instance, {"socket": str(path)})
    assert ask(by_path).status == WorkerStatus.FAILED, "no such socket"
    with socket.socket(socket.AF_UNIX) as listens:
        listens.bind(str(path))
        assert ask(by_path).status == WorkerStatus.FAILED, "a socket that a dead server left behind"
        listens.listen()
        assert ask(by_path).status == WorkerStatus.RUNNING, "a server that does not answer"
    with socket.socket() as listens:
        listens.bind(("127.0.0.1", 0))
        by_port = started(instance, {"host": "127.0.0.1", "port": listens.getsockname()[1]})
        assert ask(by_port).status == WorkerStatus.FAILED
        listens.listen()
        assert ask(by_port).status == WorkerStatus.RUNNING


def test_a_code_server_looks_again_after_an_error(instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    look_again_after_errors()
    look_again_after_errors()
    dead, run = multiprocessing.get_context("spawn").Process(target=print), started(instance)
    dead.start()
    dead.join()
    server: Any = DagsterApiServer.__new__(DagsterApiServer)  # without its threads and its code
    server._execution_lock, server._shutdown_once_executions_finish_event = threading.Lock(), threading.Event()
    server._executions, server._termination_events = {run.run_id: (dead, instance.get_ref())}, {run.run_id: threading.Event()}
    server._termination_times = {}

    def is_away(ref: object) -> DagsterInstance:
        raise ConnectionError("the database is away")

    with monkeypatch.context() as while_away:
        while_away.setattr(DagsterInstance, "from_ref", is_away)
        getattr(server, LOOK)()
    assert list(server._executions) == [run.run_id]
    getattr(server, LOOK)()
    assert server._executions == {}
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status == DagsterRunStatus.FAILURE
