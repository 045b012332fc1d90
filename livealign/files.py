"""Atomic file writes, JSON in and out, directory fsync, and lock files."""

import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from livealign.errors import LiveAlignError
from livealign.full_disk import is_full_disk

TEMPORARY_PREFIX = ".tmp-"
FIRST_FORMAT = 1  # of whatever names none


@contextmanager
def replaced_directory(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that takes the place of `path` when the block ends well.

    A block that raises, or a process that is killed, leaves the old folder as it was; what a killed process left behind is
    removed by the next call for the same path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.parent / f"{TEMPORARY_PREFIX}{path.name}.old"
    if old.exists() and not path.exists():  # killed between the two renames below: the old state is the state
        old.rename(path)
    for leftover in path.parent.glob(f"{TEMPORARY_PREFIX}{glob.escape(path.name)}.*"):
        shutil.rmtree(leftover)
    temporary = path.parent / f"{TEMPORARY_PREFIX}{path.name}.{os.getpid()}"
    temporary.mkdir()
    try:
        yield temporary
    except BaseException as error:
        shutil.rmtree(temporary)
        name_on_full_disk(error, path)
        raise
    if path.exists():
        # A folder cannot be renamed over a full one: the old one steps aside first, under a name that no reader looks for.
        path.rename(old)
        temporary.rename(path)
        shutil.rmtree(old)
    else:
        temporary.rename(path)


@contextmanager
def removed_on_error(temporary: Path, path: Path) -> Iterator[None]:
    """Remove the file if the block raises: half a file on a full disk would only keep it full.

    Args:
        path: the place that the file was meant for, which the error of a full disk names.
    """
    try:
        yield
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        name_on_full_disk(error, path)
        raise


def name_on_full_disk(error: BaseException, path: Path) -> None:
    """Raise an error of a full disk that names the path, in place of one that names none.

    Most libraries name none. Any other error raises nothing.
    """
    if is_full_disk(error) and not isinstance(error, LiveAlignError) and getattr(error, "filename", None) is None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None


def lock_handle(path: Path) -> TextIO:
    """An open file to lock, made if it is not there.

    Raises:
        OSError: it cannot be written, or it is a pipe or a device.
    """
    if path.exists():
        plain_file(path)
    return path.open("w")


@contextmanager
def exclusive(lock_file: Path) -> Iterator[None]:
    """Hold the lock file during the block; another process that wants it waits.

    The system releases the lock when the process ends, however it ends.
    """
    with lock_handle(lock_file) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def plain_file(path: Path) -> Path:
    """The path of a file that can be read to its end.

    Opening a pipe waits for a writer, and a device may have no end.

    Raises:
        OSError: it is a pipe, a socket or a device, or it cannot be looked up.
    """
    kind = path.stat().st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # a folder is refused as it is opened
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a device", str(path))
    return path


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal.

    Raises:
        OSError: it cannot be read, or it is no plain file.
    """
    with plain_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def duckdb_path(path: Path) -> str:
    """The path as DuckDB reads it, with the characters of its patterns escaped."""
    return glob.escape(str(path))


def replace_bytes(path: Path, data: bytes) -> None:
    """Write the file whole and durably, or leave the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}.{os.getpid()}")
    with removed_on_error(temporary, path):
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def replace_json(path: Path, value: Any, version: int | None = None) -> None:
    """Write a JSON document whole; NaN and infinity are errors, for JSON has neither.

    Args:
        version: of the document's format, written as its first member `format`.
    """
    replace_bytes(path, json_bytes(value, version))


def json_bytes(value: Any, version: int | None = None) -> bytes:
    """The content of a JSON document as `replace_json` writes it."""
    value = value if version is None else {"format": version, **value}
    return json.dumps(value, indent=2, allow_nan=False, default=str).encode() + b"\n"


def read_json(
    path: Path,
    remedy: str = "run `make retrain`, which writes it",
    newest: int = FIRST_FORMAT,
    error: type[LiveAlignError] = LiveAlignError,
    *,
    replaces: bool = False,
) -> Any:
    """A JSON file that LiveAlign wrote, without its version.

    Args:
        remedy: the end of the error's text: how to write the file again.
        replaces: the remedy takes a damaged file away; otherwise the text asks for that first.
        newest: the newest version that the caller reads.

    Raises:
        error: it is missing, damaged, or of a newer version.
    """
    mend = remedy if replaces else f"delete it, then {remedy}"
    try:
        value = json.loads(plain_file(path).read_bytes())
    except FileNotFoundError:
        raise error(f"{path} is missing; {remedy}") from None
    except IsADirectoryError:
        raise error(f"{path} is a folder where a file belongs; move it away and run again") from None
    except OSError as problem:
        raise error(f"{path} cannot be read ({problem.strerror}); give this user the right to read it, or {mend}") from problem
    except (ValueError, RecursionError) as damage:
        raise error(f"{path} is damaged ({damage}); {mend}") from damage
    if isinstance(value, dict):
        refuse_newer(path, value.pop("format", FIRST_FORMAT), newest, mend, error)
    return value


def refuse_newer(
    where: Path | str, found: object, newest: int, remedy: str, error: type[LiveAlignError] = LiveAlignError
) -> None:
    """Refuse what a newer version of LiveAlign wrote.

    Raises:
        error: `found` is no version, or one after `newest`; the line names both, the place, and the remedy.
    """
    if not isinstance(found, int) or not FIRST_FORMAT <= found <= newest:
        raise error(
            f"{where} has format {str(found)[:80]!r}, and this code reads formats up to {newest}; "
            f"use the version of LiveAlign that wrote it, or {remedy}"
        )


def sync_directory(path: Path) -> None:
    """Write the directory's entries (names, renames) to disk before returning."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_bytes(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; 0 if there is nothing.

    A file with several names counts in parts: a published mart is a second name of dbt's file.
    """
    files = path.rglob("*") if path.is_dir() else [path] if path.exists() else []
    stats = [file.lstat() for file in files if not file.is_dir()]
    return sum(stat.st_size // stat.st_nlink for stat in stats)


def size_text(number: int) -> str:
    """A number of bytes as people read it: 1.5 GiB, 20 MiB."""
    return f"{number / (1 << 30):.1f} GiB" if number >= 1 << 30 else f"{number / (1 << 20):.0f} MiB"
