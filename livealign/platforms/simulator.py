"""Archives of the simulated platform (`livealign.simulation`) → landing tables.

    <archive>/simulator.json  <archive>/dt=YYYY-MM-DD/<table>.parquet

The tables are those of the landing contract already, yet nothing in them is trusted. What is rejected here, beside what
`livealign.landing.rules` rejects:

    missing_file      simulator.json counts rows of the day's table, and there is no file for them (line 0)
    unreadable_file   Parquet that is truncated or damaged; the rows before the damage land (line 0)
    unknown_file      something in a day's folder that is no landing table (line 0)
    wrong_day         a row whose time is not of the day in whose folder it lies

The truth (`truth/`) is never opened.
"""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from livealign.days import EPOCH
from livealign.errors import ArchiveError
from livealign.landing.rejects import rows_json
from livealign.landing.rules import UNKNOWN_DAY, check_rows
from livealign.landing.run import LandingRun, Progress
from livealign.landing.schema import TABLES
from livealign.simulation.archive import FORMAT
from livealign.simulation.config import MANIFEST

BATCH_ROWS = 131_072
REMEDY = "make the archive again with `livealign simulate`"
_DAY_FOLDER = re.compile(r"dt=(\d{4}-\d{2}-\d{2})")


def archive_days(archive: Path) -> list[date]:
    """All days that have a folder, sorted.

    Raises:
        ArchiveError: it is no simulated archive, or a day's folder has an impossible date.
    """
    _read_manifest(archive)
    return sorted(day for path in archive.iterdir() if (day := _folder_day(path)) is not None)


def land_days(archive: Path, run: LandingRun, days: Sequence[date], progress: Progress | None = None) -> None:
    """Hand every file of the days to the run. A day without a folder is an empty day, unless rows were promised for it.

    Raises:
        ArchiveError: it is no simulated archive.
    """
    promised = _read_manifest(archive)
    for done, day in enumerate(days):
        if progress:
            progress(done, len(days))
        folder = archive / f"dt={day}"
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.suffix != ".parquet" or path.stem not in TABLES:
                run.reject("rooms", f"{folder.name}/{path.name}", 0, "unknown_file", "no landing table has this name", day=day)
        for name in TABLES:
            _land_file(folder / f"{name}.parquet", name, day, _promised_rows(promised, day, name), run)
    if progress:
        progress(len(days), len(days))


def _land_file(path: Path, name: str, day: date, promised: int, run: LandingRun) -> None:
    file = f"{path.parent.name}/{path.name}"
    if not path.exists():
        if promised:
            run.reject(name, file, 0, "missing_file", f"{MANIFEST} counts {promised} rows here; {REMEDY}", day=day)
        return
    line = 1
    try:
        for rows in _batches(path):
            _land_batch(rows, name, file, line, day, run)
            line += len(rows)
    except ArchiveError as error:
        run.reject(name, file, 0, "unreadable_file", f"after {line - 1} rows: {error}"[:500], day=day)


def _batches(path: Path) -> Iterator[pa.Table]:
    """The file's rows, as far as they can be read.

    Raises:
        ArchiveError: it is damaged from here on. (What the consumer of the rows raises is none of this function's business.)
    """
    try:
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches(batch_size=BATCH_ROWS):
                yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ArchiveError(f"{error}; {REMEDY}") from error


def _land_batch(rows: pa.Table, name: str, file: str, first_line: int, day: date, run: LandingRun) -> None:
    """Rows of other days are rejected here, for a run looks at its own days only; the run judges everything else."""
    table = TABLES[name]
    times = rows.select([i for i, column in enumerate(rows.schema.names) if column == table.time_column])
    found = check_rows(table, times, run.now).day
    stray = (found != UNKNOWN_DAY) & (found != (day - EPOCH).days)
    if not stray.any():
        run.add(name, rows, file, first_line=first_line, file_day=day)
        return
    lines = first_line + np.arange(len(rows))
    strays = np.flatnonzero(stray)
    for i, row in zip(strays, rows_json(rows.take(strays)), strict=True):
        detail = f"{TABLES[name].time_column} is not of {day}"
        run.reject(name, file, int(lines[i]), "wrong_day", detail, row=json.loads(row), day=day)
    run.add(name, rows.filter(pa.array(~stray)), file, lines=lines[~stray], file_day=day)


def _read_manifest(archive: Path) -> dict[str, Any]:
    """The promised rows by day and table, as they stand in the file.

    Raises:
        ArchiveError: there is no archive, or its manifest is not one that this code reads.
    """
    path = archive / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ArchiveError(f"{archive} is no simulated archive: there is no {MANIFEST}; {REMEDY}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ArchiveError(f"{path} cannot be read ({error}); {REMEDY}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ArchiveError(f"{path} is not of format {FORMAT}; {REMEDY}")
    rows = manifest.get("rows")
    return rows if isinstance(rows, dict) else {}


def _promised_rows(promised: dict[str, Any], day: date, table: str) -> int:
    of_day = promised.get(day.isoformat())
    count = of_day.get(table) if isinstance(of_day, dict) else None
    return count if isinstance(count, int) else 0


def _folder_day(path: Path) -> date | None:
    found = _DAY_FOLDER.fullmatch(path.name)
    if found is None:
        return None
    try:
        return date.fromisoformat(found[1])
    except ValueError:
        raise ArchiveError(f"{path} is named after an impossible date; rename or remove the folder") from None
