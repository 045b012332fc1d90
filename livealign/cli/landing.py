"""The `livealign` commands about archives and landing: simulate, inspect, land, validate."""

import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from livealign.cli.command import PATH, SetOption, given_flags
from livealign.console import PlainConsole, progress_bar, styled, table
from livealign.days import day_range
from livealign.errors import LiveAlignError
from livealign.full_disk import full_disk_line
from livealign.home import Home
from livealign.operation_config import LandingConfig
from livealign.simulation.config import NEW_WORDS

console = PlainConsole()

KnownPlatform = Annotated[
    str | None, typer.Option(envvar="LIVEALIGN_PLATFORM", help="of the archive; default: what its files look like")
]
DaysOption = Annotated[str | None, typer.Option(help="FIRST or FIRST..LAST, YYYY-MM-DD; default: every day of the archive")]
ShareOption = Annotated[
    str | None, typer.Option("--max-rejected", help="share of a table's rows, short for --set landing.max_rejected_share=…")
]
StartOption = Annotated[str | None, typer.Option("--start", help="of LiveRec alone: when step 0 was, as 2019-04-01T00:00Z")]


def add_landing_commands(app: typer.Typer) -> None:
    """Give the application the commands of this module."""
    for command in (simulate, inspect, validate, land):
        app.command(command.__name__)(command)


def simulate(
    out: Annotated[
        Path | None,
        typer.Option(**PATH, help="folder of the new archive; default: LIVEALIGN_HOME/archive/simulator"),
    ] = None,
    users: Annotated[int, typer.Option(min=1, max=1_000_000)] = 400,
    authors: Annotated[int, typer.Option(min=1, max=1_000_000)] = 200,
    days: Annotated[int, typer.Option(min=1, max=3_650)] = 8,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="the same seed gives the same bytes")] = 17,
    off_topic: Annotated[
        float, typer.Option(min=0, max=1, help="share of authors in whose rooms people talk of anything but what is aired")
    ] = 0.0,
    new_words: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="share of broadcasts that name only what no day before named; 0: a closed vocabulary of topics"
        ),
    ] = NEW_WORDS,
    frames: Annotated[bool, typer.Option("--frames", help="draw a picture for each window of most rooms")] = False,
) -> None:
    """Make the archive of a simulated platform, with its truth beside it.

    Demand and broadcasts grow with users, authors and days. An archive that this command made is replaced, nothing else is.
    """
    from livealign.simulation.archive import simulate as make
    from livealign.simulation.config import SimulationConfig

    target = out or Home.from_environment("simulator").archive
    with progress_bar("simulating") as advance:
        config = SimulationConfig(
            users=users,
            authors=authors,
            days=days,
            seed=seed,
            off_topic_share=off_topic,
            new_words=new_words,
            frames=frames,
        )
        try:
            summary = make(config, target, progress=advance)
        except OSError as error:
            if full_disk_line(error):
                raise
            raise LiveAlignError(
                f"{target} cannot be made ({error.strerror or error}); name another folder by "
                + ("LIVEALIGN_HOME" if out is None else "--out")
            ) from error
    console.say(f"{target}: {summary.rows['impressions']:,} impressions, {summary.rows['rooms']:,} broadcasts, {days} days")
    if summary.used_up:
        console.say(f"! from {summary.used_up} on some topics have no member that was never said; the longest unsaid return")


def inspect(
    folder: Annotated[Path, typer.Argument(help="folder of an archive, of any platform that is known", **PATH)],
    platform: KnownPlatform = None,
    days: DaysOption = None,
    start: StartOption = None,
    set_: SetOption = None,
) -> None:
    """Report what would land of an archive, and what would be rejected and why.

    The archive is recognised and landed into a temporary folder; nothing is kept. Exits 1 where `land` would.
    """
    from livealign.landing.summary import failures, warnings
    from livealign.platforms.inspect import inspect_archive

    config = landing_config(set_)
    hand_on_start(start, folder, platform)
    with progress_bar("landing it into a temporary folder") as advance:
        found = inspect_archive(folder, advance, platform, day_span(days), config)
    span = f"{len(found.days)} days, {found.days[0]} to {found.days[-1]}" if found.days else "no day"
    console.say(styled((found.platform, "bold"), f" archive in {folder}: {span}"))
    files = table("file", "table", "read", "would land", "rejected", "why", title="files")
    for file in found.files:
        files.add_row(file.file, file.table, f"{file.read:,}", f"{file.landed:,}", f"{file.rejected:,}", file.why)
    tables = table("table", "given", "would land", "rejected", "how", title="landing tables")
    for name, given in found.tables.items():
        counts = found.summary.tables[name]
        tables.add_row(name, given.can, f"{counts.landed:,}", _share(counts.rejected, counts.read), given.says)
    console.print(files, tables)
    for line in warnings(found.summary):
        console.say(f"! {line}")
    for note in found.notes:
        console.say(f"• {note}")
    faults = failures(found.summary, Path("LANDING"), config)
    for line in faults:
        console.say(styled(("✗ ", "bold red"), line))
    if faults:
        raise typer.Exit(1)


