"""The frame of every stage: its check, its locks, its printed line and its cost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

from dagster import AssetCheckExecutionContext, AssetExecutionContext
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from livealign.console import PlainConsole, styled
from livealign.files import read_json
from livealign.retrain.stage_cost import memory_warning, stage_cost
from orchestration.resources import Workspace
from orchestration.runs.locks import stage_lock

console = PlainConsole(stderr=True)
RunCheck = Callable[[AssetExecutionContext, Workspace], None]
_run_checks: list[RunCheck] = []


def check_before_stages(check: RunCheck) -> None:
    """Have every stage call this check first; `orchestration.definitions` names it.

    The stages do not import it: it knows the platforms, and an asset's code version follows imports.
    """
    if check not in _run_checks:
        _run_checks.append(check)


@contextmanager
def stage(context: AssetExecutionContext, workspace: Workspace, name: str) -> Iterator[None]:
    """Run the block as the named stage of the last day in the run's partition range.

    Raises:
        LiveAlignError: a check of the run failed (`check_before_stages`).
    """
    for check in _run_checks:
        check(context, workspace)
    day, keys = day_of(context), context.partition_keys
    span = keys[0] if len(keys) == 1 else f"{keys[0]} to {keys[-1]}"
    console.say(styled(("▶", "bold cyan"), f" {name} ", (span, "dim")))
    with stage_lock(workspace.home, name, day, context.log.info):
        if warning := memory_warning(name, workspace.home.artifacts):
            console.say(styled(("!", "bold yellow"), f" {warning}"))
            context.log.warning(warning)
        with stage_cost(name, workspace.artifacts(day).stages) as cost:
            yield
    spent = f"{cost.seconds:.1f} s, {cost.peak_rss_bytes / 2**30:.2f} GiB"
    console.say(styled(("✓", "bold green"), f" {name} ", (spent, "dim")))


def cost_of(context: AssetExecutionContext, workspace: Workspace, name: str) -> dict[str, Any]:
    """`seconds` and `peak_rss_bytes` of the named stage, which has just ended."""
    return dict(read_json(workspace.artifacts(day_of(context)).stages / f"{name}.json"))


def day_of(context: AssetExecutionContext | AssetCheckExecutionContext) -> date:
    """The day that a run is for: its partition, or the last of its range."""
    return date.fromisoformat(context.partition_keys[-1])


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar; the block receives `advance(done, total)`."""
    columns = (
        TextColumn("  {task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=0)
        yield lambda done, total: bar.update(task, completed=done, total=total)
