"""The `livealign store` commands: put the champion there, follow it on another machine."""

import time
from typing import Annotated

import typer

from livealign.cli.command import ProfileOption, SetOption, given_flags, path_error
from livealign.cli.releases import PlatformOption, say_served
from livealign.console import PlainConsole
from livealign.errors import LiveAlignError
from livealign.home import Home
from livealign.settings import load_settings
from livealign.store import Store

console = PlainConsole()
store = typer.Typer(help="The champion in the store of several machines (machines.store).", no_args_is_help=True)


@store.command()
def put(platform: PlatformOption = "simulator", profile: ProfileOption = None, set_: SetOption = None) -> None:
    """Copy the champion and its challengers to the store, for the machines that follow.

    A promotion of a retrain does it by itself; after `promote`, `rollback`, `releases serve` and `releases stop` run this.
    """
    from livealign.release.shared_champion import put_champion

    opened, home = _opened(profile, set_), Home.from_environment(platform)
    console.say(f"{opened.where} holds {put_champion(opened, home)}; machines that follow fetch it")
    say_served(home)


@store.command()
def follow(
    platform: PlatformOption = "simulator",
    profile: ProfileOption = None,
    set_: SetOption = None,
    once: Annotated[bool, typer.Option("--once", help="look once and end")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="seconds between two looks")] = 10.0,
) -> None:
    """Make the store's champion and challengers this machine's, again and again.

    Its service follows.

    While the store is away or holds a damaged release, or the disk is full, the champion stays and one line says why.
    """
    from livealign.release.shared_champion import follow_challengers, follow_champion

    opened, home, said = _opened(profile, set_), Home.from_environment(platform), ""
    if turned := home.activate():
        console.say(turned)
    try:
        while True:
            moved, changed, problem = None, False, ""
            try:
                moved = follow_champion(opened, home)
                changed = follow_challengers(opened, home)
            except (LiveAlignError, OSError) as error:  # the disk of this machine may be full
                if once:
                    raise
                problem = path_error(error) if isinstance(error, OSError) else str(error)
            if moved:
                console.say(f"the champion is {moved}")
            if changed:
                say_served(home)
            if problem and problem != said:
                console.say(problem)
            said = problem
            if once:
                return
            time.sleep(every)
    except KeyboardInterrupt:
        console.say("stopped; the champion stays")


def _opened(profile: str | None, set_: list[str] | None) -> Store:
    opened = Store.open(load_settings(given_flags(profile, set_)).profile.machines.store)
    if opened is None:
        raise LiveAlignError(
            "machines.store is home, so no other machine can follow; set it to a folder or to s3://bucket/prefix"
        )
    return opened
