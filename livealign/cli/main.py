"""The `livealign` command: everything finer than `make`."""

import time
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from livealign.cli.command import run_command
from livealign.cli.progress import progress_bar
from livealign.cli.releases import PlatformOption, add_release_commands
from livealign.cli.settings import settings
from livealign.errors import LiveAlignError
from livealign.home import Home

app = typer.Typer(
    help="LiveAlign: recommendation that follows the moment. `make retrain` runs all of it; these are its parts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console(highlight=False)


@app.command()
def simulate(
    out: Annotated[
        Path | None, typer.Option(help="folder of the new archive; default: LIVEALIGN_HOME/archive/simulator")
    ] = None,
    users: Annotated[int, typer.Option(min=1)] = 400,
    authors: Annotated[int, typer.Option(min=1)] = 200,
    days: Annotated[int, typer.Option(min=1)] = 8,
    seed: Annotated[int, typer.Option(min=0, help="the same seed gives the same bytes")] = 17,
    off_topic: Annotated[
        float, typer.Option(min=0, max=1, help="share of authors in whose rooms people do not talk about what is aired")
    ] = 0.0,
) -> None:
    """Simulate a platform and write its archive, with its truth beside it.

    Demand and broadcasts grow with users, authors and days. An older simulated archive is replaced.
    """
    from livealign.simulation.archive import simulate as make
    from livealign.simulation.config import SimulationConfig

    target = out or Home.from_environment("simulator").archive
    with progress_bar("simulating") as advance:
        config = SimulationConfig(users=users, authors=authors, days=days, seed=seed, off_topic_share=off_topic)
        summary = make(config, target, progress=advance)
    console.print(f"{target}: {summary.rows['impressions']:,} impressions, {summary.rows['rooms']:,} broadcasts, {days} days")


@app.command()
def inspect(folder: Annotated[Path, typer.Argument(help="folder of an archive, of any platform that is known")]) -> None:
    """Recognise an archive, count its rows, and report what each landing table can give.

    Writes nothing.
    """
    from livealign.platforms.inspect import inspect_archive

    with progress_bar("looking") as advance:
        inspection = inspect_archive(folder, advance)
    days = f"{len(inspection.days)} days, {inspection.days[0]} to {inspection.days[-1]}" if inspection.days else "no day"
    console.print(f"[bold]{inspection.platform}[/] archive in {folder}: {days}")
    files = Table("file", "becomes", "rows", "unreadable", "problem", title="files", title_justify="left")
    for file in inspection.files:
        rows = "–" if file.rows is None else f"{file.rows:,}"
        files.add_row(file.file, file.becomes, rows, f"{file.bad_rows:,}", file.problem or "")
    tables = Table("table", "given", "how", title="landing tables", title_justify="left")
    for name, given in inspection.tables.items():
        tables.add_row(name, given.can, given.says)
    console.print(files, tables)
    for note in inspection.notes:
        console.print(f"• {note}", markup=False)


@app.command()
def validate(
    landing: Annotated[Path, typer.Argument(help="a landing folder, of this program or of your own adapter")],
) -> None:
    """Check a landing folder against the contract: types, keys, references, times, units.

    Exits 1 on errors.
    """
    from livealign.landing.validate import validate_landing

    with progress_bar("checking") as advance:
        problems = validate_landing(landing, advance)
    for problem in problems:
        place = f"{problem.file}:{problem.row}" if problem.row else problem.file
        console.print(f"{problem.severity}  {place}  {problem.detail} ({problem.count:,} rows)", markup=False)
    errors = sum(problem.severity == "error" for problem in problems)
    console.print(f"{landing}: {errors} errors, {len(problems) - errors} warnings")
    if errors:
        raise typer.Exit(1)


@app.command()
def land(
    archive: Annotated[Path, typer.Option(help="folder of the platform's archive")],
    platform: PlatformOption = "simulator",
    days: Annotated[
        str | None, typer.Option(help="FIRST or FIRST..LAST, YYYY-MM-DD; default: every day of the archive")
    ] = None,
) -> None:
    """Translate an archive to the landing contract.

    Rows that do not fit are kept in landing/rejects with file, line and reason.
    """
    from livealign.platforms.registry import land as land_archive

    home = Home.from_environment(platform)
    home.activate()
    with progress_bar("landing") as advance:
        summary = land_archive(platform, archive, home.landing, _day_span(days), progress=advance)
    table = Table("table", "read", "landed", "rejected", "reasons", title=f"{home.landing}", title_justify="left")
    for name, counts in summary.tables.items():
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in counts.reasons.most_common())
        table.add_row(name, f"{counts.read:,}", f"{counts.landed:,}", f"{counts.rejected:,}", reasons)
    console.print(table)


