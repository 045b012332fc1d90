"""Partition files: the spool, the sorted and deduplicated write, the publication, the days.

Rows wait in a `Spool`, in memory up to a budget and beyond it in temporary Parquet, so memory does not grow with the
archive. `write_partition` turns the waiting rows of one table and day into one file, a slice at a time. `publish` moves
a finished set of files into place and can be repeated after a crash until it is through; `recover` does so for runs that
were killed.
"""

import fcntl
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from livealign.days import PART
from livealign.errors import LandingError
from livealign.files import exclusive
from livealign.formats import check_folder
from livealign.landing.schema import Table

MOVE_AWAY = "move the folder away and land the days again"
FILE, LINE = "__file", "__line"  # where a waiting row came from: index of the file in the run, row in the file
ROW_GROUP = 131_072
SPOOL_BYTES = 128 << 20  # of waiting rows in memory, all partitions together
SLICE_BYTES = 192 << 20  # of one partition in memory while it is sorted

Chunk: TypeAlias = pa.Table | Path


@dataclass
class Partition:
    """The waiting rows of one table and day, in order of arrival."""

    chunks: list[Chunk] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    total_bytes: int = 0
    in_memory: int = 0  # bytes


class Spool:
    """Waiting rows by (table, day), in memory up to a budget and beyond it in temporary Parquet."""

    def __init__(self, folder: Path, budget: int = SPOOL_BYTES) -> None:
        self._folder = folder
        self._budget = budget
        self._partitions: dict[tuple[str, date], Partition] = {}
        self._in_memory = 0
        self._files = 0

    def append(self, name: str, day: date, rows: pa.Table) -> None:
        if not rows.num_rows:
            return
        partition = self._partitions.setdefault((name, day), Partition())
        partition.chunks.append(rows)
        partition.lengths.append(rows.num_rows)
        partition.total_bytes += rows.nbytes
        partition.in_memory += rows.nbytes
        self._in_memory += rows.nbytes
        if self._in_memory > self._budget:
            self._spill()

    def take(self, name: str, day: date) -> Partition:
        """The waiting rows of one partition, which leave the spool.

        Its temporary files stay until the run's folder is removed.
        """
        partition = self._partitions.pop((name, day), Partition())
        self._in_memory -= partition.in_memory
        return partition

    def _spill(self) -> None:
        for partition in sorted(self._partitions.values(), key=lambda partition: -partition.in_memory):
            if self._in_memory <= self._budget // 2:
                return
            first = next(i for i, chunk in enumerate(partition.chunks) if isinstance(chunk, pa.Table))
            path = self._folder / f"{self._files}.parquet"
            self._files += 1
            rows = pa.concat_tables([chunk for chunk in partition.chunks[first:] if isinstance(chunk, pa.Table)])
            pq.write_table(rows, path, compression="lz4", use_dictionary=False, row_group_size=ROW_GROUP)
            partition.chunks[first:] = [path]
            partition.lengths[first:] = [rows.num_rows]
            self._in_memory -= partition.in_memory
            partition.in_memory = 0


