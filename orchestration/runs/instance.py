"""The persistent Dagster instance of a workspace, and what a killed run leaves in it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from livealign.files import replace_bytes
from livealign.home import Home

LAUNCHED_BY = "livealign/launched_by"  # run tag; "retrain" for the runs of `make retrain`

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
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
freshness:
  enabled: true
"""


def prepare_dagster_home(home: Home) -> None:
    """Write the instance's settings and set DAGSTER_HOME for this process and its children."""
    settings = home.dagster / "dagster.yaml"
    if not settings.exists() or settings.read_text() != DAGSTER_YAML:
        replace_bytes(settings, DAGSTER_YAML.encode())
    os.environ["DAGSTER_HOME"] = str(home.dagster)


@contextmanager
def open_instance(home: Home) -> Iterator[DagsterInstance]:
    """The workspace's Dagster instance, for the time of the block."""
    prepare_dagster_home(home)
    with DagsterInstance.get() as instance:
        yield instance


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