@app.command()
def replay(
    day: Annotated[str, typer.Option(help="a landed day that was retrained for, YYYY-MM-DD")],
    platform: PlatformOption = "simulator",
) -> None:
    """Replay a landed day through the live core and compare it with the batch pipeline.

    Exits 1 on a difference.
    """
    import tempfile

    from livealign.replay.compare import replay_day

    home = Home.from_environment(platform)
    with tempfile.TemporaryDirectory(prefix="livealign-replay-") as scratch, progress_bar("replaying") as advance:
        report = replay_day(home, _one_day(day), Path(scratch), advance)
    table = Table("", "compared", "missing", "largest difference", "mean", title=f"{report.release_id}", title_justify="left")
    for name in ("embeddings", "vectors", "scores"):
        compared, missing, largest, mean = getattr(report, name)
        table.add_row(name, f"{compared:,}", f"{missing:,}", f"{largest:.2e}", f"{mean:.2e}")
    console.print(table)
    console.print(f"{report.equal_codes:.2%} of the codes are equal; {report.events:,} events, {report.rejected:,} rejected")
    for problem in report.problems():
        console.print(f"✗ {problem}", markup=False)
    if report.problems():
        raise typer.Exit(1)


@app.command()
def backbone(name: Annotated[str, typer.Argument(help="a pinned backbone")] = "smollm2-135m") -> None:
    """Fetch a pretrained language model, verify its SHA-256 and convert it, once."""
    from livealign.llm.backbone import fetch_backbone

    folder = fetch_backbone(name, Home.from_environment().models, progress=console.print)
    console.print(f"{name} is in {folder}")


@app.command()
def export_events(
    out: Annotated[Path | None, typer.Option(help="folder of the closed files; default: LIVEALIGN_HOME/archive/served")] = None,
    once: Annotated[bool, typer.Option("--once", help="write what the log holds now, and end")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="seconds between two looks")] = 5.0,
) -> None:
    """Export the shared event log in Redis to the files that platform `served` lands.

    LIVEALIGN_REDIS_URL names the server. Run one process of it.
    """
    from livealign.events.redis_export import RedisExport
    from livealign.events.redis_log import URL, RedisLog

    log = RedisLog.from_environment()
    if log is None:
        raise LiveAlignError(f"{URL} is not set; it names the server of the shared log, as redis://host:6379/0")
    folder = out or Home.from_environment("served").archive
    export = RedisExport.open(log, folder)
    try:
        while True:
            step = export.step()
            if step.written or once:
                console.print(f"{folder}: {step.written:,} events written, {step.trimmed:,} trimmed from the stream")
            if once:
                return
            time.sleep(every)
    except KeyboardInterrupt:
        console.print("stopped; what was written stays, and the next start continues after it")
    finally:
        export.close()


add_release_commands(app)
app.command()(settings)


def _one_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise LiveAlignError(f"--day {text}: {error}; write one day, like 2025-06-09") from None


def _day_span(text: str | None) -> list[date] | None:
    if text is None:
        return None
    from livealign.days import day_range

    first, _, last = text.partition("..")
    try:
        return day_range(date.fromisoformat(first), date.fromisoformat(last or first))
    except ValueError as error:
        raise LiveAlignError(f"--days {text}: {error}; write 2025-06-02 or 2025-06-02..2025-06-09") from None


def main() -> None:
    """Run the command; an error that a person can act on is one line, not a traceback."""
    run_command(app)


if __name__ == "__main__":
    main()
