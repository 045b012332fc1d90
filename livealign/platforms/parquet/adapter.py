"""Parquet logs of any engine in the landing tables' columns → landing tables.

    TABLE/dt=DAY/part-*.parquet     Spark, DuckDB (PARTITION_BY), BigQuery, LiveAlign's own landing
    dt=DAY/TABLE.parquet            a file or a folder of parts for each day
    TABLE.parquet, TABLE_0.parquet  without days: rows are placed by their time column

`livealign.platforms.parquet.layout` has the rules by which files are matched to tables,
`livealign.platforms.parquet.tables`
what is rejected. Ids may be numbers or text, which is hashed; with a secret key the ids of people are hashed either way.
Times may be timestamps of any unit, with a zone or without (UTC), or ISO text.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from livealign.errors import ArchiveError
from livealign.landing.run import LandingRun, Progress
from livealign.landing.schema import TABLES
from livealign.platforms.parquet.ids import ParquetIds
from livealign.platforms.parquet.layout import Layout, find_files, holds_any
from livealign.platforms.parquet.tables import days_of, land_files
from livealign.simulation.config import MANIFEST

NOTES = (
    "files are matched to tables by name: TABLE.parquet, TABLE_0.parquet, TABLE/…, with or without dt=DAY folders",
    "times without a zone are read as UTC; a row must be of the UTC day that its dt= folder names",
    "ids that are text become hashes of 63 bits",
)


def recognises(archive: Path) -> bool:
    """Whether files are named after landing tables, in no simulated archive and no landing."""
    return not (archive / MANIFEST).exists() and not any(archive.glob("ledger/dt=*")) and holds_any(archive)


def archive_days(archive: Path) -> list[date]:
    """All UTC days, from the partitions' names or else from the time columns.

    Raises:
        ArchiveError: no file is named after a landing table.
    """
    return days_of(_layout(archive))


def land_days(archive: Path, run: LandingRun, days: Sequence[date], progress: Progress | None = None) -> None:
    """Land the rows of these days.

    Raises:
        ArchiveError: no file is named after a landing table.
    """
    land_files(_layout(archive), run, days, progress, ParquetIds("parquet"))


def _layout(archive: Path) -> Layout:
    layout = find_files(archive)
    if not layout.files and not layout.managed:
        raise ArchiveError(
            f"{archive} has no Parquet file of a landing table; name them TABLE.parquet or TABLE/dt=YYYY-MM-DD/part-0.parquet, "
            f"where TABLE is one of {', '.join(TABLES)}"
        )
    return layout
