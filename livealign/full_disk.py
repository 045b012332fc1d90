"""A full disk behind an error, as one line with the path and the remedy.

Libraries name it in their own ways: pyarrow and safetensors without the path, NumPy without the reason, SQLite and DuckDB in
words.
"""

import errno
import re
import shutil
from pathlib import Path

from livealign.errors import LiveAlignError

REMEDY = "`livealign prune` removes old releases and days; free some space, then run again"
_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})
_TEXTS = ("no space left", "disk quota exceeded", "database or disk is full")
_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")  # NumPy's whole text
_QUOTED_PATH = re.compile(r"[\"'](/[^\"'\\]+)\\?[\"']")  # DuckDB writes some of its texts as JSON


def full_disk_line(error: BaseException | None, folder: Path | None = None) -> str | None:
    """The line for an error that a full disk caused; None for any other.

    Its causes are looked at too.

    Args:
        folder: is named where no error names a file.
    """
    while error is not None:
        if is_full_disk(error):
            return _line(error, folder)
        error = error.__cause__ or error.__context__
    return None


def is_full_disk(error: BaseException) -> bool:
    """Whether the error, without its causes, says that a disk is full."""
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        return True
    text = str(error)
    return any(part in text.lower() for part in _TEXTS) or (isinstance(error, OSError) and bool(_CUT_SHORT.search(text)))


def _line(error: BaseException, folder: Path | None) -> str:
    if isinstance(error, LiveAlignError):  # it says what was being done
        text = str(error)
        return text if REMEDY in text else f"{text}; {REMEDY}"
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):  # of a copied folder: (from, to, why) of each file
        return f"{error.args[0][0][1]}: No space left on device; {REMEDY}"
    quoted = _QUOTED_PATH.search(str(error))
    of_system = getattr(error, "filename2", None) or getattr(error, "filename", None)  # a copy names its source first
    named = of_system or (quoted[1] if quoted else folder)
    return f"{named}: No space left on device; {REMEDY}" if named else f"No space left on device; {REMEDY}"
