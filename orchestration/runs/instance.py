"""The persistent Dagster instance of a workspace, and what a killed run leaves in it."""

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from sqlalchemy.exc import InterfaceError, OperationalError

from livealign.errors import LiveAlignError
from livealign.files import plain_file, replace_bytes
from livealign.home import Home
from livealign.retrain.graph_variables import POSTGRES_HOST, check_postgres

LAUNCHED_BY = "livealign/launched_by"  # run tag; "retrain" for the runs of `make retrain`
_ID = re.compile(rb"[0-9a-f]{32}")
_ID_REMEDY = "restore it, or move it away and give the workspace an empty database by DAGSTER_POSTGRES_DB"
OWNER = "livealign/workspace"  # key in Dagster's database: the workspace that it belongs to

# One slot in each pool: the only pool guards the warehouse file, which allows one writer. A run whose process dies gives its
# slots back and is started again. A run whose step fails is not: the step's own retry policy decides.
DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  pools:
    granularity: op
    default_limit: 1
  runs:
    max_concurrent_runs: 2
run_monitoring:
  enabled: true
  start_timeout_seconds: 300
  poll_interval_seconds: 30
  free_slots_after_run_end_seconds: 60
run_launcher:
  module: orchestration.runs.run_processes
  class: WatchedRunLauncher
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
freshness:
  enabled: true
"""


# The same in a PostgreSQL server, where DAGSTER_POSTGRES_HOST names one. Without a scheme SQLAlchemy 2.1 takes psycopg 3, which
# dagster-postgres does not bring.
POSTGRES_YAML = """\
storage:
  postgres:
    postgres_db:
      hostname:
        env: DAGSTER_POSTGRES_HOST
      port:
        env: DAGSTER_POSTGRES_PORT
      username:
        env: DAGSTER_POSTGRES_USER
      password:
        env: DAGSTER_POSTGRES_PASSWORD
      db_name:
        env: DAGSTER_POSTGRES_DB
      scheme: postgresql+psycopg2
"""


def prepare_dagster_home(home: Home) -> None:
    """Write the instance's settings and set DAGSTER_HOME for this process and its children.

    Raises:
        LiveAlignError: a PostgreSQL server is named, and one of its other variables or the package is missing.
    """
    wanted = DAGSTER_YAML
    if os.environ.get(POSTGRES_HOST):
        check_postgres()
        os.environ.setdefault("DAGSTER_POSTGRES_PORT", "5432")
        wanted = POSTGRES_YAML + DAGSTER_YAML
    settings = home.dagster / "dagster.yaml"
    if not settings.is_file() or settings.read_bytes() != wanted.encode():
        replace_bytes(settings, wanted.encode())
    os.environ["DAGSTER_HOME"] = str(home.dagster)


@contextmanager
def open_instance(home: Home) -> Iterator[DagsterInstance]:
    """The workspace's Dagster instance, for the time of the block.

    Raises:
        LiveAlignError: its database belongs to another workspace.
    """
    prepare_dagster_home(home)
    with DagsterInstance.get() as instance:
        if os.environ.get(POSTGRES_HOST):
            _claim(instance, home)
        yield instance


def _claim(instance: DagsterInstance, home: Home) -> None:
    """Have the database belong to this workspace.

    `fail_dead_runs` knows by the lock of the workspace that its runs are dead, and sensors read what was built for it.
    """
    file = home.dagster / "workspace.id"  # no path: machines and containers have other things at the same path
    if not os.path.lexists(file):
        replace_bytes(file, uuid.uuid4().hex.encode())
    mine, cursors = _id_in(file), instance.daemon_cursor_storage
    owner = cursors.get_cursor_values({OWNER}).get(OWNER)
    if owner is None:
        cursors.set_cursor_values({OWNER: f"{mine} {home.workspace}"})
    elif owner.partition(" ")[0] != mine:
        raise LiveAlignError(
            f"the database {os.environ['DAGSTER_POSTGRES_DB']} at {_server()} belongs to the workspace "
            f"{owner.partition(' ')[2]}; give {home.workspace} an empty one of its own by DAGSTER_POSTGRES_DB"
        )


def _id_in(file: Path) -> str:
    """The workspace's id: 32 hexadecimal digits.

    Raises:
        LiveAlignError: the file holds no id.
    """
    try:
        content = plain_file(file).read_bytes()
    except OSError as error:
        raise LiveAlignError(f"{file} cannot be read ({error.strerror}); {_ID_REMEDY}") from error
    if not _ID.fullmatch(content.strip()):
        raise LiveAlignError(f"{file} holds no id of a workspace; {_ID_REMEDY}")
    return content.strip().decode()


def _server() -> str:
    return f"{os.environ[POSTGRES_HOST]}:{os.environ.get('DAGSTER_POSTGRES_PORT', '5432')}"


def lost_database(error: BaseException | None) -> str | None:
    """The line for an error of a PostgreSQL server that does not answer; None for others.

    Dagster tries for about ten seconds before it raises.
    """
    if not os.environ.get(POSTGRES_HOST):
        return None
    while error is not None:
        if isinstance(error, OperationalError | InterfaceError):
            reason = " ".join(str(error.orig).split())[:200]
            return (
                f"Dagster's database, PostgreSQL at {_server()}, does not answer ({reason}); "
                "look at the server, then run again, which continues"
            )
        error = error.__cause__ or error.__context__
    return None


def fail_dead_runs(instance: DagsterInstance, job_names: set[str]) -> int:
    """Mark runs that a killed process left "started" as failed, and free their pool slots.

    Call it under the retrain lock, when none of these runs can be alive in another process.

    Returns:
        The number of such runs.
    """
    dead = [
        run
        for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.STARTING]))
        if run.job_name in job_names and run.tags.get(LAUNCHED_BY) == "retrain"
    ]
    for run in dead:
        instance.report_run_failed(run, "the process of this run was stopped before it ended")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return len(dead)
