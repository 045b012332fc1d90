"""Keep the last value read from a set of files; read again when a file changes.

    _texts: FileCache[pa.Table] = FileCache()
    table = _texts(("segments", days, config), files, lambda: …)   # read again where the key or a file differs

The stages of a retrain run in one process and read the same marts. Files are replaced, never written into, so a file
is identified by its inode, time and size.
"""

from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

Value = TypeVar("Value")


class FileCache(Generic[Value]):
    """Cache of one value, which callers must not change."""

    def __init__(self) -> None:
        self._values: dict[Hashable, Value] = {}

    def __call__(self, key: Hashable, files: Iterable[Path], read: Callable[[], Value]) -> Value:
        """The value of `key`, read from `files`: it may need fewer, and some may be missing."""
        state = (key, tuple(sorted((str(file), _version(file)) for file in files)))
        if state not in self._values:
            self._values.clear()  # before the next is read: there is room for one value
            self._values[state] = read()
        return self._values[state]


def _version(file: Path) -> tuple[int, int, int]:
    if not file.exists():
        return (0, 0, 0)
    status = file.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size
