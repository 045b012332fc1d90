"""The pictures of a retrain's segments: their vectors, and the texts that they go with."""

from collections.abc import Callable, Sequence
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
from livealign.llm.embedding_cache import EmbeddingCache
from livealign.llm.image_encoder import ImageEncoder, vectors_of
from livealign.llm.prefix import Pictures

MART = "segment_frames"


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
    progress: Callable[[int, int], None] | None = None,
) -> SegmentFrames:
    """Vectors of the newest picture of each segment's window.

    Args:
        segment_ids: [n] sorted; segments without a picture are left out.
        cache: vectors of pictures that were seen before.

    Raises:
        LiveAlignError: a picture is missing from the landing folder, or damaged there.
    """
    built = [day for day in days if partition(marts, MART, day).exists()]  # days of an earlier version have none
    if not built:
        return SegmentFrames(np.zeros(0, dtype=np.int64), np.zeros((0, encoder.width), dtype=np.float32))
    rows = read_mart(marts, MART, built, ("segment_id", "frame_path"))
    rows = rows.filter(pa.array(np.isin(ints(rows, "segment_id"), segment_ids)))
    paths = {Path(path).stem: landing / path for path in rows["frame_path"].to_pylist()}
    names = [Path(path).stem for path in rows["frame_path"].to_pylist()]
    vectors = vectors_of(encoder, names, lambda name: read_frame(paths[name]), EmbeddingCache(cache), progress)
    return SegmentFrames(ints(rows, "segment_id"), vectors)


def read_frame(path: Path) -> Pixels:
    """The pixels of a landed picture.

    Raises:
        LiveAlignError: it is missing or damaged.
    """
    try:
        return decode(path.read_bytes())
    except (OSError, FrameError) as error:
        raise LiveAlignError(f"the picture {path} cannot be read ({error}); land its day again") from error
