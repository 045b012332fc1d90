"""The files of Kuaishou's published datasets: their places, columns and days.

The files may lie in one flat directory or in the published folders (`live/` and `short_video/`), be named either way
(streamer.csv or author.csv), spell columns either way (streamer_id or author_id), and be gzipped.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path

import numpy as np

from livealign.days import DAY_MS, EPOCH
from livealign.errors import ArchiveError
from livealign.landing.times import YEAR_2000_MS
from livealign.platforms.csv_blocks import UnreadableFileError
from livealign.platforms.typed_batches import column_names, read_batches
from livealign.platforms.typed_values import BadRow, Batch, Kind

FOLDERS = ("", "live")  # of an archive, in which its files may lie
SUFFIXES = (".csv", ".csv.gz", ".parquet")
OTHER_SPELLINGS = {"streamer_id": "author_id", "live_stream_id": "live_id", "selection_option": "select_option"}


@dataclass(frozen=True)
class FileSpec:
    """One published file: its names, the columns that landing reads, and those it leaves out."""

    names: tuple[str, ...]  # without suffix, relative to the folder; a * stands for the number of a shard
    table: str  # the landing table that its rows are for, where its bad rows are booked
    kinds: Mapping[str, Kind]
    says: str  # what landing makes of it
    time: str | None = None  # the column that decides the day
    optional: frozenset[str] = frozenset()  # columns of `kinds` that may be missing
    unused: frozenset[str] = frozenset()  # documented columns without a place in the landing contract


@dataclass(frozen=True)
class Source:
    """One file of an archive, its header read and found to have what landing needs."""

    spec: FileSpec
    path: Path
    file: str  # as the rejects and the ledger name it: relative to the archive
    columns: Mapping[str, str]  # our name of a column → the file's
    unknown: tuple[str, ...]  # columns that no documentation knows

    def batches(self, only: tuple[str, ...] | None = None, advance: Callable[[int], None] | None = None) -> Iterator[Batch]:
        """The rows under our names of the columns, `only` some columns or all.

        Raises:
            UnreadableFileError: see `read_batches`.
        """
        names = {name: self.columns[name] for name in (only or self.spec.kinds) if name in self.columns}
        kinds = {theirs: self.spec.kinds[ours] for ours, theirs in names.items()}
        for batch in read_batches(self.path, kinds, advance):
            yield batch._replace(rows=batch.rows.rename_columns(list(names)))


@dataclass(frozen=True)
class Unfit:
    """A file that cannot be used at all, as a reject of line 0."""

    spec: FileSpec
    file: str
    problem: BadRow


@dataclass
class Scan:
    """The counts of a pass over a file: rows that fit, rows that do not, rows by UTC day."""

    rows: int = 0
    bad: int = 0
    days: Counter[date] = field(default_factory=Counter)
    problem: str | None = None  # why the file could not be read to its end


def find_paths(archive: Path, spec: FileSpec) -> list[Path]:
    """The paths of one published file (several where it is sharded), sorted.

    Raises:
        ArchiveError: the archive has the file twice, so that it is unknown which one counts.
    """
    found = sorted(
        {
            path
            for folder in FOLDERS
            for name in spec.names
            for suffix in SUFFIXES
            for path in (archive / folder).glob(name + suffix)
            if path.is_file()
        }
    )
    if len(found) > 1 and not any("*" in name for name in spec.names):
        both = " and ".join(str(path.relative_to(archive)) for path in found[:2])
        raise ArchiveError(f"{archive} has both {both}; keep the one that should count")
    return found


def has_files(archive: Path, specs: Mapping[str, FileSpec], names: tuple[str, ...]) -> bool:
    """Whether at least two of a format's telling files are there."""
    return sum(bool(find_paths(archive, specs[name])) for name in names) >= 2


def open_sources(archive: Path, specs: Mapping[str, FileSpec]) -> tuple[dict[str, list[Source]], list[Unfit]]:
    """The files that have the columns that landing needs, by spec; and those that have not.

    Raises:
        ArchiveError: the archive is no folder, or has a file twice.
    """
    if not archive.is_dir():
        raise ArchiveError(f"{archive} is no folder; give the folder that holds the published files")
    sources: dict[str, list[Source]] = {name: [] for name in specs}
    unfit: list[Unfit] = []
    for name, spec in specs.items():
        for path in find_paths(archive, spec):
            file = path.relative_to(archive).as_posix()
            try:
                sources[name].append(_open(path, file, spec))
            except UnreadableFileError as error:
                unfit.append(Unfit(spec, file, BadRow(0, error.reason, str(error), {})))
    return sources, unfit


def scan(source: Source, offset_ms: int, latest_ms: int) -> Scan:
    """Count a file's rows by UTC day; times out of range count for no day.

    `offset_ms` is the file's clock minus UTC.
    """
    path = source.path.absolute()
    stat = path.stat()
    return _scan_once(_Signed(source, (str(path), stat.st_size, stat.st_mtime_ns)), offset_ms, latest_ms // DAY_MS)


@dataclass(frozen=True, eq=False)
class _Signed:
    """A source that is the same as long as its file is: a schedule asks for the days again and again."""

    source: Source
    signature: tuple[str, int, int]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Signed) and self.signature == other.signature

    def __hash__(self) -> int:
        return hash(self.signature)


@lru_cache(maxsize=256)
def _scan_once(signed: _Signed, offset_ms: int, latest_day: int) -> Scan:
    source, result = signed.source, Scan()
    time = source.spec.time
    column = time if time else next(iter(source.columns))
    first = YEAR_2000_MS // DAY_MS
    try:
        for batch in source.batches((column,)):
            result.rows += len(batch.lines)
            result.bad += len(batch.bad)
            if time:
                times = batch.rows.column(time).drop_null().to_numpy()
                days, counts = np.unique((times - offset_ms) // DAY_MS, return_counts=True)
                for day, count in zip(days.tolist(), counts.tolist(), strict=True):
                    if first <= day <= latest_day:
                        result.days[date.fromordinal(EPOCH.toordinal() + day)] += count
    except UnreadableFileError as error:
        result.problem = str(error)
    return result


def _open(path: Path, file: str, spec: FileSpec) -> Source:
    names = column_names(path)
    ours = [OTHER_SPELLINGS.get(name, name) for name in names]
    missing = [name for name in spec.kinds if name not in ours and name not in spec.optional]
    if missing:
        found = ", ".join(names[:30]) or "no header"
        raise UnreadableFileError("missing_column", f"{file} has no column {missing[0]}; it has {found[:300]}")
    twice = [name for name, count in Counter(ours).items() if count > 1 and name in spec.kinds]
    if twice:
        raise UnreadableFileError("duplicate_column", f"{file} has the column {twice[0]} twice; remove one")
    columns = {name: names[ours.index(name)] for name in spec.kinds if name in ours}
    known = {*spec.kinds, *spec.unused}
    unknown = tuple(names[i] for i, name in enumerate(ours) if name not in known)
    return Source(spec, path, file, columns, unknown)


def size_of(paths: list[Path]) -> int:
    """Bytes of all files."""
    return sum(os.stat(path).st_size for path in paths)  # noqa: PTH116
