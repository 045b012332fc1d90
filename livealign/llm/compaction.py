"""Compaction of an embedding cache: the small shards of many days become large ones.

    compact(cache.shard(version, width))

A large shard is written first, whole, and the small ones that it holds are deleted then, in the folder and in the store. So a
killed process leaves the old shards, or both, which the next compaction tidies. No lock is needed: a reader that misses a shard
lists again (`CacheVersion.fill`), a second compaction writes the same or holds some rows twice, and what another process adds
meanwhile stays.
"""

import glob
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil

from livealign.files import TEMPORARY_PREFIX
from livealign.llm.embedding_cache import CacheVersion, rows_of

LARGE_BYTES = 128 << 20  # of vectors; a shard of as many is left alone
LEAST_SHARDS = 8  # fewer small ones are left alone: each compaction writes their rows anew


def compact(version: CacheVersion, large_bytes: int = LARGE_BYTES, least_shards: int = LEAST_SHARDS) -> int:
    """Merge the small shards of an encoder version; the number of shards that are gone for it.

    Memory is that of a group's keys and of one part of a shard; vectors are mapped.
    """
    version.fetch()
    _sweep(version.folder)
    large = large_bytes // (2 * version.width)
    # Larger ones first: of a row that two shards hold, the copy in the larger one stays.
    rows = {file: rows_of(file) for file in version.files()}
    files = sorted(rows, key=lambda file: (-rows[file], file.name))
    small = [file for file in files if rows[file] < large]
    if len(small) < least_shards:
        return 0
    known: set[bytes] = set()
    for file in files[: len(files) - len(small)]:
        if parts := version.read(file):
            version.put(file)  # a process that was killed may have written it in the folder alone
            known.update(key for keys, _ in parts for key in keys)
    gone = 0
    for group in _groups(small, rows, large):
        gone += _merge(version, group, known)
    return gone


def _merge(version: CacheVersion, group: Sequence[Path], known: set[bytes]) -> int:
    """Write the rows of the group that no earlier shard holds as one shard, and delete the group's own."""
    # Mapped, and read once: another process may delete the files meanwhile, and a damaged one has no parts.
    shards = {file: parts for file in group if (parts := version.read(file))}
    chosen = []
    for keys, values in (part for parts in shards.values() for part in parts):
        rows = [row for row, key in enumerate(keys) if key not in known]
        known.update(keys)
        if rows:
            chosen.append(([keys[row] for row in rows], values, rows))
    merged = None
    if chosen:
        every = [key for keys, _, _ in chosen for key in keys]
        number = np.result_type(*(values.dtype for _, values, _ in chosen))
        merged = version.write(every, ((keys, values[rows]) for keys, values, rows in chosen), number)
    going = [file for file in shards if file != merged]
    for file in going:
        version.delete(file)
    return len(going)


def _groups(small: Sequence[Path], rows: dict[Path, int], large: int) -> Iterator[list[Path]]:
    """The shards in groups of `large` rows or a little more."""
    group: list[Path] = []
    held = 0
    for file in small:
        group.append(file)
        held += rows[file]
        if held >= large:
            yield group
            group, held = [], 0
    if group:
        yield group


def _sweep(folder: Path) -> None:
    """Delete the temporary files of processes of this machine that were killed."""
    for file in folder.glob(f"{TEMPORARY_PREFIX}*.{glob.escape(socket.gethostname())}.*"):
        pid = file.name.rpartition(".")[2]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            file.unlink(missing_ok=True)