def validate(
    landing: Annotated[Path, typer.Argument(help="a landing folder, of this program or of your own adapter", **PATH)],
) -> None:
    """Check a landing folder against the contract: types, keys, references, times, units.

    Exits 1 on errors.
    """
    from livealign.landing.validate import validate_landing

    with progress_bar("checking") as advance:
        breaches = validate_landing(landing, advance, config=landing_config(None))
    for breach in breaches:
        place = f"{breach.file}:{breach.row}" if breach.row else breach.file
        console.say(f"{breach.severity}  {place}  {breach.detail} ({breach.count:,} rows)")
    errors = sum(breach.severity == "error" for breach in breaches)
    console.say(f"{landing}: {errors} errors, {len(breaches) - errors} warnings")
    if errors:
        raise typer.Exit(1)


def land(
    archive: Annotated[
        Path | None,
        typer.Option(**PATH, help="folder of the platform's archive; default: LIVEALIGN_HOME/archive/PLATFORM"),
    ] = None,
    platform: KnownPlatform = None,
    days: DaysOption = None,
    start: StartOption = None,
    max_rejected: ShareOption = None,
    set_: SetOption = None,
) -> None:
    """Translate an archive to the landing contract.

    What does not fit is kept in landing/rejects with file, line and reason. Exits 1 where nothing of a table landed or too
    much of it was rejected; what landed is there all the same.
    """
    from livealign.landing.summary import failures, warnings
    from livealign.platforms.registry import land as land_archive
    from livealign.platforms.registry import recognise

    config = landing_config(set_, max_rejected)
    if archive is None:
        if platform is None:
            raise LiveAlignError("neither --archive nor --platform is given; name the archive's folder, or whose archive it is")
        archive = Home.from_environment(platform).archive
        if not archive.is_dir():
            raise LiveAlignError(f"{archive}, the folder of {platform}'s archive, is not there; name another by --archive")
    hand_on_start(start, archive, platform)
    home = Home.from_environment(platform or recognise(archive))
    if moved := home.activate():
        console.say(moved)
    with progress_bar("landing") as advance:
        summary = land_archive(home.platform, archive, home.landing, day_span(days), progress=advance, config=config)
    shown = table("table", "read", "landed", "rejected", "share", "reasons")
    for name, counts in summary.tables.items():
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in counts.reasons.most_common())
        share = f"{counts.rejected / counts.read:.1%}" if counts.read else "–"
        shown.add_row(name, f"{counts.read:,}", f"{counts.landed:,}", f"{counts.rejected:,}", share, reasons)
    console.say(f"{home.landing}: {len(summary.days)} days of platform {home.platform}")
    console.print(shown)
    for line in warnings(summary):
        console.say(f"! {line}")
    failed = failures(summary, home.landing, config)
    for line in failed:
        console.say(styled(("✗ ", "bold red"), line))
    if failed:
        raise typer.Exit(1)


def landing_config(settings: Sequence[str] | None, max_rejected: str | None = None) -> LandingConfig:
    """The settings of landing that are in force, with what the command line gives.

    Raises:
        LiveAlignError: an unknown setting, or a value that it cannot have.
    """
    from livealign.settings import GivenValue, load_settings

    flags = given_flags(settings=settings)
    if max_rejected is not None:
        flags.append(GivenValue.option("--max-rejected", "landing.max_rejected_share", max_rejected))
    return load_settings(flags).profile.landing


def hand_on_start(start: str | None, archive: Path, platform: str | None) -> None:
    """Put the start of LiveRec's steps into the environment, where its adapter reads it.

    Raises:
        LiveAlignError: the archive is of another platform.
    """
    if start is None:
        return
    from livealign.platforms.liverec.adapter import VARIABLE
    from livealign.platforms.registry import recognise

    name = platform or recognise(archive)
    if name != "liverec":
        raise LiveAlignError(f"--start {start}: only files of platform liverec count from a start, not those of {name}")
    os.environ[VARIABLE] = start


def day_span(text: str | None) -> list[date] | None:
    """The days of FIRST or FIRST..LAST.

    Raises:
        LiveAlignError: it is no such text.
    """
    if text is None:
        return None
    if not text.strip():
        raise LiveAlignError("--days is empty; write 2025-06-02 or 2025-06-02..2025-06-09, or leave it out")
    first, _, last = text.partition("..")
    try:
        return day_range(date.fromisoformat(first), date.fromisoformat(last or first))
    except ValueError as error:
        raise LiveAlignError(f"--days {text[:80]}: {error}; write 2025-06-02 or 2025-06-02..2025-06-09") from None


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.1%})" if part else "0"
