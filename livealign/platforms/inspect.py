"""The report of what would land of an archive, from a landing into a temporary folder.

`inspect_archive` recognises the platform, lands the archive into a scratch folder, and reports from its ledger and rejects what
each kind of file and each landing table would have. A folder that is a landing already is reported as it is.
"""

import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq

from livealign.days import PART
from livealign.errors import ArchiveError
from livealign.landing.books import WARNINGS
from livealign.landing.partitions import landed_days
from livealign.landing.run import Progress
from livealign.landing.schema import TABLES
from livealign.landing.summary import LandingSummary
from livealign.operation_config import LandingConfig
from livealign.platforms.inspect_tables import TABLES_OF, Given
from livealign.platforms.kuaishou.files import FileSpec, find_paths
from livealign.platforms.registry import PLATFORMS, land, recognise

LANDING = "landing"  # the format of a folder that this program landed
MANY_FILES = 60  # more are reported by kind
REASONS_SHOWN = 3


@dataclass(frozen=True)
class FileCount:
    """The rows that one file, or the files of one kind (`*` in the name), give to a table."""

    file: str
    table: str
    read: int
    landed: int
    rejected: int
    why: str  # reasons of the rejects, the most frequent first, each with the detail of its first row; warnings


@dataclass(frozen=True)
class Inspection:
    """The rows of an archive that would land, by file and by landing table.

    `notes` is what a user should know before landing.
    """

    folder: Path
    platform: str
    files: list[FileCount]
    days: list[date]
    tables: Mapping[str, Given]
    summary: LandingSummary
    notes: list[str] = field(default_factory=list)


def inspect_archive(
    folder: Path,
    progress: Progress | None = None,
    platform: str | None = None,
    days: Sequence[date] | None = None,
    config: LandingConfig | None = None,
) -> Inspection:
    """Land a folder, or some days of it, into a temporary folder and report.

    The archive itself is not touched.

    Args:
        platform: of the archive; what its files look like if not given.

    Raises:
        ArchiveError: it is of no format that is known here, or cannot be landed at all.
    """
    folder = Path(folder)
    if platform is None and any(folder.glob(f"ledger/dt=*/{PART}")):
        return _inspect_landing(folder)
    name = platform or recognise(folder)
    with tempfile.TemporaryDirectory(prefix="livealign-inspect-") as scratch:
        summary = land(name, folder, Path(scratch), days, progress, config=config)
        files = _count_files(Path(scratch), summary.days)
    notes = getattr(PLATFORMS[name], "notes", None)
    specs = getattr(PLATFORMS[name], "FILES", {})
    return Inspection(
        folder, name, files, summary.days, _tables(name, folder, specs, summary), summary, notes(folder) if notes else []
    )


def _inspect_landing(folder: Path) -> Inspection:
    days = landed_days(folder)
    files = _count_files(folder, days)
    summary = LandingSummary(days)
    for count in files:
        of_table = summary.tables[count.table]
        of_table.read += count.read
        of_table.landed += count.landed
        of_table.rejected += count.rejected
    tables = {
        name: Given("yes" if counts.landed else "no", f"{counts.landed:,} rows") for name, counts in summary.tables.items()
    }
    notes = ["landed already; `livealign validate` checks it against the contract"]
    return Inspection(folder, LANDING, files, days, tables, summary, notes)


def _count_files(landing: Path, days: Sequence[date]) -> list[FileCount]:
    """The counts and reject reasons of every file and table; many files of a kind are put together.

    Raises:
        ArchiveError: the ledger is damaged.
    """
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    reasons: dict[tuple[str, str], Counter[tuple[str, str]]] = defaultdict(Counter)
    for day in days:
        for row in _rows(landing / "ledger" / f"dt={day}" / PART, ["table", "file", "read", "landed", "rejected"]):
            of_file = counts[row["file"], row["table"]]
            for i, name in enumerate(("read", "landed", "rejected")):
                of_file[i] += row[name]
        for table in TABLES:
            for row in _rows(landing / "rejects" / table / f"dt={day}" / PART, ["file", "reason", "detail"]):
                reasons[row["file"], table][row["reason"], row["detail"]] += 1
    many = len({file for file, _ in [*counts, *reasons]}) > MANY_FILES
    kinds: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for file, table in sorted({*counts, *reasons}):
        kinds[_kind(file) if many else file, table].append((file, table))
    return [_file_count(*kind, [counts[key] for key in keys], [reasons[key] for key in keys]) for kind, keys in kinds.items()]


def _file_count(file: str, table: str, counts: list[list[int]], reasons: list[Counter[tuple[str, str]]]) -> FileCount:
    read, landed, rejected = (sum(numbers) for numbers in zip(*counts, strict=True))
    of_kind = sum(reasons, Counter[tuple[str, str]]())
    by_reason: Counter[str] = Counter()
    details: dict[str, str] = {}
    for (reason, detail), count in of_kind.items():
        by_reason[reason] += count
        several = reason in WARNINGS and reason in details
        details[reason] = f"{details[reason]}, {detail}" if several else details.get(reason, detail)
    reasons_shown = [
        f"{reason} {count:,}" + (f": {details[reason]}" if details[reason] else "") for reason, count in by_reason.most_common()
    ]
    more = [f"and {len(reasons_shown) - REASONS_SHOWN} further reasons"] if len(reasons_shown) > REASONS_SHOWN else []
    return FileCount(file, table, read, landed, rejected, "; ".join([*reasons_shown[:REASONS_SHOWN], *more]))


def _rows(path: Path, columns: list[str]) -> list[dict]:
    try:
        return pq.read_table(path, columns=columns, partitioning=None).to_pylist() if path.is_file() else []
    except (OSError, ValueError) as error:
        raise ArchiveError(f"{path} cannot be read ({str(error)[:200]}); land its day again") from error


def _kind(file: str) -> str:
    """The file's name with what differs between files of a kind as `*`: folders, numbers."""
    *folders, name = file.split("/")
    parents = ["dt=*" if folder.startswith("dt=") else folder if folder in TABLES else "*" for folder in folders]
    return "/".join([*parents, re.sub(r"[0-9a-f]*\d[0-9a-f-]*", "*", name)])


def _tables(name: str, folder: Path, specs: Mapping[str, FileSpec], summary: LandingSummary) -> dict[str, Given]:
    """The platform's tables; "no" for those whose files are missing or that would be empty."""
    tables = dict(TABLES_OF[name])
    for table, given in tables.items():
        counts = summary.tables[table]
        lacking = [spec.names[0] for key, spec in specs.items() if key in given.needs and not find_paths(folder, spec)]
        if lacking and len(lacking) == len(given.needs):
            tables[table] = Given("no", f"this archive has no {' or '.join(lacking)}", given.needs)
        elif given.can != "no" and not counts.landed:
            says = "all of it is rejected" if counts.read else "this archive has nothing of it"
            tables[table] = Given("no", f"{says}; the format gives {given.says}", given.needs)
        elif lacking:
            tables[table] = Given("partly", f"{given.says}; this archive has no {' or '.join(lacking)}", given.needs)
    return tables
