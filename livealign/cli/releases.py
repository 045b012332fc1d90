"""The `livealign` commands about releases: list, explain, promote, roll back, prune."""

import fcntl
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from livealign.cli.command import ProfileOption, SetOption, given_flags
from livealign.errors import LiveAlignError
from livealign.home import Home
from livealign.release.bundle import read_manifest
from livealign.release.decisions import read_decision
from livealign.release.lineage import bento_of, explain, lineage_of
from livealign.release.registry import Release, champion_line, list_releases
from livealign.release.registry import promote as move_to
from livealign.release.registry import rollback as move_back
from livealign.release.retention import plan_pruning
from livealign.release.retention import prune as remove
from livealign.settings import load_settings

console = Console(highlight=False)

PlatformOption = Annotated[str, typer.Option(envvar="LIVEALIGN_PLATFORM", help="the platform whose workspace is meant")]
ReasonOption = Annotated[str, typer.Option(help="kept in the history of the pointer")]


def add_release_commands(app: typer.Typer) -> None:
    """Give the application the commands of this module."""
    for command in (releases, explain_release, promote, rollback, prune):
        app.command(command.__name__.replace("_", "-"))(command)


def releases(platform: PlatformOption = "simulator") -> None:
    """List the releases: champion, metrics, decision, and what each was made from."""
    home = Home.from_environment(platform)
    line = champion_line(home.releases)
    table = Table("", title=f"{home.releases}", title_justify="left")
    for name in ("release", "held out", "GAUC"):
        table.add_column(name, no_wrap=True)
    for name in ("decided", "made from"):
        table.add_column(name)
    for release in list_releases(home.releases):
        mark = "★" if release.is_champion else "↩" if release.release_id in line else ""
        table.add_row(mark, release.release_id, *_cells(home, release))
    console.print(table)
    console.print("★ serves   ↩ `livealign rollback` returns to it   `livealign explain-release A B` shows what differs")


def explain_release(
    first: Annotated[str, typer.Argument(help="a release id, of `livealign releases`")],
    second: Annotated[str, typer.Argument(help="another release id")],
    platform: PlatformOption = "simulator",
) -> None:
    """Show how two releases differ: data, code, settings, parts, metrics, decision."""
    home = Home.from_environment(platform)
    differences = explain(home.releases, first, second)
    table = Table("", first, second, title_justify="left")
    for difference in differences:
        table.add_row(difference.what, _cell(difference.first), _cell(difference.second))
    console.print(table)
    console.print(f"{len(differences)} differences")
    for release_id in (first, second):
        made = lineage_of(read_manifest(home.releases / release_id), home)
        console.print(f"{release_id}: {made.set_by_hand() or 'nothing was set beside its profile'}", markup=False)


def promote(
    release: Annotated[str, typer.Argument(help="a release id, of `livealign releases`")],
    platform: PlatformOption = "simulator",
    reason: ReasonOption = "",
) -> None:
    """Make a release the champion without asking the promotion rule.

    It is verified first; a damaged one is refused.
    """
    home = Home.from_environment(platform)
    move_to(home.releases, release, reason or "by hand")
    _say_champion(home, release)


def rollback(
    release: Annotated[str | None, typer.Argument(help="a former champion; default: the previous champion")] = None,
    platform: PlatformOption = "simulator",
    reason: ReasonOption = "",
) -> None:
    """Move the champion pointer back to an earlier champion.

    The release is verified first; a damaged one is refused and the champion stays.
    """
    home = Home.from_environment(platform)
    _say_champion(home, move_back(home.releases, reason, release))


def prune(
    platform: PlatformOption = "simulator",
    profile: ProfileOption = None,
    set_: SetOption = None,
    event_log: Annotated[Path | None, typer.Option(help="folder of the service's event log; default: the archive")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would be removed, and remove nothing")] = False,
) -> None:
    """Remove what is older than the settings of retention allow.

    What the champion needs stays, and so do the former champions that a rollback may return to.
    """
    home, retention = Home.from_environment(platform), load_settings(given_flags(profile, set_)).profile.retention
    with no_retrain_running(home):
        planned = plan_pruning(home, retention, event_log or home.archive)
        removed = planned.removals if dry_run else remove(home, planned)
    table = Table("", "how many", "MiB", "why", title=f"{home.workspace}", title_justify="left")
    for (kind, reason), count in Counter((removal.kind, removal.reason) for removal in removed).items():
        size = sum(removal.bytes for removal in removed if (removal.kind, removal.reason) == (kind, reason))
        table.add_row(kind, f"{count:,}", f"{size / 2**20:,.1f}", reason)
    console.print(table)
    for problem in planned.problems:
        console.print(f"kept: {problem}", markup=False)
    protected = ", ".join(planned.protected) or "no release: there is no champion yet"
    console.print(f"{'would be removed' if dry_run else 'removed'}: {len(removed)}; protected: {protected}")


@contextmanager
def no_retrain_running(home: Home) -> Iterator[None]:
    """Hold the workspace's retrain lock during the block.

    Raises:
        LiveAlignError: a retrain runs, or there is no workspace.
    """
    if not home.workspace.is_dir():
        raise LiveAlignError(
            f"{home.workspace} is missing: there is no workspace of platform {home.platform}; run `make retrain`"
        )
    with home.retrain_lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LiveAlignError(f"a retrain runs on {home.workspace}; prune when it has ended") from None
        yield


def _cells(home: Home, release: Release) -> tuple[str, str, str, str]:
    """Held-out day, GAUC, decision, lineage."""
    if release.manifest is None:
        return "", "", "", release.problem
    lineage, gauc = lineage_of(release.manifest, home), release.manifest["metrics"].get("gauc")
    decision = read_decision(home.releases, release.release_id)
    decided = f"{decision['decision']} ({decision['rule']})" if decision else "–"
    return lineage.held_out, "–" if gauc is None else f"{gauc:.4f}", decided, lineage.steps()


def _say_champion(home: Home, release_id: str) -> None:
    console.print(f"the champion is {release_id}; a running service follows within seconds")
    if bento_of(home, release_id) is None:
        console.print("its Bento is gone: `make serve` needs one, so run `make retrain` for its day before the next start")


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
