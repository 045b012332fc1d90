"""The `livealign` commands about releases: list, explain, move the champion, serve, prune."""

import fcntl
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from livealign.cli.command import PATH, ProfileOption, SetOption, given_flags
from livealign.console import PlainConsole, styled, table
from livealign.errors import BundleError, LiveAlignError
from livealign.files import lock_handle
from livealign.home import Home
from livealign.release.bundle import read_manifest
from livealign.release.challengers import read_challengers
from livealign.release.challengers import serve as serve_beside
from livealign.release.challengers import stop as stop_serving
from livealign.release.decisions import read_decision
from livealign.release.lineage import bento_of, explain, lineage_of
from livealign.release.registry import CHALLENGERS, Release, champion_line, list_releases, read_champion
from livealign.release.registry import promote as move_to
from livealign.release.registry import rollback as move_back
from livealign.release.retention import plan_pruning
from livealign.release.retention import prune as remove
from livealign.settings import load_settings

console = PlainConsole()
WIDE = 120  # columns; in a narrower terminal long texts stand below a table, not in it
releases_app = typer.Typer(help="The releases, and what is served beside the champion.")

PlatformOption = Annotated[str, typer.Option(envvar="LIVEALIGN_PLATFORM", help="the platform whose workspace is meant")]
ReasonOption = Annotated[str, typer.Option(help="kept in the history of the pointer")]


def add_release_commands(app: typer.Typer) -> None:
    """Give the application the commands of this module."""
    for command in (explain_release, promote, rollback, prune):
        app.command(command.__name__.replace("_", "-"))(command)
    app.add_typer(releases_app, name="releases")


@releases_app.callback(invoke_without_command=True)
def releases(context: typer.Context, platform: PlatformOption = "simulator") -> None:
    """List the releases: champion, metrics, decision, and what each was made from."""
    if context.invoked_subcommand is not None:
        return
    home = Home.from_environment(platform)
    line, found, problem = [], list_releases(home.releases), ""
    console.say(str(home.releases))
    try:
        line = champion_line(home.releases)
        champion = read_champion(home.releases)
        if champion is not None and all(release.release_id != champion for release in found):
            problem = (
                f"{home.releases / champion}, the champion, is missing; run `livealign rollback` or `livealign promote <id>`"
            )
    except BundleError as error:
        problem = str(error)
    if not found:
        console.say("there is no release yet; run `make retrain`")
        if problem:
            say_problem(problem)
        return
    wide, below = console.width >= WIDE, []
    shown = table("")
    for name in ("release", "held out", "GAUC"):
        shown.add_column(name, no_wrap=True)
    for name in ("decided", "made from") if wide else ("decided",):
        shown.add_column(name, overflow="fold")
    for release in found:
        mark = "★" if release.is_champion else "↩" if release.release_id in line else ""
        *cells, made = _cells(home, release)
        shown.add_row(mark, release.release_id, *cells, *((made,) if wide else ()))
        below.append(f"{release.release_id} ← {made}")
    console.print(shown)
    for text in () if wide else below:
        console.print(text)
    console.print("★ serves   ↩ `livealign rollback` goes back to it   `livealign explain-release A B` says what differs")
    if problem:
        say_problem(problem)
    else:
        say_served(home)


@releases_app.command()
def serve(
    challenger: Annotated[str, typer.Argument(help="a release id, of `livealign releases`")],
    share: Annotated[float, typer.Option(help="of the users, drawn by a salted hash of their id")],
    shadow: Annotated[
        bool, typer.Option("--shadow", help="compare its lists with the champion's, and show them to nobody")
    ] = False,
    platform: PlatformOption = "simulator",
) -> None:
    """Serve a release beside the champion, or change its share.

    It is verified first; a running service follows within seconds. `livealign promote` ends the experiment.
    """
    home = Home.from_environment(platform)
    serve_beside(home.releases, challenger, share, shadow=shadow)
    say_served(home)


@releases_app.command()
def stop(
    challenger: Annotated[str | None, typer.Argument(help="one that is served; default: all of them")] = None,
    platform: PlatformOption = "simulator",
) -> None:
    """Serve a challenger no more; its users get the champion's lists."""
    home = Home.from_environment(platform)
    stop_serving(home.releases, challenger)
    say_served(home)


