"""`make ui`: Dagster's webserver and daemon on the workspace, and the report pages."""

import os
import subprocess
import sys
from typing import Annotated

import typer

from livealign.cli.command import run_command
from orchestration.environment import check_environment
from orchestration.resources import Workspace
from orchestration.runs.code_location import DEFINITIONS
from orchestration.runs.instance import prepare_dagster_home

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def main(port: Annotated[int, typer.Option(min=1, max=65_535, help="port on 127.0.0.1")] = 3001) -> None:
    """Serve Dagster's UI, and run the schedules and sensors that are switched on there.

    They run for as long as this command does.
    """
    check_environment()
    home = Workspace.from_environment().home
    home.activate()
    prepare_dagster_home(home)
    reach_loopback_directly()
    subprocess.Popen([sys.executable, "-m", "orchestration.runs.report_pages"])  # ends with this process, after the exec too
    command = [sys.executable, "-m", "dagster", "dev", "-m", DEFINITIONS, "-h", "127.0.0.1", "-p", str(port)]
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
