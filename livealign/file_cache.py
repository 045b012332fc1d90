"""What was read last, kept for the next that asks for the same: the stages of a retrain follow each other in one process.

    _texts: LastRead[pa.Table] = LastRead()
    table = _texts(("segments", days, config), files, lambda: …)   # read anew where key or files are others

Files are replaced, never written into, so a file that was read is known by its number, time and size.
"""

from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

Value = TypeVar("Value")


class LastRead(Generic[Value]):
    """One value at most. Whoever gets it must not change it."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Value] = {}

    def __call__(self, key: Hashable, files: Iterable[Path], read: Callable[[], Value]) -> Value:
        """The value of `key`, read from `files`, which may be more than it needs; those that are missing count as such."""
        state = (key, tuple(sorted((str(file), _version(file)) for file in files)))
        if state not in self._kept:
            self._kept.clear()  # before another is read: there is room for one
            self._kept[state] = read()
        return self._kept[state]


def _version(file: Path) -> tuple[int, int, int]:
    if not file.exists():
        return (0, 0, 0)
    found = file.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size
