"""A record of the syncs and renames that a block of code asks of the disk, in order."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch


class Synced(NamedTuple):
    """A file or folder whose content was written to disk."""

    path: Path
    bytes: int  # of a file at that time; 0 for a folder


class Renamed(NamedTuple):
    """A file or folder that got another name."""

    old: Path
    new: Path


@contextmanager
def disk_calls() -> Iterator[list[Synced | Renamed]]:
    """Record the syncs and renames of the block; they still happen."""
    calls: list[Synced | Renamed] = []
    real = {name: getattr(os, name) for name in ("fsync", "fdatasync", "rename", "replace")}

    def sync(name: str) -> Any:
        def call(descriptor: Any) -> None:
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            path = Path(f"/proc/self/fd/{number}").readlink()
            calls.append(Synced(path, 0 if path.is_dir() else os.fstat(number).st_size))
            real[name](descriptor)

        return call

    def rename(name: str) -> Any:
        def call(old: Any, new: Any) -> None:
            real[name](old, new)
            calls.append(Renamed(Path(old), Path(new)))

        return call

    with (
        patch.object(os, "fsync", sync("fsync")),
        patch.object(os, "fdatasync", sync("fdatasync")),
        patch.object(os, "rename", rename("rename")),
        patch.object(os, "replace", rename("replace")),
    ):
        yield calls
