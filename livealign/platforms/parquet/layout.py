"""The layout of Parquet logs in an archive, as engines write them: by table and day.

A file belongs to a table by exact names only:

    <table>.parquet, <table>_0.parquet, <table>-00000-of-00004.parquet    numbered parts, as BigQuery and Snowflake write them
    <table>/…, <table>.parquet/…                                          a folder of parts, whatever the parts are called

below any number of Hive partitions (`dt=2025-06-02`, `date=…/hour=…`, `year=…/month=…/day=…`) and plain date folders
(`2025/06/02`). Endings are .parquet, .parq and .pq, with or without the codec before them (.snappy.parquet); in a table's
folder a file without an ending counts where it begins as Parquet does (Trino, Hive). A path with any other folder in it, or
with two tables, is not matched: rows are never booked on a table that merely has a similar name.

A partition names the day of its rows where its key is one of `DAY_KEYS` and exactly one day is named.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from livealign.landing.schema import TABLES

DAY_KEYS = frozenset({"dt", "ds", "date", "day", "p_date", "event_date", "event_day", "partition_date"})
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
MAGIC = b"PAR1"

_ENDING = re.compile(r"(?:\.(?:snappy|zstd|zst|gz|gzip|lz4|lz4raw|brotli|uncompressed|c000))*\.(?:parquet|parq|pq)$")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PART_WORD = re.compile(r"\d+|part|of|c\d+|[0-9a-f]{8,}")
_COMPANION = re.compile(r"_SUCCESS|_metadata|_common_metadata|_committed_.*|_started_.*|\..*\.crc")
_DATE_FOLDER = re.compile(r"\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|\d{1,2}")
_DAY = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?:[ T_-].*)?")
_TABLE_FORMATS = {"_delta_log": "Delta Lake", ".hoodie": "Hudi", "metadata": "Iceberg"}


@dataclass(frozen=True)
class LogFile:
    """One file of a table, with the day and the values that its partitions name."""

    path: Path
    file: str  # relative to the archive
    table: str
    day: date | None
    values: Mapping[str, str | None]  # by key; a key that occurs twice is left out


class ManagedTable(NamedTuple):
    """A folder whose valid files only its own log knows; the others hold deleted rows."""

    folder: str
    table: str
    format: str
    files: list[str]


@dataclass
class Layout:
    """The files of an archive; `companions` carry no rows (`_SUCCESS`, checksums)."""

    files: list[LogFile] = field(default_factory=list)
    companions: list[str] = field(default_factory=list)
    managed: list[ManagedTable] = field(default_factory=list)


def find_files(archive: Path) -> Layout:
    """Every file of every landing table, by path; only those without an ending are opened."""
    layout = Layout()
    for folder, names in walk(archive):
        relative = folder.relative_to(archive).parts
        managed = _within_managed(archive, relative)
        for name in names:
            file = "/".join((*relative, name))
            if managed is not None:
                _managed(layout, *managed).files.append(file)
            elif _COMPANION.fullmatch(name):
                layout.companions.append(file)
            elif found := _matched(folder / name, file, relative):
                layout.files.append(found)
    return layout


def holds_any(archive: Path) -> bool:
    """Whether at least one file belongs to a table; the walk ends at the first."""
    return any(
        _matched(folder / name, name, folder.relative_to(archive).parts) for folder, names in walk(archive) for name in names
    )


def walk(archive: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder once with its files' names, sorted; links to folders are followed."""
    seen = set()
    for root, folders, names in os.walk(archive, followlinks=True):
        status = Path(root).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        yield Path(root), sorted(names)


def partition_day(key: str, text: str | None, time_column: str = "") -> date | None:
    """The day that one partition names for its rows, if it does."""
    if text is None or not (key in DAY_KEYS or key == time_column):
        return None
    found = _DAY.fullmatch(text)
    return _calendar_day(*found.groups()) if found else None


def _matched(path: Path, file: str, folders: tuple[str, ...]) -> LogFile | None:
    """The file as one of a table, or None."""
    table, values = None, []
    for folder in folders:
        key, is_partition, text = folder.partition("=")
        if is_partition and key and not folder.startswith((".", "_")):
            values.append((unquote(key), None if text == NULL_PARTITION else unquote(text)))
        elif (named := _ENDING.sub("", folder)) in TABLES and table is None:
            table = named
        elif not _DATE_FOLDER.fullmatch(folder):
            return None
    by_name = _table_of_file(path.name)
    if table is None:
        table = by_name
    elif by_name not in (None, table) or not (_ENDING.search(path.name) or _begins_as_parquet(path)):
        return None
    if table is None or path.name.startswith((".", "_")) or not path.is_file():
        return None
    once = {key: text for key, text in values if sum(key == other for other, _ in values) == 1}
    return LogFile(path, file, table, _named_day(values, TABLES[table].time_column), once)


def _table_of_file(name: str) -> str | None:
    stem, endings = _ENDING.subn("", name)
    if not endings:
        return None
    return next((table for table in TABLES if stem.startswith(table) and _is_part(stem.removeprefix(table))), None)


def _is_part(rest: str) -> bool:
    """Whether the rest of a name only numbers a part: `_0`, `-00000-of-00004`, `0000_part_00`."""
    if not rest:
        return True
    words = [word for word in re.split(r"[._-]+", _UUID.sub("0", rest)) if word]
    numbered = rest[0] in "._-" or re.match(r"\d{3}", rest) is not None  # plays2 may be another table
    return numbered and bool(words) and words[0][0] in "0123456789p" and all(map(_PART_WORD.fullmatch, words))


def _begins_as_parquet(path: Path) -> bool:
    """Whether a file without an ending is Parquet."""
    if path.suffix or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _named_day(values: list[tuple[str, str | None]], time_column: str) -> date | None:
    days = {partition_day(key, text, time_column) for key, text in values}
    by_key = dict(values)
    if {"year", "month", "day"} <= by_key.keys():
        days.add(_calendar_day(by_key["year"], by_key["month"], by_key["day"]))
    days.discard(None)
    return days.pop() if len(days) == 1 else None


def _calendar_day(year: str | None, month: str | None, day: str | None) -> date | None:
    try:
        return date(int(year or ""), int(month or ""), int(day or ""))
    except ValueError:
        return None


def _within_managed(archive: Path, folders: tuple[str, ...]) -> tuple[str, str, str] | None:
    """The folder, table and format of a managed table around this place, if there is one."""
    for depth, name in enumerate(folders):
        table = _ENDING.sub("", name)
        if table not in TABLES:
            continue
        around = "/".join(folders[: depth + 1])
        for marker, format_ in _TABLE_FORMATS.items():
            if (archive / around / marker).is_dir():
                return around, table, format_
    return None


def _managed(layout: Layout, folder: str, table: str, format_: str) -> ManagedTable:
    for known in layout.managed:
        if known.folder == folder:
            return known
    layout.managed.append(ManagedTable(folder, table, format_, []))
    return layout.managed[-1]
