"""Title vectors of KuaiLive: rows of title_embeddings.npy → landing table `content_vectors`.

A room's live_name_id is its row in the file.
"""

from pathlib import Path
from tokenize import TokenError

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from livealign.errors import ArchiveError
from livealign.platforms.kuaishou.landing_pass import Pass
from livealign.platforms.kuaishou.rooms import Ints, Mask, whole_numbers
from livealign.platforms.typed_batches import VECTOR_ROWS

TITLES = "title_embeddings.npy"
# NumPy reads the header as a Python literal, and a damaged one fails in as many ways as Python source can.
_HEADER_ERRORS = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    TypeError,
    ArithmeticError,
    MemoryError,
    TokenError,
    RecursionError,
)
TITLE_DIMENSION = 128


class Titles:
    """The vectors of titles by live_name_id, mapped from disk.

    `vectors` is None where the file is missing or not usable.
    """

    def __init__(self, archive: Path, work: Pass) -> None:
        self.file, self.vectors = TITLES, None
        paths = find_titles(archive)
        if not paths:
            return
        self.file = paths[0].relative_to(archive).as_posix()
        work.run.used(self.file)
        try:
            self.vectors = open_titles(paths[0])
        except ArchiveError as error:
            work.run.reject("content_vectors", self.file, 0, "unreadable_file", str(error)[:500], day=work.first_day)


def find_titles(archive: Path) -> list[Path]:
    """The paths of the files of title vectors; empty if there is none."""
    return [path for folder in ("", "live") if (path := archive / folder / TITLES).is_file()]


def open_titles(path: Path) -> npt.NDArray[np.floating]:
    """[names, 128], mapped from disk.

    Raises:
        ArchiveError: it is no NumPy array of this shape.
    """
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except _HEADER_ERRORS as error:
        raise ArchiveError(f"{path} cannot be read ({str(error)[:200]}); fetch it again") from error
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or vectors.shape[1] != TITLE_DIMENSION:
        raise ArchiveError(f"{path} is no array of {TITLE_DIMENSION} columns; fetch it again")
    if not np.issubdtype(vectors.dtype, np.floating):
        raise ArchiveError(f"{path} holds {vectors.dtype}, not floating-point numbers; fetch it again")
    return vectors


def land_titles(
    work: Pass, file: str, vectors: npt.NDArray[np.floating], rows: pa.Table, lines: Ints, started: Ints, here: Mask
) -> None:
    """The title's vector of each room with a title; rejects carry the line of the room's row."""
    names = whole_numbers(rows.column("live_name_id"))
    named = here & (names >= 0) & pc.is_valid(rows.column("start_timestamp")).to_numpy()
    unknown = ("unknown_title", f"there are {len(vectors)} title vectors, none of this live_name_id")
    named_rows = rows.select(["live_id", "live_name_id"])
    work.reject("content_vectors", file, unknown, named & (names >= len(vectors)), named_rows, lines, started)
    chosen = np.flatnonzero(named & (names < len(vectors)))
    for start in range(0, len(chosen), VECTOR_ROWS):
        part = chosen[start : start + VECTOR_ROWS]
        flat = np.ascontiguousarray(vectors[names[part]], np.float32).ravel()
        columns = {
            "room_id": rows.column("live_id").take(pa.array(part)),
            "ended_at": started[part],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(flat), TITLE_DIMENSION).cast(pa.list_(pa.float32())),
        }
        work.add_vectors(columns, "title", TITLE_DIMENSION, file, lines[part], started[part])
