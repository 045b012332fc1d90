"""`make retrain`: from an archive to a served release, in one command.

Earlier days are landed and built first, in one run over their partitions; the job `daily_retrain` then processes the last
day. If it is stopped at any point and started again, it ends in the same state: every stage replaces what it wrote.
"""

import fcntl
import os
import shutil
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from dagster import (
    BetaWarning,
    DagsterInstance,
    Definitions,
    PreviewWarning,
)

from livealign.cli.command import PATH, ProfileOption, SetOption, given_flags, run_command
from livealign.console import styled
from livealign.dataset.marts import built_days
from livealign.days import day_written
from livealign.errors import ArchiveError, LiveAlignError
from livealign.files import lock_handle
from livealign.full_disk import full_disk_line
from livealign.home import Home, home_root
from livealign.landing.partitions import landed_days
from livealign.platforms.registry import PLATFORMS, adapter_of, archive_days
from livealign.retrain.backbone import ready_backbone
from livealign.retrain.findings import refuse_findings
from livealign.retrain.graph_variables import FIRST_DAY, first_day
from livealign.retrain.preflight import check_retrain
from livealign.retrain.stage_cost import stage_cost
from livealign.retrain.summary import write_summary
from livealign.settings import GivenValue, export_flags
from livealign.simulation.archive import simulate
from livealign.simulation.config import SimulationConfig
from orchestration.resources import ACCEPT, ACCEPTABLE, Workspace
from orchestration.runs.closing_table import print_closing_table
from orchestration.runs.code_location import runs_shown_by_the_ui
from orchestration.runs.dagster_private import MAX_RETRIES_TAG
from orchestration.runs.failures import failed_run, unexpected_error
from orchestration.runs.instance import LAUNCHED_BY, fail_dead_runs, lost_database, open_instance
from orchestration.runs.stage import console

# The terminal shows the stages and one line for a failure; Dagster's events are in the instance, stacks in a file.
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def main(
    platform: Annotated[str, typer.Option(envvar="LIVEALIGN_PLATFORM", help=f"one of {', '.join(PLATFORMS)}")] = "simulator",
    archive: Annotated[
        Path | None,
        typer.Option(help="folder of the platform's archive; the simulator makes its own", **PATH),
    ] = None,
    day: Annotated[
        str | None, typer.Option(help="day to retrain for, YYYY-MM-DD; default: the archive's last complete day")
    ] = None,
    days: Annotated[
        str | None, typer.Option(help="days of history to learn from, short for --set dataset.train_days=…")
    ] = None,
    profile: ProfileOption = None,
    seed: Annotated[str | None, typer.Option(help="seed of every stage, short for --set seed=…")] = None,
    set_: SetOption = None,
    accept: Annotated[str | None, typer.Option(help="'volumes': a day of unusual volumes may pass")] = None,
) -> None:
    """Retrain for one day, from landing to the promotion and the Bento.

    The stages: landing, warehouse, LLM, alignment, codes, ranker, evaluation, gate, Bento.
    """
    started = perf_counter()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background: this process goes on ignoring it, but dbt, which is ended by SIGINT, must not inherit that.
        signal.signal(signal.SIGINT, lambda *_: None)
    if accept is not None and accept not in ACCEPTABLE:
        raise LiveAlignError(f"--accept {accept!r}: only {' or '.join(ACCEPTABLE)} can be accepted")
    adapter_of(platform)  # an unknown platform must not get a workspace
    asked_day = day_written(day, "--day") if day is not None else None
    flags = given_flags(profile, set_)
    short = (("--days", "dataset.train_days", days), ("--seed", "seed", seed))
    flags += [GivenValue.option(flag, name, value) for flag, name, value in short if value is not None]
    os.environ["LIVEALIGN_PLATFORM"] = platform
    if archive is not None:
        os.environ["LIVEALIGN_ARCHIVE"] = str(archive)
    failed: tuple[str, ...] = ()  # lines of the error
    try:
        workspace = Workspace.from_environment(flags)
        export_flags(flags)  # to the definitions, which load the settings again
        wanted = workspace.profile
        found = check_retrain(workspace.home, workspace.archive, wanted.backbone, store=wanted.machines.store)
        refuse_findings(found, _warn)
        if moved := workspace.home.activate():
            _print_step(moved)
        with only_one_retrain(workspace.home), open_instance(workspace.home) as instance:
            last_day = prepare(workspace, asked_day)
            retrain(workspace, instance, last_day, {ACCEPT: accept} if accept else {})
        write_summary(workspace.home, last_day, workspace.profile, perf_counter() - started)
        print_closing_table(workspace)
    except LiveAlignError as error:
        full = full_disk_line(error)
        failed = (full,) if full else error.args
    except Exception as error:
        full = full_disk_line(error, home_root())
        failed = (full or lost_database(error) or unexpected_error(error, failure_log()),)
    # Raise after the blocks: an error that lives until the process ends keeps its frames alive, for example a DuckDB
    # connection, which DuckDB then reports as leaked.
    if failed:
        raise LiveAlignError(*failed)


