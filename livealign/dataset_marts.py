"""Reading the marts that learning needs, and small conversions from Arrow to numpy."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from livealign.errors import TrainingError

TASKS = ("click", "long_view", "like", "comment", "gift")
SEGMENT_COLUMNS = ("n_viewers", "n_comments", "n_commenters", "n_likes", "n_gifts", "n_entered", "n_left", "retention")
SEGMENT_INFO = ("segment_id", "room_id", "author_id", "segment_index", "started_at")

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


def partition(marts: Path, mart: str, day: date) -> Path:
    return marts / mart / f"dt={day.isoformat()}" / "part-0.parquet"


def read(marts: Path, mart: str, days: Sequence[date], columns: Sequence[str]) -> pa.Table:
    tables = []
    for day in days:
        path = partition(marts, mart, day)
        if not path.exists():
            raise TrainingError(f"{path} is missing; build the warehouse for {day} first")
        try:
            tables.append(pq.ParquetFile(path).read(columns=list(columns)))
        except (pa.ArrowInvalid, OSError) as error:
            raise TrainingError(f"{path} cannot be read ({error}); build the warehouse for {day} again") from error
        if missing := set(columns) - set(tables[-1].column_names):
            raise TrainingError(f"{path} lacks {sorted(missing)}; it was built by other code: build the warehouse again")
    return pa.concat_tables(tables, promote_options="permissive")


def ints(table: pa.Table, column: str) -> Ints:
    return pc.fill_null(table[column], 0).cast(pa.int64()).to_numpy()


def floats(table: pa.Table, column: str) -> NDArray[np.float64]:
    return table[column].cast(pa.float64()).to_numpy()  # null becomes NaN


def milliseconds(table: pa.Table, column: str) -> Ints:
    return pc.fill_null(table[column].cast(pa.timestamp("ms"), safe=False).cast(pa.int64()), 0).to_numpy()


def place(sorted_ids: Ints, ids: Ints) -> Ints:
    """Place of each id in `sorted_ids`, -1 where it is not there; the shape of `ids`."""
    if not len(sorted_ids):
        return np.full(ids.shape, -1, dtype=np.int64)
    places = np.minimum(np.searchsorted(sorted_ids, ids), len(sorted_ids) - 1)
    return np.where(sorted_ids[places] == ids, places, -1)


def rows_by_key(keys: Ints, wanted: Ints) -> Ints:
    """Row of each wanted key in `keys` (any order), -1 where it is not there."""
    order = np.argsort(keys, kind="stable")
    places = place(keys[order], wanted)
    return np.where(places >= 0, order[np.maximum(places, 0)] if len(order) else -1, -1)


def end_of(day: date) -> int:
    """Epoch milliseconds of the midnight that ends `day` (UTC)."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000) + 86_400_000
