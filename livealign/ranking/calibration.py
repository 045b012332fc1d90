"""Platt scaling per task.

A ranker is overconfident on its training data. So a scale and a shift of each task's logits (Platt 1999) are fitted to requests
kept out of training. They do not change the order within a task.
"""

import numpy as np
from numpy.typing import NDArray

from livealign.config import RankerConfig

_LEAST_ROWS = 1_000  # kept out; with fewer the ranker is not calibrated
_LEAST_POSITIVES = 20
_STEPS = 25
_PRIOR = 1.0  # weight, in rows, of the prior at scale 1 and shift 0


def calibration_split(request: NDArray[np.int64], config: RankerConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows to train on, rows to calibrate on), drawn by the config's seed.

    All rows of a request [n] are on the same side.
    """
    names, number = np.unique(request, return_inverse=True)
    drawn = np.random.default_rng(config.seed).random(len(names))[number.reshape(-1)] < config.calibration_share
    if drawn.sum() < _LEAST_ROWS or drawn.all():
        return np.arange(len(request)), np.zeros(0, dtype=np.int64)
    return np.flatnonzero(~drawn), np.flatnonzero(drawn)


def calibration(logits: NDArray[np.float32], labels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scale and shift [tasks] with the smallest log loss.

    A task with few positives, or with a negative scale, keeps scale 1 and shift 0.

    Args:
        logits: [n, tasks]; labels: [n, tasks], NaN if not observed.
    """
    scale, shift = np.ones(logits.shape[1], dtype=np.float32), np.zeros(logits.shape[1], dtype=np.float32)
    for task in range(logits.shape[1]):
        known = ~np.isnan(labels[:, task])
        x, y = logits[known, task].astype(np.float64), labels[known, task].astype(np.float64)
        if min(y.sum(), (1 - y).sum()) < _LEAST_POSITIVES:
            continue
        line = _line(x, y)
        if np.isfinite(line).all() and line[0] > 0:
            scale[task], shift[task] = line
    return scale, shift


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """(a, b) of σ(a x + b) by Newton's method, with a weak prior at (1, 0)."""
    inputs, start = np.column_stack([x, np.ones(len(x))]), np.array([1.0, 0.0])
    line = start.copy()
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(inputs @ line, -30, 30)))
        gradient = inputs.T @ (y - p) - _PRIOR * (line - start)
        curvature = inputs.T @ (inputs * (p * (1 - p))[:, None]) + _PRIOR * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        line = line + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-9:
            break
    return line
