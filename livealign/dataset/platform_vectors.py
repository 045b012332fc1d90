"""The platform's own content vectors.

They come from the mart `segment_vectors`. A segment has the latest vector of its room whose interval had ended with the
segment, so the vector may be used wherever the segment may.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from livealign.dataset.columns import Floats, Ints, ints
from livealign.days import partition
from livealign.errors import TrainingError

MART = "segment_vectors"
_BATCH_ROWS = 16_384  # of some 500 bytes each


class PlatformVectors(NamedTuple):
    """Vectors of m segments; segments without a vector are left out."""

    segment_ids: Ints  # [m]
    vectors: Floats  # [m, d]


def read_platform_vectors(marts: Path, days: Sequence[date], segment_ids: Ints) -> PlatformVectors | None:
    """The vectors of these segments, or None if no segment has one.

    Of several sources the one with most of the segments is used (the first by name in a tie), because vectors of two sources
    cannot be compared.

    Args:
        segment_ids: [n] sorted.

    Raises:
        TrainingError: a file cannot be read, or vectors of one source differ in length.
    """
    files = [file for day in days if (file := partition(marts, MART, day)).exists()]
    counts = Counter[str]()
    for file in files:
        for batch in _batches(file, ["segment_id", "vector_source"], segment_ids):
            counts.update(batch["vector_source"].to_pylist())
    if not counts:
        return None
    source = min(counts, key=lambda name: (-counts[name], name))
    ids, vectors = [], []
    for file in files:
        for batch in _batches(file, ["segment_id", "vector_source", "content_vector"], segment_ids):
            batch = batch.filter(pc.equal(batch["vector_source"], source))
            ids.append(ints(batch, "segment_id"))
            vectors.append(_matrix(batch["content_vector"], file))
    if len({part.shape[1] for part in vectors if len(part)}) != 1:
        raise TrainingError(f"{marts / MART}: vectors of source '{source}' differ in length from day to day; land them again")
    return PlatformVectors(np.concatenate(ids), np.concatenate([part for part in vectors if len(part)]))


def _batches(file: Path, columns: list[str], segment_ids: Ints) -> Iterator[pa.Table]:
    """Rows of the wanted segments, one batch of the file at a time."""
    try:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=columns):
                rows = pa.Table.from_batches([batch])
                yield rows.filter(pa.array(np.isin(ints(rows, "segment_id"), segment_ids)))
    except (pa.ArrowInvalid, OSError) as error:
        raise TrainingError(f"{file} cannot be read ({error}); build the warehouse again") from error


def _matrix(lists: pa.ChunkedArray, file: Path) -> Floats:
    """float32 [rows, d] of lists of one length."""
    lengths = set(pc.unique(pc.list_value_length(lists)).to_pylist())
    if len(lengths) > 1:
        raise TrainingError(f"{file}: vectors of one source have lengths {sorted(lengths)}; land them again")
    values: NDArray[np.float32] = pc.list_flatten(lists).to_numpy().astype(np.float32)
    return values.reshape(len(lists), -1) if len(lists) else np.zeros((0, 0), dtype=np.float32)