def write_partition(table: Table, partition: Partition, files: list[str], out: Path) -> Iterator[pa.Table]:
    """Write one partition, sorted by time and key, without duplicate keys.

    The first row of each key, in order of file name and line, is the one that stays.

    Only keys and times are held for the whole partition; the rows pass in slices of about `SLICE_BYTES`.

    Yields:
        The rows left out as duplicates, with their FILE and LINE columns, in pieces. The file is complete when the
        iterator is exhausted.
    """
    if not partition.chunks:
        out.write_bytes(_empty_file(table.schema))
        return
    names = list(dict.fromkeys((*table.primary_key, table.time_column, FILE, LINE)))
    keys = pa.concat_tables([_read(chunk, names) for chunk in partition.chunks])
    order, duplicates = _first_of_each_key(table, keys, files)
    rows_per_slice = max(1, SLICE_BYTES * len(order) // max(1, partition.total_bytes) // ROW_GROUP) * ROW_GROUP
    with pq.ParquetWriter(out, table.schema, compression="zstd") as writer:
        for start in range(0, len(order), rows_per_slice):
            piece = order[start : start + rows_per_slice]
            by_place = np.argsort(piece)
            rows = pa.concat_tables(list(_gather(partition, piece[by_place], table.schema.names)))
            back = np.empty_like(by_place)
            back[by_place] = np.arange(len(piece))
            rows = rows.take(back).cast(table.schema)
            writer.write_table(rows, row_group_size=ROW_GROUP)
    yield from _gather(partition, duplicates, [*table.schema.names, FILE, LINE])


def write_rows(schema: pa.Schema, partition: Partition, out: Path) -> None:
    """Write one partition in order of arrival."""
    if not partition.chunks:
        out.write_bytes(_empty_file(schema))
        return
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for chunk in partition.chunks:
            writer.write_table(_read(chunk, schema.names).cast(schema), row_group_size=ROW_GROUP)


def staged(ready: Path, name: str, day: date) -> Path:
    """The path of a partition that waits for publication; its name holds its later path."""
    return ready / f"{name.replace('/', '~')}~dt={day}.parquet"


def publish(ready: Path, root: Path) -> None:
    """Move the files of a finished run into place and remove its folder.

    After a crash, a second call continues from where the first stopped.

    A day's ledger goes away first and comes back last: a day without one is incomplete.
    """
    moves = {path: root.joinpath(*path.stem.split("~"), PART) for path in sorted(ready.glob("*.parquet"))}
    ledgers = {path: target for path, target in moves.items() if path.name.startswith("ledger~")}
    for target in ledgers.values():
        target.unlink(missing_ok=True)
    for path, target in [*((path, moves[path]) for path in moves if path not in ledgers), *ledgers.items()]:
        target.parent.mkdir(parents=True, exist_ok=True)
        for other in target.parent.iterdir():  # a partition is replaced as a whole
            if other != target:
                other.unlink()
        path.replace(target)
    shutil.rmtree(ready)


def abandoned(path: Path) -> bool:
    """Whether no living process holds the lock file."""
    try:
        with path.open("r+") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    return True


def landed_days(landing_root: Path) -> list[date]:
    """The complete days, sorted.

    A day is complete when its ledger is there, which is published last.

    Raises:
        LandingError: a newer version of LiveAlign landed them.
    """
    check_folder(Path(landing_root), MOVE_AWAY, LandingError)
    found = Path(landing_root).glob(f"ledger/dt=*/{PART}")
    return sorted(date.fromisoformat(path.parent.name.removeprefix("dt=")) for path in found)


def recover(landing_root: Path) -> None:
    """Publish what a killed run had finished, and remove what it had not.

    Safe at any time, also beside running landings.
    """
    with exclusive(landing_root / ".lock"):
        for finished in sorted(landing_root.glob(".commit-*")):
            publish(finished, landing_root)
        for left in landing_root.glob(".tmp-*"):
            if abandoned(left / "lock"):
                shutil.rmtree(left)


def _first_of_each_key(table: Table, keys: pa.Table, files: list[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices of the rows to keep, by time and key; and of the duplicates, ascending."""
    rank = np.argsort(np.argsort(np.array(files, dtype=object))) if files else np.zeros(0, np.int64)
    parts = [_sortable(keys.column(name)) for name in table.primary_key]
    time = _sortable(keys.column(table.time_column))
    file = rank[keys.column(FILE).to_numpy()]
    by_key = np.lexsort((keys.column(LINE).to_numpy(), file, *reversed(parts)))
    same = np.ones(len(by_key), np.bool_)
    same[0] = False
    for part in parts:
        same[1:] &= part[by_key[1:]] == part[by_key[:-1]]
    kept = by_key[~same]
    return kept[np.argsort(time[kept], kind="stable")], np.sort(by_key[same])


def _sortable(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    if pa.types.is_string(column.type):
        return np.unique(column.to_numpy(), return_inverse=True)[1]
    return column.cast(pa.int64()).to_numpy()


def _gather(partition: Partition, ascending: npt.NDArray[np.int64], names: list[str]) -> Iterator[pa.Table]:
    """The rows with these indices, chunk by chunk."""
    start = 0
    for chunk, length in zip(partition.chunks, partition.lengths, strict=True):
        low, high = np.searchsorted(ascending, (start, start + length))
        if low < high:
            yield _read(chunk, names).take(ascending[low:high] - start)
        start += length


def _read(chunk: Chunk, names: list[str]) -> pa.Table:
    return pq.read_table(chunk, columns=names, partitioning=None) if isinstance(chunk, Path) else chunk.select(names)


@cache
def _empty_file(schema: pa.Schema) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink, compression="zstd")
    return sink.getvalue().to_pybytes()
