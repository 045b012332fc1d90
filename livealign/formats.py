"""Versions of what LiveAlign writes to disk; `docs/operations.md` lists them all.

    check_folder(home.landing, "…")    # refuses a folder that a newer version wrote
    mark_folder(home.landing)          # says which version wrote it

A JSON document names its version in its member `format` (`files.replace_json`, `files.read_json`), a folder of many files in a
file of its own, `format.json`. What has no version is of the first, so files from before versions are read as ever.
"""

import json
from pathlib import Path

from livealign.errors import LiveAlignError
from livealign.files import FIRST_FORMAT, read_json, replace_json

FOLDER_FORMAT = "format.json"
VECTORS_FORMAT = 1  # of the vectors that readers publish (`livealign.live.shared.read_window`)


def check_folder(folder: Path, remedy: str, error: type[LiveAlignError] = LiveAlignError, newest: int = FIRST_FORMAT) -> None:
    """Refuse a folder that a newer version of LiveAlign wrote.

    One without a version is of the first.

    Args:
        remedy: the end of the error's text: how to get a folder of this version.
        newest: the newest version that the caller reads.

    Raises:
        error: the folder is of a newer format, or its version cannot be read.
    """
    file = folder / FOLDER_FORMAT
    try:
        if file.is_file() and not isinstance(read_json(file, remedy, newest, error), dict):
            raise error(f"{file} holds no format; delete it, then {remedy}")
    except OSError as problem:  # such as a name that is too long
        raise error(f"{str(file)[:200]} cannot be read ({problem.strerror}); {remedy}") from problem


def mark_folder(folder: Path, version: int = FIRST_FORMAT) -> None:
    """Write down the version of the folder's files, once.

    An older folder becomes one of this version.

    Raises:
        OSError: the file cannot be written. ValueError: it cannot be read; `check_folder` says so in a line.
    """
    file = folder / FOLDER_FORMAT
    if not file.is_file() or json.loads(file.read_bytes()).get("format", FIRST_FORMAT) < version:
        replace_json(file, {}, version)
