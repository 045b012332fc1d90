"""The code location under which the UI shows jobs, given to runs that start outside of it.

A run of `make retrain` is made in its own process. Without an origin, Dagster's UI lists it under Runs, and leaves it out of
Overview/Timeline and of its job's page.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from dagster import DagsterInstance

from orchestration.runs.dagster_private import (
    LoadableTargetOrigin,
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

DEFINITIONS = "orchestration.definitions"  # module that the UI loads; it is also the location's name
_REPOSITORY = "__repository__"  # Dagster's name for what a module's Definitions become


def job_origin(job_name: str) -> RemoteJobOrigin:
    """The job as the UI knows it."""
    target = LoadableTargetOrigin(executable_path=sys.executable, module_name=DEFINITIONS)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, DEFINITIONS)
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, _REPOSITORY), job_name)


@contextmanager
def runs_shown_by_the_ui(instance: DagsterInstance, job_name: str) -> Iterator[None]:
    """Give the runs of a job that start in the block the origin that the UI asks for.

    `execute_in_process` has no parameter for it, so the instance's method is replaced for the time of the block.
    """
    own = vars(instance)
    own["create_run_for_job"] = partial(instance.create_run_for_job, remote_job_origin=job_origin(job_name))
    try:
        yield
    finally:
        del own["create_run_for_job"]
