"""What every asset does around its work: say that it runs, measure it, and keep the cost for the closing table."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagster import AssetExecutionContext
from rich.console import Console

from livealign.stopwatch import stage_cost
from orchestration.resources import Workspace

console = Console(stderr=True, highlight=False)


@contextmanager
def stage(context: AssetExecutionContext, workspace: Workspace, name: str) -> Iterator[None]:
    """Run the block as the named stage of the last day in the run's partition range."""
    day = context.partition_keys[-1]
    console.print(f"[bold cyan]▶[/] {name} [dim]{day}[/]")
    with stage_cost(name, stages_folder(workspace, day)) as cost:
        yield
    console.print(f"[bold green]✓[/] {name} [dim]{cost.seconds:.1f} s, {cost.peak_rss_bytes / 2**30:.2f} GiB[/]")


def stages_folder(workspace: Workspace, day: str) -> Path:
    return workspace.home.artifacts / day / "stages"
