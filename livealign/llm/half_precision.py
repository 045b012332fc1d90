"""Half precision of content vectors: rounded where an encoder ends, two bytes a number.

    vectors = rounded(vectors)      # at the exit: float32, of which float16 loses nothing
    narrowed(vectors)               # the same numbers as float16

The encoder rounds, not the file. So the retrain, every engine, the cache and the service see the same numbers, wherever a
vector comes from. float16 has 11 binary digits, bfloat16, in which a language model computes, 8. A vector with a number beyond
65,504, which float16 cannot hold, keeps its float32, and so does an array or a file with such a vector.
"""

import numpy as np
from numpy.typing import NDArray

LARGEST = float(np.finfo(np.float16).max)


def rounded(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows [n, d] rounded to float16; one with a number beyond it is left as it is."""
    fits = _fits(vectors)
    if fits.all():
        return vectors.astype(np.float16).astype(np.float32)
    result = vectors.astype(np.float32)
    result[fits] = vectors[fits].astype(np.float16)
    return result


def narrowed(vectors: NDArray) -> NDArray:
    """Rounded rows [n, d] as float16, or as they are if one has a number beyond it."""
    return vectors.astype(np.float16, copy=False) if _fits(vectors).all() else vectors


def _fits(vectors: NDArray) -> NDArray[np.bool_]:
    """[n] whether float16 holds every number of a row."""
    return (np.abs(vectors) <= LARGEST).all(axis=1)


class HalfRows:
    """Rounded rows that are filled in any order.

    `matrix` [n, width] is float16, or float32 once a row needs it.
    """

    def __init__(self, count: int, width: int) -> None:
        self.matrix: NDArray = np.empty((count, width), np.float16)

    def __setitem__(self, rows: NDArray, vectors: NDArray) -> None:
        if self.matrix.dtype == np.float16 and narrowed(vectors).dtype != np.float16:
            self.matrix = self.matrix.astype(np.float32)
        self.matrix[rows] = vectors