def failure_log() -> Path:
    """The file with the stack traces of the last failed retrain.

    It can be written before a workspace exists.
    """
    return home_root() / "logs" / "retrain.log"


def prepare(workspace: Workspace, day: date | None) -> date:
    """Get the archive and the backbone ready; returns the day to retrain for.

    The simulated archive is made and the backbone fetched if they are missing.

    Raises:
        ArchiveError: the archive is missing or empty, or it does not hold the requested day.
        BackboneError: the backbone is missing or incomplete, or the settings do not fit it.
    """
    if workspace.home.platform == "simulator" and not workspace.archive.exists():
        console.say(styled(("▶", "bold cyan"), " simulating a platform into ", (str(workspace.archive), "dim")))
        simulate(SimulationConfig(seed=workspace.profile.seed), workspace.archive)
    today = datetime.now(UTC).date()  # not over yet, so not complete
    known = [past for past in archive_days(workspace.home.platform, workspace.archive) if past < today]
    if not known:
        raise ArchiveError(
            f"{workspace.archive} holds no complete day; give a folder of {workspace.home.platform} archives by ARCHIVE="
        )
    if day is not None and day not in known:
        raise ArchiveError(f"{workspace.archive} has nothing of {day}; it holds {len(known)} days, {known[0]} to {known[-1]}")
    found = day or known[-1]
    earliest = next((past for past in workspace.training_days(found) if past in known), found)
    if earliest.isoformat() < first_day():
        raise LiveAlignError(
            f"{FIRST_DAY}={first_day()} is after {earliest}, which the retrain for {found} needs; "
            f"set it to {earliest} or earlier"
        )
    ready_backbone(workspace.profile, workspace.home.models, _print_step)
    return found


def _print_step(text: str) -> None:
    console.say(styled(("▶", "bold cyan"), f" {text}"))


def _warn(text: str) -> None:
    console.say(styled(("!", "bold yellow"), f" {text}"))


def retrain(workspace: Workspace, instance: DagsterInstance, day: date, tags: dict[str, str]) -> None:
    """Build the missing days of history, then run `daily_retrain` for `day`.

    Args:
        tags: run tags of `daily_retrain`.

    Raises:
        LiveAlignError: a step failed; the message names it and the place of the details.
    """
    from orchestration.definitions import defs  # reads the dbt manifest, which needs the workspace's environment

    fail_dead_runs(instance, {"build_history", "daily_retrain"})
    shutil.rmtree(workspace.artifacts(day).stages, ignore_errors=True)  # the costs of an earlier run
    history = missing_history(workspace, day)
    if history:
        span = {
            "dagster/asset_partition_range_start": history[0].isoformat(),
            "dagster/asset_partition_range_end": history[-1].isoformat(),
        }
        with stage_cost("history", workspace.artifacts(day).stages):
            run_job(defs, instance, "build_history", tags=span)
    run_job(defs, instance, "daily_retrain", partition_key=day.isoformat(), tags=tags)


def missing_history(workspace: Workspace, day: date) -> list[date]:
    """The days of history to build: from the first missing one to the day before `day`.

    A day is missing if landing, dbt's tables or the marts lack it. Empty if every training day is there.
    """
    known = set(archive_days(workspace.home.platform, workspace.archive))
    wanted = [past for past in workspace.training_days(day) if past >= min(known)]
    home = workspace.home
    published, tables = (set(built_days(folder, "interactions")) for folder in (home.marts, home.warehouse_tables))
    built = set(landed_days(home.landing)) & published & tables
    missing = [past for past in wanted if past not in built]
    if not missing:
        return []
    return [missing[0] + timedelta(days=offset) for offset in range((wanted[-1] - missing[0]).days + 1)]


def run_job(
    defs: Definitions,
    instance: DagsterInstance,
    name: str,
    partition_key: str | None = None,
    tags: dict[str, str] | None = None,
) -> None:
    """Run a job in this process, on the persistent instance, so that the UI shows it.

    Raises:
        LiveAlignError: a step failed.
    """
    with runs_shown_by_the_ui(instance, name):
        result = defs.resolve_job_def(name).execute_in_process(
            instance=instance,
            partition_key=partition_key,
            # The daemon beside a UI starts no run of `make retrain` again: who started it does.
            tags={LAUNCHED_BY: "retrain", MAX_RETRIES_TAG: "0", **(tags or {})},
            run_config=QUIET,
            raise_on_error=False,
        )
    if not result.success:
        raise LiveAlignError(failed_run(name, result.run_id, result.all_events, failure_log()))


@contextmanager
def only_one_retrain(home: Home) -> Iterator[None]:
    """Hold the workspace's retrain lock; the kernel frees it if this process dies."""
    with lock_handle(home.retrain_lock) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LiveAlignError(f"another retrain runs on {home.workspace}; wait for it or stop it, then run again") from None
        yield


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=BetaWarning)  # backfill policies and partitioned checks are beta in Dagster
    warnings.filterwarnings("ignore", category=PreviewWarning)
    warnings.filterwarnings("ignore", message="(?s).*varying BackfillPolicies")
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    run_command(app)
