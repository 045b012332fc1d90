"""The `livealign` command: everything finer than `make`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from livealign.cli.backbones import backbones
from livealign.cli.command import PATH, run_command
from livealign.cli.doctor import doctor
from livealign.cli.landing import add_landing_commands
from livealign.cli.releases import PlatformOption, add_release_commands
from livealign.cli.settings import settings
from livealign.cli.store import store
from livealign.console import PlainConsole, progress_bar, table
from livealign.days import day_written
from livealign.errors import EventLogError, LiveAlignError
from livealign.home import Home

app = typer.Typer(
    help="LiveAlign: recommendation that follows the moment. `make retrain` runs all of it; these are its parts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = PlainConsole()
add_landing_commands(app)
app.add_typer(backbones, name="backbone")
app.add_typer(store, name="store")


@app.command()
def replay(
    day: Annotated[str, typer.Option(help="a landed day that was retrained for, YYYY-MM-DD")],
    platform: PlatformOption = "simulator",
) -> None:
    """Replay a landed day through the live core and compare it with the batch pipeline.

    Exits 1 on a difference.
    """
    held_out = day_written(day, "--day")  # before torch is imported
    import tempfile

    from livealign.replay.compare import replay_day

    home = Home.from_environment(platform)
    with tempfile.TemporaryDirectory(prefix="livealign-replay-") as scratch, progress_bar("replaying") as advance:
        report = replay_day(home, held_out, Path(scratch), advance)
    shown = table("", "compared", "missing", "largest difference", "mean", title=report.release_id)
    for name in ("embeddings", "lexical", "frames", "vectors", "scores"):
        if (deviation := getattr(report, name)) is None:
            continue  # the release does not read this source
        compared, missing, largest, mean = deviation
        shown.add_row(name, f"{compared:,}", f"{missing:,}", f"{largest:.2e}", f"{mean:.2e}")
    console.print(shown)
    console.say(f"{report.equal_codes:.2%} of the codes are equal; {report.events:,} events, {report.rejected:,} rejected")
    for problem in report.problems():
        console.say(f"✗ {problem}")
    if report.problems():
        raise typer.Exit(1)


@app.command()
def export_events(
    out: Annotated[
        Path | None,
        typer.Option(**PATH, help="folder of the closed files; default: LIVEALIGN_HOME/archive/served"),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="write what there is and end, instead of going on")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="seconds between two looks")] = 5.0,
) -> None:
    """Export the shared event log in Redis to the files that platform `served` lands.

    LIVEALIGN_REDIS_URL names the server. Run one process of it. A server that goes away is waited for.
    """
    from livealign.events.redis_export import RedisExport
    from livealign.events.redis_log import URL, RedisLog

    log = RedisLog.from_environment()
    if log is None:
        raise LiveAlignError(f"{URL} is not set; it names the server of the shared log, as redis://host:6379/0")
    folder = out or Home.from_environment("served").archive
    export, problem = RedisExport.open(log, folder), ""
    try:
        while True:
            try:
                step = export.step()
            except EventLogError as error:
                if once:
                    raise
                if not problem:
                    console.say(f"{error}; it is tried again every {every:g} s")
                problem = str(error)
                time.sleep(every)
                continue
            problem = ""
            if step.written or once:
                console.say(f"{folder}: {step.written:,} events written, {step.trimmed:,} trimmed from the stream")
            if once:
                return
            time.sleep(every)
    except KeyboardInterrupt:
        console.say("stopped; what was written stays, and the next start goes on behind it")
    finally:
        export.close()


add_release_commands(app)
app.command()(settings)
app.command()(doctor)


def main() -> None:
    """Run the command; an error that a person can act on is one line, not a traceback."""
    run_command(app)


if __name__ == "__main__":
    main()
