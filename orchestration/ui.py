"""`make ui`: Dagster's webserver and daemon on the workspace, and the report pages."""

import os
import subprocess
import sys
from typing import Annotated

import typer

from livealign.cli.command import run_command
from livealign.errors import LiveAlignError
from livealign.platforms.registry import adapter_of
from livealign.retrain.preflight import refuse_variables
from orchestration.resources import Workspace
from orchestration.runs.code_location import DEFINITIONS
from orchestration.runs.instance import lost_database, open_instance

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def main(port: Annotated[int, typer.Option(min=1, max=65_535, help="port on 127.0.0.1")] = 3001) -> None:
    """Serve Dagster's UI, and run the schedules and sensors that are switched on there.

    They run for as long as this command does.
    """
    home = Workspace.from_environment().home
    adapter_of(home.platform)  # an unknown platform must not get a workspace
    refuse_variables()
    home.activate()
    try:
        with open_instance(home):  # a database that is away, or another workspace's, ends the start in one line
            pass
    except Exception as error:
        if lost := lost_database(error):
            raise LiveAlignError(lost) from error
        raise
    reach_loopback_directly()
    subprocess.Popen([sys.executable, "-m", "orchestration.runs.report_pages"])  # ends with this process, after the exec too
    command = [sys.executable, "-m", "dagster", "dev", "-m", DEFINITIONS, "-h", "127.0.0.1", "-p", str(port)]
    # The webserver alone keeps connections to PostgreSQL open, without looking whether they are: after a restart of the server
    # the first request of each answered 500.
    command += ["--db-pool-recycle", "0"]
    os.execv(sys.executable, command)  # noqa: S606 — the UI takes this process's place, so that Ctrl-C reaches it


def reach_loopback_directly() -> None:
    """Have this process and its children reach this machine without a proxy."""
    for name in ("no_proxy", "NO_PROXY"):
        given = [part.strip() for part in os.environ.get(name, "").split(",") if part.strip()]
        os.environ[name] = ",".join(dict.fromkeys([*given, *LOOPBACK]))


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    run_command(app)
