"""Archives of the simulated platform (`livealign.simulation`) → landing tables.

    <archive>/simulator.json  <archive>/dt=YYYY-MM-DD/<table>.parquet

The tables are those of the landing contract already, and `livealign.platforms.parquet.tables` reads them.
What the manifest adds:

    missing_file      simulator.json counts rows of the day's table, and there is no file for them (line 0)

The truth (`truth/`) is never opened.
"""

import json
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from livealign.errors import ArchiveError, reason_of
from livealign.files import plain_file
from livealign.landing.run import LandingRun, Progress
from livealign.landing.schema import TABLES
from livealign.platforms.parquet.layout import find_files
from livealign.platforms.parquet.tables import FETCH_AGAIN, days_of, land_files
from livealign.simulation.archive import FORMAT
from livealign.simulation.config import MANIFEST

NOTES = ("made up from a seed; truth/ is never landed",)
MAKE_AGAIN = "make the archive again with `livealign simulate`"
OWN_LOGS = "or land Parquet logs of your own with --platform parquet"
_DAY_FOLDER = re.compile(r"dt=(\d{4}-\d{2}-\d{2})")


def recognises(archive: Path) -> bool:
    """Whether the archive has a simulator's manifest."""
    return (archive / MANIFEST).is_file()


def ignored(archive: Path, relative_path: str) -> bool:
    """Whether a file is the simulation's truth, which landing must not know."""
    return relative_path.startswith("truth/")


def archive_days(archive: Path) -> list[date]:
    """All days that have a folder, sorted; an empty folder is an empty day.

    Raises:
        ArchiveError: it is no simulated archive, or a day's folder has an impossible date.
    """
    _read_manifest(archive)
    folders = {day for path in archive.iterdir() if (day := _folder_day(path)) is not None}
    return sorted(folders.union(days_of(find_files(archive))))


def land_days(archive: Path, run: LandingRun, days: Sequence[date], progress: Progress | None = None) -> None:
    """Hand every file of the days to the run.

    A day without a folder is an empty day, unless the manifest counts rows of it.

    Raises:
        ArchiveError: it is no simulated archive.
    """
    manifest = _read_manifest(archive)
    run.used(MANIFEST)
    layout = find_files(archive)
    remedy = MAKE_AGAIN if _was_simulated(manifest) else FETCH_AGAIN
    land_files(layout, run, days, progress, remedy=remedy)
    there = {(log.day, log.table) for log in layout.files}
    for day in days:
        for name in TABLES:
            promised = _promised_rows(manifest, day, name)
            if promised and (day, name) not in there:
                detail = f"{MANIFEST} counts {promised} rows here; {remedy}"
                run.reject(name, f"dt={day}/{name}.parquet", 0, "missing_file", detail, day=day)


def _read_manifest(archive: Path) -> dict[str, Any]:
    """The manifest as it stands in the file.

    Raises:
        ArchiveError: there is no archive, or its manifest is not one that this code reads.
    """
    path = archive / MANIFEST
    try:
        manifest = json.loads(plain_file(path).read_bytes())
    except FileNotFoundError:
        raise ArchiveError(f"{archive} is no simulated archive: there is no {MANIFEST}; give its folder, {OWN_LOGS}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ArchiveError(f"{path} cannot be read ({reason_of(error)}); {FETCH_AGAIN}, {OWN_LOGS}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise ArchiveError(f"{path} has format {str(found)[:40]}, not {FORMAT}; {FETCH_AGAIN}, {OWN_LOGS}")
    return manifest


def _was_simulated(manifest: dict[str, Any]) -> bool:
    """Whether `livealign simulate` wrote the archive, and so can write it again."""
    config = manifest.get("config")
    return isinstance(manifest.get("rows"), dict) and isinstance(config, dict) and "seed" in config


def _promised_rows(manifest: dict[str, Any], day: date, table: str) -> int:
    rows = manifest.get("rows")
    of_day = rows.get(day.isoformat()) if isinstance(rows, dict) else None
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
