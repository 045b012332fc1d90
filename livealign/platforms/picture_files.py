"""Pictures that lie as files in an archive: read in bounds, and never outside of it."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from livealign.frames.decode import MAX_BYTES
from livealign.landing.run import LandingRun

BATCH_PICTURES = 128  # held at once, of at most 256 KB each


def read_picture(path: Path) -> bytes | None:
    """The bytes of a picture; None if it cannot be read.

    Of a bigger file no more is read than shows that it is too big.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError:
        return None


def with_pictures(rows: pa.Table, archive: Path, run: LandingRun) -> Iterator[tuple[int, pa.Table]]:
    """Rows of `frames` in small batches, each with its place.

    A row with a path alone gets its file's bytes.

    A path is relative to the archive. One that leads out of it is not followed: its row has no picture.
    """
    names = rows.schema.names
    if names.count("path") != 1 or names.count("bytes") > 1:
        yield 0, rows
        return
    if "bytes" not in names:
        rows = rows.append_column("bytes", pa.nulls(len(rows), pa.binary()))
    place = rows.schema.names.index("bytes")
    for start in range(0, len(rows), BATCH_PICTURES):
        batch = rows.slice(start, BATCH_PICTURES)
        missing = pc.is_null(batch.column("bytes")).to_pylist()
        if any(missing):
            paths = [str(path) if path is not None else "" for path in batch.column("path").to_pylist()]
            pictures = [
                _in_archive(archive, path, run) if absent and path else known.as_py()
                for absent, path, known in zip(missing, paths, batch.column("bytes"), strict=True)
            ]
            batch = batch.set_column(place, "bytes", pa.array(pictures, pa.binary()))
        yield start, batch


def _in_archive(archive: Path, name: str, run: LandingRun) -> bytes | None:
    try:
        path = (archive / name).resolve()
        if not path.is_relative_to(archive.resolve()) or not path.is_file():
            return None
    except (OSError, ValueError):
        return None
    run.used(path.relative_to(archive.resolve()).as_posix())
    return read_picture(path)
