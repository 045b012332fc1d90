"""The texts of given segments, read from the marts."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from livealign.config import SegmentConfig
from livealign.dataset.columns import rows_by_key
from livealign.dataset.marts import built_days, read_mart
from livealign.days import partition
from livealign.errors import TrainingError
from livealign.file_cache import FileCache
from livealign.llm.segment_text import segment_texts

TEXT_COLUMNS = ("segment_id", "room_id", "window", "segment_index", "title", "category", "speech_text", "chat_text")
CONTEXT_DAYS = 1  # a room that runs over midnight has its earlier windows in the previous day
_texts: FileCache[pa.Table] = FileCache()


def texts_of(
    marts: Path, segment_ids: NDArray[np.int64], days: Sequence[date], config: SegmentConfig, segments: pa.Table | None = None
) -> list[str]:
    """The text of each of `segment_ids` [n], which lie in `days`.

    A room's windows of the previous day are read too, as context.

    Args:
        segments: the mart of `days` with TEXT_COLUMNS, if the caller has read it already.

    Raises:
        TrainingError: a segment is not in the mart of these days.
    """
    read = days_with_segments(marts, [days[0] - timedelta(days=CONTEXT_DAYS), *days])
    files = [partition(marts, "segments", day) for day in read]

    def texts() -> pa.Table:
        if segments is None:
            return segment_texts(read_mart(marts, "segments", read, TEXT_COLUMNS), config)
        before = [read_mart(marts, "segments", [day], TEXT_COLUMNS) for day in read if day < days[0]]
        return segment_texts(pa.concat_tables([*before, segments.select(TEXT_COLUMNS)], promote_options="permissive"), config)

    table = _texts((config, *read), files, texts)
    rows = rows_by_key(table["segment_id"].to_numpy(), segment_ids)
    if (rows < 0).any():
        raise TrainingError(
            f"{(rows < 0).sum()} segments are not in {marts} of the days {days[0]} to {days[-1]}; build those days again"
        )
    return table["text"].take(pa.array(rows)).to_pylist()


def days_with_segments(marts: Path, days: Sequence[date]) -> list[date]:
    """Those of the days that the mart `segments` has, sorted.

    Raises:
        TrainingError: it has none of them.
    """
    built = sorted(set(days) & set(built_days(marts, "segments")))
    if not built:
        raise TrainingError(
            f"{marts / 'segments'} holds none of the days {days[0]} to {days[-1]}; build the warehouse for them first"
        )
    return built