def explain_release(
    first: Annotated[str, typer.Argument(help="a release id, of `livealign releases`")],
    second: Annotated[str, typer.Argument(help="another")],
    platform: PlatformOption = "simulator",
) -> None:
    """Show how two releases differ: data, code, settings, parts, metrics, decision."""
    home = Home.from_environment(platform)
    found = explain(home.releases, first, second)
    if console.width >= WIDE:
        shown = table("", first, second)
        for one in found:
            shown.add_row(one.what, _said(one.first), _said(one.second))
        console.print(shown)
    else:  # a table of long names and hashes would break them
        console.print(f"{first} → {second}")
        for one in found:
            console.print(f"{one.what}: {_said(one.first)} → {_said(one.second)}")
    console.say(f"{len(found)} differences")
    for release_id in (first, second):
        made = lineage_of(read_manifest(home.releases / release_id), home)
        console.say(f"{release_id}: {made.set_by_hand() or 'nothing was set beside its profile'}")


def promote(
    release: Annotated[str, typer.Argument(help="a release id, of `livealign releases`")],
    platform: PlatformOption = "simulator",
    reason: ReasonOption = "",
) -> None:
    """Make a release the champion without asking the promotion rule, and end an experiment.

    It is verified first; a damaged release is refused.
    """
    home = Home.from_environment(platform)
    running = (home.releases / CHALLENGERS).exists()
    move_to(home.releases, release, reason or "by hand")
    if (home.releases / CHALLENGERS).exists():  # it was the champion already, and is chosen above its challengers
        stop_serving(home.releases)
    _say_champion(home, release)
    if running:
        console.say("the experiment has ended: no challenger is served any more")


def rollback(
    release: Annotated[str | None, typer.Argument(help="a former champion; default: the one before this")] = None,
    platform: PlatformOption = "simulator",
    reason: ReasonOption = "",
) -> None:
    """Move the champion pointer back to an earlier champion.

    The release is verified first; a damaged release is refused and the champion stays.
    """
    home = Home.from_environment(platform)
    _say_champion(home, move_back(home.releases, reason, release))


def prune(
    platform: PlatformOption = "simulator",
    profile: ProfileOption = None,
    set_: SetOption = None,
    event_log: Annotated[
        Path | None,
        typer.Option(help="folder of the service's event log; default: the archive", **PATH),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would go, and touch nothing")] = False,
) -> None:
    """Remove what is older than the settings of retention allow.

    What the champion needs stays, and so do the former champions that a rollback may return to.
    """
    home, retention = Home.from_environment(platform), load_settings(given_flags(profile, set_)).profile.retention
    with no_retrain_running(home):
        planned = plan_pruning(home, retention, event_log or home.archive)
        removed = planned.removals if dry_run else remove(home, planned)
    shown = table("", "how many", "MiB", "why")
    for (kind, reason), count in Counter((one.kind, one.reason) for one in removed).items():
        size = sum(one.bytes for one in removed if (one.kind, one.reason) == (kind, reason))
        shown.add_row(kind, f"{count:,}", f"{size / 2**20:,.1f}", reason)
    console.say(str(home.workspace))
    console.print(shown)
    for problem in planned.problems:
        console.say(f"kept: {problem}")
    kept = ", ".join(planned.protected) or "no release: there is no champion yet"
    console.say(f"{'would be removed' if dry_run else 'removed'}: {len(removed)}; protected: {kept}")


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
    with lock_handle(home.retrain_lock) as lock:
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
    try:
        decision = read_decision(home.releases, release.release_id)
        said = f"{decision['decision']} ({decision['rule']})" if decision else "–"
    except LiveAlignError as error:
        say_problem(str(error))
        said = "cannot be read"
    return lineage.held_out, "–" if gauc is None else f"{gauc:.4f}", said, lineage.steps()


def _say_champion(home: Home, release_id: str) -> None:
    console.say(f"the champion is {release_id}; a running service follows within seconds")
    if bento_of(home, release_id) is None:
        console.say("its Bento is gone: `make serve` needs one, so run `make retrain` for its day before the next start")


def say_served(home: Home) -> None:
    """Say what is served; a file of challengers that cannot be read is named."""
    try:
        served = read_challengers(home.releases)
    except BundleError as error:
        say_problem(str(error))
        return
    if served is None:
        champion = read_champion(home.releases)
        console.say("the champion serves alone" if champion else "there is no champion; `livealign promote RELEASE` makes one")
        return
    for one in served.challengers:
        console.say(f"{one.release} {'shadows' if one.shadow else 'serves'} {one.share:.2%} of the users")
    console.say(f"{served.champion}, the champion, serves {served.champion_share:.2%}")


def say_problem(text: str) -> None:
    """Say what a person should mend, on a line of its own."""
    console.say(styled(("! ", "bold yellow"), text))


def _said(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
