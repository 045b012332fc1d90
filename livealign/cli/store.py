"""The `livealign store` commands: put the champion there, follow it on another machine."""

import time
from typing import Annotated

import typer

from livealign.cli.command import ProfileOption, SetOption, given_flags
from livealign.cli.releases import PlatformOption
from livealign.console import PlainConsole
from livealign.errors import LiveAlignError
from livealign.home import Home
from livealign.settings import load_settings
from livealign.store import Store

console = PlainConsole()
store = typer.Typer(help="The champion in the store of several machines (machines.store).", no_args_is_help=True)


@store.command()
def put(platform: PlatformOption = "simulator", profile: ProfileOption = None, set_: SetOption = None) -> None:
    """Copy the champion to the store, and point the machines that follow to it.

    A promotion of a retrain does it by itself; after `promote` and `rollback` run this.
    """
    from livealign.release.shared_champion import put_champion

    opened = _opened(profile, set_)
    console.say(f"{opened.where} holds {put_champion(opened, Home.from_environment(platform))}; machines that follow fetch it")


@store.command()
def follow(
    platform: PlatformOption = "simulator",
    profile: ProfileOption = None,
    set_: SetOption = None,
    once: Annotated[bool, typer.Option("--once", help="look once and end")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="seconds between two looks")] = 10.0,
) -> None:
    """Make the store's champion this machine's, again and again; its service follows.

    While the store is away or holds a damaged release, the champion stays and one line says why.
    """
    from livealign.release.shared_champion import follow_champion

    opened, home, said = _opened(profile, set_), Home.from_environment(platform), ""
    if turned := home.activate():
        console.say(turned)
    try:
        while True:
            try:
                moved, problem = follow_champion(opened, home), ""
            except LiveAlignError as error:
                if once:
                    raise
                moved, problem = None, str(error)
            if moved:
                console.say(f"the champion is {moved}")
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
