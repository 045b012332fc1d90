"""Rows that come and go in dense NumPy columns.

The last row takes the place of a removed one.
"""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_FIRST_CAPACITY = 1_024  # rows


class Columns:
    """Named columns of one length.

    `columns[name]` is a view of a column's rows, to be read and written in place.

    Columns(room_id=np.int64, counts=(np.float64, 8))   # one number a row, and 8 numbers a row
    """

    def __init__(self, **kinds: DTypeLike | tuple[DTypeLike, int]) -> None:
        self._size = 0
        self._columns: dict[str, NDArray] = {}
        for name, kind in kinds.items():
            dtype, width = kind if isinstance(kind, tuple) else (kind, None)
            shape = (_FIRST_CAPACITY,) if width is None else (_FIRST_CAPACITY, width)
            self._columns[name] = np.zeros(shape, dtype=dtype)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._columns[name][: self._size]

    def append(self, **values: Any) -> int:
        """Add a row and return its number; columns that are not given are zero."""
        self._reserve(self._size + 1)
        row = self._size
        for name, column in self._columns.items():
            column[row] = values.get(name, 0)
        self._size += 1
        return row

    def extend(self, arrays: dict[str, NDArray]) -> None:
        """Add many rows; every column must be given."""
        count = len(next(iter(arrays.values())))
        self._reserve(self._size + count)
        for name, column in self._columns.items():
            column[self._size : self._size + count] = arrays[name]
        self._size += count

    def remove(self, row: int) -> int:
        """Remove a row; returns the number of the row that took its place.

        That is the row's own number if it was the last row.
        """
        last = self._size - 1
        for column in self._columns.values():
            column[row] = column[last]
        self._size = last
        return last

    def arrays(self) -> dict[str, NDArray]:
        """Copies of all columns."""
        return {name: self[name].copy() for name in self._columns}

    def _reserve(self, size: int) -> None:
        capacity = len(next(iter(self._columns.values())))
        if size <= capacity:
            return
        larger = max(size, 2 * capacity)
        for name, column in self._columns.items():
            grown = np.zeros((larger, *column.shape[1:]), dtype=column.dtype)
            grown[: self._size] = column[: self._size]
            self._columns[name] = grown
