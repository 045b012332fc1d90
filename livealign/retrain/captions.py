"""The file of a teacher's captions, which `LIVEALIGN_CAPTIONS` names."""

import os
from pathlib import Path

from livealign.errors import LiveAlignError
from livealign.files import plain_file
from livealign.paths import path_in

CAPTIONS = "LIVEALIGN_CAPTIONS"
CAPTION_SUFFIXES = (".parquet", ".csv")


def captions_file() -> Path | None:
    """LIVEALIGN_CAPTIONS: a file of a teacher's captions; None if it is not set.

    Raises:
        LiveAlignError: it is no .parquet or .csv file that can be read.
    """
    file = path_in(os.environ, CAPTIONS)
    if file is None:
        return None
    try:
        with plain_file(file).open("rb"):
            pass
    except OSError as error:
        raise LiveAlignError(
            f"{CAPTIONS}={str(file)[:60]!r} cannot be read ({error.strerror}); correct it or unset it"
        ) from error
    if file.suffix not in CAPTION_SUFFIXES:
        raise LiveAlignError(f"{CAPTIONS}={str(file)[:60]!r}: it takes a .parquet or .csv file; correct it or unset it")
    return file
