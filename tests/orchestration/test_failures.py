"""The report of a failed retrain: one line, and a file with the stack if a person needs it."""

import os
import subprocess
import sys
import traceback
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance, Definitions, Failure, asset, define_asset_job
from dagster_dbt.errors import DagsterDbtCliRuntimeError

from livealign.errors import LiveAlignError
from orchestration.dbt.metadata import dbt_failure
from orchestration.retrain import run_job
from orchestration.runs.daily_asset import retry_transient_errors

ROOT = Path(__file__).parents[2]

# The command as it is started, with a fault in its first step: it comes while a connection to DuckDB is open. Each fault
# has a process of its own, forked after the imports. All have one home, because a new Dagster instance takes seconds.
FAULTS = """
import os, sys
from pathlib import Path
import duckdb
import typer
from livealign.cli.command import run_command
from livealign.errors import ArchiveError
from orchestration import retrain

def no_archive():
    raise ArchiveError("there is no archive; give one by ARCHIVE=")

def no_key():
    raise KeyError("no [/such] key")

def two_lines():
    raise ValueError("two\\nlines")

def failing(raise_fault):
    def fault(workspace, day):
        with duckdb.connect() as connection:
            connection.execute("select 1").fetchall()
            raise_fault()
    return fault

folder = Path(sys.argv[1])
for raise_fault in (no_archive, no_key, two_lines):
    logs = folder / "home" / "logs"
    if raise_fault is two_lines:
        logs.write_text("a file in the way")
    child = os.fork()
    if not child:
        output = os.open(folder / f"{raise_fault.__name__}.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1), os.dup2(output, 2)
        retrain.prepare = failing(raise_fault)
        app = typer.Typer(pretty_exceptions_enable=False)
        app.command()(retrain.main)
        sys.argv = ["retrain", "--profile", "tiny"]
        run_command(app)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 1, raise_fault
    if logs.exists():
        logs.rename(folder / f"{raise_fault.__name__}.logs")
"""


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what each fault's retrain printed, `<fault>.txt`, and the logs that it left, `<fault>.logs`."""
    folder = tmp_path_factory.mktemp("faults")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEALIGN_", "DAGSTER_"))}
    environment |= {"LIVEALIGN_HOME": str(folder / "home"), "DAGSTER_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-W", "ignore", "-c", FAULTS, str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_an_unexpected_error_is_one_line_that_names_the_file_with_its_stack(faults: Path) -> None:
    log = faults / "home" / "logs" / "retrain.log"
    assert (faults / "no_key.txt").read_text() == f"✗ KeyError: 'no [/such] key' (its stack is in {log})\n"
    stack = (faults / "no_key.logs" / "retrain.log").read_text()
    assert "Traceback" in stack
    assert "in no_key" in stack


def test_an_error_that_says_what_to_do_is_one_line_and_needs_no_file(faults: Path) -> None:
    assert (faults / "no_archive.txt").read_text() == "✗ there is no archive; give one by ARCHIVE=\n"
    assert not (faults / "no_archive.logs").exists()


def test_a_stack_that_cannot_be_written_does_not_hide_the_error(faults: Path) -> None:
    (line,) = (faults / "two_lines.txt").read_text().splitlines()
    assert line.startswith("✗ ValueError: two lines (its stack could not be written to ")


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as made:
        yield made


def failed_job(error: Exception, instance: DagsterInstance) -> str:
    """What `run_job` says of a job whose only step fails."""

    @asset
    def broken() -> None:
        with retry_transient_errors(Path()):
            raise error

    defs = Definitions(assets=[broken], jobs=[define_asset_job("nightly_job", [broken])])
    with pytest.raises(LiveAlignError) as raised:
        run_job(defs, instance, "nightly_job")
    return str(raised.value)


def test_a_step_that_fails_unexpectedly_prints_no_stack_and_names_the_file_that_has_it(
    instance: DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIVEALIGN_HOME", str(tmp_path))
    said = failed_job(ZeroDivisionError("by\nzero"), instance)
    log = tmp_path / "logs" / "retrain.log"
    assert said.startswith(f"nightly_job failed in broken: ZeroDivisionError: by zero (its stack is in {log}; run ")
    assert "\n" not in said
    assert "ZeroDivisionError" in log.read_text()
    assert 'File "' in log.read_text()
    out, err = capfd.readouterr()
    assert "Stack Trace" not in out + err
    assert 'File "' not in out + err


def test_a_step_that_fails_with_an_error_of_ours_says_what_to_do_and_no_more(
    instance: DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEALIGN_HOME", str(tmp_path))
    said = failed_job(LiveAlignError("x.parquet is damaged; run its stage again"), instance)
    assert said.startswith("nightly_job failed in broken: x.parquet is damaged; run its stage again (run ")
    assert "stack" not in said


class Held:
    """Something large, or a connection."""


def test_a_failed_step_holds_nothing_of_its_functions_and_its_stack_can_be_read() -> None:
    held: list[weakref.ref[Held]] = []

    def inner() -> None:
        mine = Held()
        held.append(weakref.ref(mine))
        raise ValueError("too bad")

    def work() -> None:
        mine = Held()
        held.append(weakref.ref(mine))
        try:
            inner()
        except ValueError as error:
            raise LiveAlignError("a stage failed") from error

    with pytest.raises(Failure) as raised, retry_transient_errors(Path()):
        work()
    assert [one() for one in held] == [None, None]
    stack = "".join(traceback.format_exception(raised.value))
    assert "in inner" in stack
    assert "in work" in stack


DBT = """The dbt CLI process with command

`dbt build`

failed with exit code `1`. Check the stdout for the full information, or view the dbt debug log: /home/target/dbt.log.

Errors parsed from dbt logs:

35 of 77 {said} ........................................... [FAIL 11 in 0.38s]

  Got 11 results, configured to fail if != 0"""


def test_a_failed_dbt_test_is_one_line_and_is_not_tried_again() -> None:
    error = dbt_failure(DagsterDbtCliRuntimeError(DBT.format(said="FAIL 11 ledger_is_conserved")))
    assert str(error) == (
        "dbt failed: 35 of 77 FAIL 11 ledger_is_conserved [FAIL 11 in 0.38s] Got 11 results, configured to fail if != 0; "
        "dbt's log is /home/target/dbt.log"
    )
    with pytest.raises(Failure) as raised, retry_transient_errors(Path()):
        raise error
    assert not raised.value.allow_retries


def test_a_warehouse_that_another_process_holds_is_tried_again() -> None:
    error = dbt_failure(DagsterDbtCliRuntimeError(DBT.format(said='ERROR Could not set lock on file "warehouse.duckdb"')))
    with pytest.raises(LiveAlignError), retry_transient_errors(Path()):
        raise error
