"""Mean and deviation of features; rows of the position-bias table."""

import numpy as np
from numpy.typing import NDArray

METADATA = "livealign"  # the only entry of a weight file's metadata: safetensors writes several in random order


def mean_and_std(features: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each column over its known values.

    A column without known values has mean 0; a constant one has deviation 1.
    """
    known = ~np.isnan(features)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, features, 0).sum(0, dtype=np.float64) / count
    std = np.sqrt((np.where(known, features - mean, 0) ** 2).sum(0) / count)
    return mean.astype(np.float32), np.where(std > 1e-6, std, 1).astype(np.float32)


def standardise(features: NDArray, mean: NDArray, std: NDArray) -> NDArray[np.float32]:
    """(features − mean) / std, 0 if a feature is unknown (NaN), clipped to ±5."""
    return np.clip(np.nan_to_num((features - mean) / std, nan=0.0), -5, 5).astype(np.float32)


def position_index(position: NDArray, positions: int) -> NDArray[np.int64]:
    """Row of a position-bias table: 0 if unknown, else 1 + position.

    Positions beyond the table have its last row.
    """
    known = np.nan_to_num(position, nan=-1.0)
    return np.clip(known + 1, 0, positions).astype(np.int64)
