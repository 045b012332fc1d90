"""The certainty of codes: how far inside its code a vector lies."""

import numpy as np
from numpy.typing import NDArray

from livealign.codes.codebook import Codebook

Floats = NDArray[np.float32]


def code_certainty(codebook: Codebook, vectors: Floats, codes: NDArray[np.integer]) -> Floats:
    """The certainty [n, levels] of the codes [n, levels] of vectors [n, dim].

    The levels may be the first ones alone. It is 0 at the nearest border, and 1 at the code's centre or behind it. The border
    to another code is where both cost the same (squared distance + price). Between the two centres the certainty grows
    linearly. A level with one code is certain.
    """
    residual = np.array(vectors, dtype=np.float32)
    certainty = np.ones(codes.shape, dtype=np.float32)
    for level, centroids in enumerate(codebook.centroids[: codes.shape[1]]):
        code = codes[:, level]
        cost = ((residual[:, None] - centroids) ** 2).sum(2) + codebook.prices[level]  # [n, codes]
        more = cost - np.take_along_axis(cost, code[:, None].astype(np.int64), 1)
        apart = ((centroids[code][:, None] - centroids) ** 2).sum(2)
        inside = np.divide(more, apart, out=np.ones_like(more), where=apart > 0)
        certainty[:, level] = np.clip(inside.min(1), 0.0, 1.0)
        residual -= centroids[code]
    return certainty
