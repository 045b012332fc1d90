"""The pictures of a retrain's segments: their vectors, and the texts that they go with.

A picture that stands still in its room counts as none (`livealign.frames.still`).
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from livealign.dataset.columns import Ints, ints, rows_by_key
from livealign.dataset.marts import read_mart
from livealign.days import partition
from livealign.errors import LiveAlignError
from livealign.frames.decode import FrameError, Pixels, decode
from livealign.frames.still import changed
from livealign.llm.blocks import blocks_of
from livealign.llm.embedding_cache import EmbeddingCache
from livealign.llm.encoder import Progress
from livealign.llm.image_encoder import ImageEncoder, PictureVectors, look_encoder
from livealign.llm.prefix import Pictures

MART = "segment_frames"
BLOCK = 256  # pictures of whole rooms that are decoded at a time, each once
REMEMBERED = 512  # of a block, 150 KB each; of a room with more the others are decoded twice


class SegmentFrames(NamedTuple):
    """The m segments that have a picture."""

    segment_ids: Ints  # [m]
    vectors: NDArray[np.float32]  # [m, width]

    def beside(self, segment_ids: Ints) -> Pictures:
        """The pictures that the LLM reads before the texts of these segments [n]."""
        return Pictures(self.vectors, rows_by_key(self.segment_ids, segment_ids))


def embed_frames(
    marts: Path,
    landing: Path,
    days: Sequence[date],
    segment_ids: Ints,
    encoder: ImageEncoder,
    cache: Path,
    progress: Progress | None = None,
) -> SegmentFrames:
    """Vectors of the newest picture of each segment's window, unless it stands still.

    Args:
        days: the picture before a room's first on these days is not known, so that one counts.
        segment_ids: [n] sorted; segments without a picture that counts are left out.
        cache: vectors of pictures that were seen before.

    Raises:
        LiveAlignError: a picture is missing from the landing folder, or damaged there.
    """
    built = [day for day in days if partition(marts, MART, day).exists()]  # days of an earlier version have none
    if not built:
        return SegmentFrames(np.zeros(0, dtype=np.int64), np.zeros((0, encoder.width), dtype=np.float32))
    rows = read_mart(marts, MART, built, ("segment_id", "room_id", "window", "frame_path"))
    ids, rooms = ints(rows, "segment_id"), ints(rows, "room_id")
    wanted = np.isin(ids, segment_ids)
    whole = np.isin(rooms, rooms[wanted])  # rooms in all their windows, in which a picture may stand still
    rows, ids, rooms, wanted = rows.filter(pa.array(whole)), ids[whole], rooms[whole], wanted[whole]
    paths = [landing / path for path in rows["frame_path"].to_pylist()]
    names, known = [path.stem for path in paths], EmbeddingCache(cache)
    path_of = dict(zip(names, paths, strict=True))
    looks, seen = (PictureVectors(one, names, known) for one in (look_encoder(), encoder))
    windows, kept, done = ints(rows, "window"), [np.zeros(0, dtype=np.int64)], 0
    for block in blocks_of(rooms, BLOCK):
        read = _decoded_once(path_of)
        looks.see([names[row] for row in block], read)
        of_looks = looks.of(names[row] for row in block)
        counts = block[wanted[block] & changed(rooms[block], windows[block], of_looks)]
        seen.see([names[row] for row in counts], read)
        kept.append(counts)
        done += len(block)
        if progress:
            progress(done, len(paths))
    looks.flush()
    seen.flush()
    chosen = np.sort(np.concatenate(kept))
    return SegmentFrames(ids[chosen], seen.of(names[row] for row in chosen))


def _decoded_once(path_of: Mapping[str, Path]) -> Callable[[str], Pixels]:
    """`read_frame` by name, which remembers the first pictures: their look is read, and then their vector."""
    decoded: dict[str, Pixels] = {}

    def read(name: str) -> Pixels:
        if name in decoded:
            return decoded[name]
        pixels = read_frame(path_of[name])
        if len(decoded) < REMEMBERED:
            decoded[name] = pixels
        return pixels

    return read


def read_frame(path: Path) -> Pixels:
    """The pixels of a landed picture.

    Raises:
        LiveAlignError: it is missing or damaged.
    """
    try:
        return decode(path.read_bytes())
    except (OSError, FrameError) as error:
        raise LiveAlignError(f"the picture {path} cannot be read ({error}); land its day again") from error
