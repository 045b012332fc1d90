"""What an archive is and what can come of it, before anything is landed.

`inspect_archive` recognises the format, counts the rows of every file and the days they cover, and says of each landing
table whether this archive can fill it, and how truly.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from livealign.days import PART, end_of
from livealign.errors import ArchiveError
from livealign.landing.run import Progress, landed_days
from livealign.landing.schema import TABLES
from livealign.platforms import served, simulator
from livealign.platforms.chat.adapter import ChatAdapter, site_of
from livealign.platforms.chat.broadcasts import OTHER
from livealign.platforms.chat.find import find_broadcasts
from livealign.platforms.csv_blocks import UnreadableFileError
from livealign.platforms.inspect_tables import TABLES_OF, Given
from livealign.platforms.kuaishou import kuailive
from livealign.platforms.kuaishou.files import FOLDERS, SUFFIXES, FileSpec, Source, find_paths, open_sources, scan
from livealign.platforms.kuaishou.m3_survey import FILES as M3_FILES
from livealign.platforms.kuaishou.m3_survey import Survey
from livealign.platforms.typed_batches import Kind, column_names, read_batches
from livealign.simulation.config import MANIFEST

FORMATS = ("simulator", "twitch", "youtube", "bilibili", "chat", "kuailive", "kuailive_m3", "served", "landing")
NO_TABLE = {
    "live_room_set": "nothing: live_room_meta has the same ids",
    "live_questionnaire": "nothing: the landing contract has no table for surveys (its options are JSON arrays)",
    "photo_*": "nothing: short video is no live streaming",
}


@dataclass(frozen=True)
class FileCount:
    """One file, or files of one kind: `*` in the name."""

    file: str
    becomes: str  # what landing makes of it
    rows: int | None = None  # that can be read; None where nobody looked
    bad_rows: int = 0
    first_day: date | None = None  # UTC
    last_day: date | None = None
    problem: str | None = None  # why it cannot be read, or not to its end


@dataclass(frozen=True)
class Inspection:
    """What was found. `tables` has every landing table; `notes` is what a user should know before landing."""

    folder: Path
    platform: str
    files: list[FileCount]
    days: list[date]
    tables: Mapping[str, Given]
    notes: list[str] = field(default_factory=list)


def inspect_archive(folder: Path, progress: Progress | None = None) -> Inspection:
    """Look through a folder; nothing is written.

    Raises:
        ArchiveError: it is none of the formats known here, or of one whose times cannot be placed.
    """
    folder = Path(folder)
    looks: dict[str, Callable[[Path, Progress], Inspection]] = {
        "simulator": _inspect_simulator,
        "twitch": _inspect_chat,
        "youtube": _inspect_chat,
        "bilibili": _inspect_chat,
        "chat": _inspect_chat,
        "kuailive": _inspect_kuailive,
        "kuailive_m3": _inspect_m3,
        "served": _inspect_served,
        "landing": _inspect_landing,
    }
    return looks[recognise(folder)](folder, progress or (lambda done, total: None))


def recognise(folder: Path) -> str:
    """The format of a folder, one of `FORMATS`, by the names of its files; chats by a look into them.

    Raises:
        ArchiveError: none of them, or two at once.
    """
    if not folder.is_dir():
        raise ArchiveError(f"{folder} is no folder; give the folder that holds the archive")
    found = []
    if (folder / MANIFEST).is_file():
        found.append("simulator")
    if _has(folder, kuailive.FILES, ("rooms", "clicks")):
        found.append("kuailive")
    if _has(folder, M3_FILES, ("rooms", "plays", "shows", "segment_vectors")):
        found.append("kuailive_m3")
    if any(folder.glob("events-*.log")):
        found.append("served")
    if any(folder.glob("ledger/dt=*")):
        found.append("landing")
    if not found:
        with contextlib.suppress(ArchiveError):
            chats = find_broadcasts(folder)
            found.append(site_of({broadcast.site for broadcast in chats.broadcasts}, chats.names))
    if len(found) != 1:
        what = f"looks like {' and '.join(found)} at once" if found else "is of no known format"
        raise ArchiveError(
            f"{folder} {what}; expected one of: {MANIFEST} (simulator), CHANNEL/BROADCAST/vod.json or another chat archive "
            "(twitch, youtube, bilibili, chat), click.csv with "
            "room.csv (kuailive), live_interaction.csv with live_room_meta.parquet (kuailive_m3), events-*.log (served), "
            "ledger/ (a landing folder)"
        )
    return found[0]


def _inspect_kuailive(folder: Path, progress: Progress) -> Inspection:
    sources, unfit = open_sources(folder, kuailive.FILES)
    files = _count_sources(sources, lambda source: 0, progress)
    files += [FileCount(bad.file, bad.spec.says, problem=bad.problem.detail) for bad in unfit]
    files += [_count_titles(folder, path) for path in kuailive.find_titles(folder)]
    notes = [
        "times are Unix milliseconds; our days are UTC, while p_date is a day in Shanghai (16:00 UTC to 16:00 UTC)",
        "profiles are undated snapshots: they land on the first day, though they may know later days",
    ]
    return Inspection(folder, "kuailive", files, _days(sources), _tables("kuailive", kuailive.FILES, sources), notes)


def _count_titles(folder: Path, path: Path) -> FileCount:
    name, becomes = path.relative_to(folder).as_posix(), "content_vectors: the title's vector at the start of each room"
    try:
        return FileCount(name, becomes, len(kuailive.open_titles(path)))
    except ArchiveError as error:
        return FileCount(name, becomes, problem=str(error))


def _inspect_m3(folder: Path, progress: Progress) -> Inspection:
    survey = Survey(folder)
    files = _count_sources(survey.sources, survey.offset_ms, progress)
    files += [FileCount(bad.file, bad.spec.says, problem=bad.problem.detail) for bad in survey.unfit]
    files += _count_unused(folder)
    notes = [f"{file}: its times are on the clock of {clock.name} ({clock.because})" for file, clock in survey.clocks.items()]
    notes.append("our days are UTC, while p_date is a day in Shanghai (16:00 UTC to 16:00 UTC)")
    notes.append("profiles are undated snapshots: they land on the first day, though they may know later days")
    tables = _tables("kuailive_m3", M3_FILES, survey.sources)
    return Inspection(folder, "kuailive_m3", files, survey.days(), tables, notes)


def _count_unused(folder: Path) -> list[FileCount]:
    """Published files that no landing table has a place for; their rows are counted so that nobody wonders."""
    counts = []
    for name, becomes in NO_TABLE.items():
        paths = [
            path for part in (*FOLDERS, "short_video") for suffix in SUFFIXES for path in (folder / part).glob(name + suffix)
        ]
        for path in sorted(paths):
            rows, bad, problem = 0, 0, None
            try:
                for batch in read_batches(path, dict.fromkeys(column_names(path)[:1], Kind.TEXT)):
                    rows += len(batch.lines)
                    bad += len(batch.bad)
            except UnreadableFileError as error:
                problem = str(error)
            counts.append(FileCount(path.relative_to(folder).as_posix(), becomes, rows, bad, problem=problem))
    return counts


def _inspect_chat(folder: Path, progress: Progress) -> Inspection:
    found = find_broadcasts(folder)
    messages: Counter[str] = Counter()
    bad_messages: Counter[str] = Counter()
    days: dict[str, set[date]] = {}
    problems = [FileCount(bad.file, "rooms", problem=f"{bad.reason}: {bad.detail}") for bad in found.bad]
    for done, broadcast in enumerate(found.broadcasts):
        progress(done, len(found.broadcasts))
        for chat in broadcast.chats:
            kind = f"*{Path(chat.file).suffix}" if broadcast.site != "twitch" else f"*/{Path(chat.file).name}"
            days.setdefault(kind, set()).update(broadcast.days)
            try:
                reading = chat.read(folder / chat.file, broadcast, chat)
            except FileNotFoundError:
                detail = f"there is no chat beside {Path(broadcast.file).name}"
                problems.append(FileCount(chat.file, "comments", problem=detail))
                continue
            except ArchiveError as error:
                problems.append(FileCount(chat.file, "comments", problem=str(error)))
                continue
            messages[kind] += len(reading.good)
            bad_messages[kind] += len(reading.bad)
    progress(len(found.broadcasts), len(found.broadcasts))
    every = sorted({day for of_kind in days.values() for day in of_kind})
    first, last = (every[0], every[-1]) if every else (None, None)
    becomes = "comments, speech, gifts; plays and impressions are inferred"
    files = [FileCount("broadcasts", "rooms, authors", len(found.broadcasts), len(found.bad), first, last)]
    for kind, of_kind in sorted(days.items()):
        files.append(FileCount(kind, becomes, messages[kind], bad_messages[kind], min(of_kind), max(of_kind)))
    site = site_of({broadcast.site for broadcast in found.broadcasts}, found.names)
    notes = ChatAdapter(OTHER).notes(folder)
    return Inspection(folder, site, [*files, *problems], every, TABLES_OF[site], notes)


def _inspect_simulator(folder: Path, progress: Progress) -> Inspection:
    days = simulator.archive_days(folder)
    files = [_count_parquet(folder, f"dt=*/{name}.parquet", name) for name in TABLES]
    notes = ["made up from a seed; truth/ is never landed"]
    return Inspection(folder, "simulator", files, days, TABLES_OF["simulator"], notes)


def _inspect_served(folder: Path, progress: Progress) -> Inspection:
    found = served.count_events(folder)
    span = (found.days[0], found.days[-1]) if found.days else (None, None)
    files = [FileCount("events-*.log", "every table but vectors and frames", found.events, found.damaged, *span)]
    notes = ["what the service was told and what it showed; the file that it still writes to is not read"]
    return Inspection(folder, "served", files, found.days, TABLES_OF["served"], notes)


def _inspect_landing(folder: Path, progress: Progress) -> Inspection:
    days = landed_days(folder)
    files = [_count_parquet(folder, f"{name}/dt=*/{PART}", name) for name in TABLES]
    files += [_count_parquet(folder, f"rejects/*/dt=*/{PART}", "what did not fit, and warnings")]
    says = {
        name: Given("yes" if count.rows else "no", f"{count.rows or 0} rows")
        for name, count in zip(TABLES, files, strict=False)
    }
    return Inspection(
        folder, "landing", files, days, says, ["landed already; `livealign validate` checks it against the contract"]
    )


def _count_parquet(folder: Path, pattern: str, becomes: str) -> FileCount:
    rows, problem, days = 0, None, []
    for path in sorted(folder.glob(pattern)):
        try:
            count = pq.read_metadata(path).num_rows
        except (pa.ArrowException, OSError) as error:
            problem = f"{path.relative_to(folder).as_posix()} cannot be read ({str(error)[:200]})"
            continue
        rows += count
        day = next(part for part in path.relative_to(folder).parts if part.startswith("dt="))
        if count:
            days.append(date.fromisoformat(day.removeprefix("dt=")))
    return FileCount(pattern, becomes, rows, 0, min(days, default=None), max(days, default=None), problem)


def _count_sources(
    sources: Mapping[str, list[Source]], offset_ms: Callable[[Source], int], progress: Progress
) -> list[FileCount]:
    latest = end_of(datetime.now(UTC).date()) - 1
    every = [source for of_name in sources.values() for source in of_name]
    counts = []
    for done, source in enumerate(every):
        progress(done, len(every))
        found = scan(source, offset_ms(source), latest)
        days = sorted(found.days)
        becomes = f"{source.spec.table}: {source.spec.says}"
        first, last = (days[0], days[-1]) if days else (None, None)
        counts.append(FileCount(source.file, becomes, found.rows, found.bad, first, last, found.problem))
    progress(len(every), len(every))
    return counts


def _days(sources: Mapping[str, list[Source]]) -> list[date]:
    latest = end_of(datetime.now(UTC).date()) - 1
    every = [source for of_name in sources.values() for source in of_name if source.spec.time]
    return sorted(set().union(*(scan(source, 0, latest).days for source in every)))


def _tables(platform: str, specs: Mapping[str, FileSpec], sources: Mapping[str, list[Source]]) -> dict[str, Given]:
    """What the platform gives, less what needs a file that this archive does not have."""
    tables = dict(TABLES_OF[platform])
    for table, given in tables.items():
        lacking = [spec.names[0] for name, spec in specs.items() if name in given.needs and not sources[name]]
        if lacking and len(lacking) == len(given.needs):
            tables[table] = Given("no", f"this archive has no {' or '.join(lacking)}", given.needs)
        elif lacking:
            tables[table] = Given("partly", f"{given.says}; this archive has no {' or '.join(lacking)}", given.needs)
    return tables


def _has(folder: Path, specs: Mapping[str, FileSpec], names: tuple[str, ...]) -> bool:
    """Whether at least two of a format's tell-tale files are there."""
    return sum(bool(find_paths(folder, specs[name])) for name in names) >= 2
