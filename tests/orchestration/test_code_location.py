"""Runs of `make retrain` beside those that the UI starts: its timeline takes them for runs of its own job."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, DailyPartitionsDefinition, Definitions, asset, define_asset_job

from bentos.smoke import free_port
from livealign.errors import LiveAlignError
from livealign.home import Home
from orchestration.retrain import run_job
from orchestration.runs import code_location
from orchestration.runs.code_location import DEFINITIONS
from orchestration.runs.instance import open_instance

DAY = "2025-06-03"
SECONDS = 90
MODULE = """
from dagster import DailyPartitionsDefinition, Definitions, asset, define_asset_job

@asset(partitions_def=DailyPartitionsDefinition(start_date="2025-06-01"))
def quick() -> None: ...

defs = Definitions(assets=[quick], jobs=[define_asset_job("daily_retrain", [quick])])
"""
QUESTION = """{
  runsOrError { ... on Runs { results { pipelineName status startTime endTime
    repositoryOrigin { repositoryName repositoryLocationName } tags { key value } } } }
  repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } jobs { name runs { id } } } } }
}"""


def planted(fails: bool = False) -> Definitions:
    @asset(partitions_def=DailyPartitionsDefinition(start_date="2025-06-01"))
    def quick() -> None:
        if fails:
            raise LiveAlignError("on purpose")

    return Definitions(assets=[quick], jobs=[define_asset_job("daily_retrain", [quick])])


def test_a_run_has_the_origin_of_its_job_and_is_not_started_again_by_a_daemon() -> None:
    with DagsterInstance.ephemeral() as instance:
        run_job(planted(), instance, "daily_retrain", DAY, {"mine": "yes"})
        with pytest.raises(LiveAlignError, match="on purpose"):
            run_job(planted(fails=True), instance, "daily_retrain", DAY)
        for run in instance.get_runs():
            origin = run.remote_job_origin
            assert origin is not None
            assert (origin.job_name, origin.location_name) == ("daily_retrain", DEFINITIONS)
            assert run.tags["dagster/partition"] == DAY
            assert run.tags["dagster/max_retries"] == "0"
        planted().resolve_job_def("daily_retrain").execute_in_process(instance=instance, partition_key=DAY)
        assert instance.get_runs()[0].remote_job_origin is None, "the instance is as it was"


@contextmanager
def webserver(home: Home, module: str, path: Path) -> Iterator[str]:
    """Dagster's webserver on the home's instance, with the definitions of a module in `path`."""
    port = free_port()
    command = [sys.executable, "-m", "dagster_webserver", "-m", module, "-h", "127.0.0.1", "-p", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(path), "DAGSTER_HOME": str(home.dagster)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}/graphql"
    finally:
        process.terminate()
        process.wait()


def answer(url: str) -> dict[str, Any]:
    """The answer to QUESTION, once the server is there."""
    request = urllib.request.Request(  # noqa: S310  our own server
        url, json.dumps({"query": QUESTION}).encode(), {"Content-Type": "application/json"}
    )
    until = time.monotonic() + SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
                found: dict[str, Any] = json.load(response)["data"]
                return found
        except OSError:
            assert time.monotonic() < until, "the webserver does not answer"
            time.sleep(0.5)


@pytest.mark.slow
def test_a_real_webserver_finds_the_run_under_its_own_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted_graph.py").write_text(MODULE)
    monkeypatch.setattr(code_location, "DEFINITIONS", "planted_graph")
    home = Home(tmp_path / "home", "simulator")
    home.dagster.mkdir(parents=True)
    with open_instance(home) as instance:
        run_job(planted(), instance, "daily_retrain", DAY)
    with webserver(home, "planted_graph", tmp_path) as url:
        data = answer(url)
    (run,) = data["runsOrError"]["results"]
    (repository,) = data["repositoriesOrError"]["nodes"]
    # The timeline leaves out runs without a start or an origin, and looks for the others by these names.
    assert run["startTime"]
    assert run["endTime"]
    assert run["repositoryOrigin"] == {
        "repositoryName": repository["name"],
        "repositoryLocationName": repository["location"]["name"],
    }
    assert {"key": "dagster/partition", "value": DAY} in run["tags"]
    (job,) = [job for job in repository["jobs"] if job["name"] == "daily_retrain"]
    assert len(job["runs"]) == 1
