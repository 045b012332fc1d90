"""Arrow columns to NumPy, and lookups in sorted ids."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


def ints(table: pa.Table, column: str) -> Ints:
    """A column of n rows as int64 [n]; null becomes 0."""
    return pc.fill_null(table[column], 0).cast(pa.int64()).to_numpy()


def floats(table: pa.Table, column: str) -> NDArray[np.float64]:
    """A column of n rows as float64 [n]; null becomes NaN."""
    return table[column].cast(pa.float64()).to_numpy()


def milliseconds(table: pa.Table, column: str) -> Ints:
    """A column of n times as epoch milliseconds, int64 [n]; null becomes 0."""
    return pc.fill_null(table[column].cast(pa.timestamp("ms"), safe=False).cast(pa.int64()), 0).to_numpy()


def place(sorted_ids: Ints, ids: Ints) -> Ints:
    """Place of each id in `sorted_ids`, −1 if it is missing; the shape of `ids`."""
    if not len(sorted_ids):
        return np.full(ids.shape, -1, dtype=np.int64)
    places = np.minimum(np.searchsorted(sorted_ids, ids), len(sorted_ids) - 1)
    return np.where(sorted_ids[places] == ids, places, -1)


def rows_by_key(keys: Ints, wanted: Ints) -> Ints:
    """Row of each wanted key in `keys` (any order), −1 if it is missing."""
    order = np.argsort(keys, kind="stable")
    places = place(keys[order], wanted)
    return np.where(places >= 0, order[np.maximum(places, 0)] if len(order) else -1, -1)
