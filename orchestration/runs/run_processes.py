"""Runs whose process is dead, found though the code server or the database died too.

A code server starts each run as a process of its own and reports the run as failed when the process dies. It cannot where it
died itself, for example with the machine: Dagster's own launcher then leaves the run "started" for ever, with its place among
the runs that may work at once. And where the database is away in that moment, Dagster's code server stops looking at all, and
does not end when it is told to.
"""

import json
import logging
import socket
from functools import wraps
from typing import Any

from dagster import DagsterRun, DefaultRunLauncher

from orchestration.runs.dagster_private import (
    GRPC_INFO_TAG,
    CanCancelExecutionRequest,
    CanCancelExecutionResult,
    CheckRunHealthResult,
    DagsterApiServer,
    DagsterGrpcClient,
    DagsterUserCodeUnreachableError,
    WorkerStatus,
    deserialize_value,
)

logger = logging.getLogger(__name__)

LOOK = "_check_for_orphaned_runs"  # the method of the code server that looks for dead processes
_PATIENCE_SECONDS = 5.0


class WatchedRunLauncher(DefaultRunLauncher):
    """Dagster's own launcher, which also says whether the process of a run is alive.

    The daemon asks for every run twice a minute (`run_monitoring` in dagster.yaml), and reports dead ones as failed.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether the daemon may ask: yes."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the code server that started a run lives, and has its process.

        A run that no code server started, such as one of `make retrain`, counts as alive, and so does one whose code server
        is too busy to answer.
        """
        if GRPC_INFO_TAG not in run.tags:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        where = json.loads(run.tags[GRPC_INFO_TAG])
        if _is_gone(where):
            return CheckRunHealthResult(WorkerStatus.FAILED, "the code server that started this run is gone")
        server = DagsterGrpcClient(where.get("port"), where.get("socket"), where["host"], use_ssl=bool(where.get("use_ssl")))
        try:
            answer = server.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=int(_PATIENCE_SECONDS))
        except DagsterUserCodeUnreachableError:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "the process of this run is dead")


def _is_gone(where: dict[str, Any]) -> bool:
    """Whether no process listens there."""
    path = where.get("socket")
    with socket.socket(socket.AF_UNIX if path else socket.AF_INET) as to:
        to.settimeout(_PATIENCE_SECONDS)
        try:
            to.connect(path or (where["host"], int(where["port"])))
        except (FileNotFoundError, ConnectionRefusedError):
            return True
        except OSError:
            return False
    return False


def look_again_after_errors() -> None:
    """Have a code server in this process look for dead runs again after an error; repeatable."""
    look = getattr(DagsterApiServer, LOOK)
    if hasattr(look, "__wrapped__"):
        return

    @wraps(look)
    def patient(self: DagsterApiServer) -> None:
        try:
            look(self)
        except Exception as error:  # it has changed nothing, and is called again in a second
            logger.warning("whether the processes of runs are alive is not known: %s", error)

    setattr(DagsterApiServer, LOOK, patient)
