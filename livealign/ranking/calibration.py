"""Predicted probabilities that come true: a straight line through each task's logits, fitted to requests kept out of training.

A ranker is too sure of what it was trained on. Two numbers a task (Platt 1999) mend that
and change no order within a task.
"""

import numpy as np
from numpy.typing import NDArray

from livealign.config import RankerConfig

_LEAST_ROWS = 1_000  # kept out; with fewer nothing is kept out and nothing is calibrated
_LEAST_POSITIVES = 20
_STEPS = 25
_PRIOR = 1.0  # rows' worth of belief in scale 1 and shift 0


def calibration_split(request: NDArray[np.int64], config: RankerConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on and rows to calibrate on, whole requests [n] at a time, drawn by the config's seed."""
    names, number = np.unique(request, return_inverse=True)
    drawn = np.random.default_rng(config.seed).random(len(names))[number.reshape(-1)] < config.calibration_share
    if drawn.sum() < _LEAST_ROWS or drawn.all():
        return np.arange(len(request)), np.zeros(0, dtype=np.int64)
    return np.flatnonzero(~drawn), np.flatnonzero(drawn)


def calibration(logits: NDArray[np.float32], labels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scale and shift [tasks] of least log loss for logits [n, tasks] and labels [n, tasks] (NaN: not observed).

    A task with few positives, or one that would be turned around, keeps scale 1 and shift 0.
    """
    scale, shift = np.ones(logits.shape[1], dtype=np.float32), np.zeros(logits.shape[1], dtype=np.float32)
    for task in range(logits.shape[1]):
        seen = ~np.isnan(labels[:, task])
        x, y = logits[seen, task].astype(np.float64), labels[seen, task].astype(np.float64)
        if min(y.sum(), (1 - y).sum()) < _LEAST_POSITIVES:
            continue
        fitted = _line(x, y)
        if np.isfinite(fitted).all() and fitted[0] > 0:
            scale[task], shift[task] = fitted
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
