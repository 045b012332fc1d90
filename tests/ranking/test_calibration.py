"""Logits made to come true, on planted ones that are too sure."""

import numpy as np
import pytest

from livealign.calibration_metrics import ece
from livealign.config import RankerConfig
from livealign.ranking.calibration import calibration, calibration_split


def test_logits_that_are_too_sure_are_brought_back_and_keep_their_order() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(-2, 1, 40_000)
    labels = (rng.random(40_000) < 1 / (1 + np.exp(-true))).astype(np.float32)[:, None]
    labels[::7] = np.nan
    sure = ((true + 0.5) * 1.6).astype(np.float32)[:, None]
    scale, shift = calibration(sure, labels)
    assert scale[0] == pytest.approx(1 / 1.6, abs=0.03)
    assert shift[0] == pytest.approx(-0.5, abs=0.06)
    before, after = (ece(1 / (1 + np.exp(-one[:, 0])), labels[:, 0]) for one in (sure, sure * scale + shift))
    assert after < 0.01 < 0.02 < before


def test_a_task_with_hardly_a_positive_or_an_order_turned_around_is_left_as_it_is() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(5_000, 2)).astype(np.float32)
    labels = np.zeros((5_000, 2), dtype=np.float32)
    labels[:5, 0] = 1
    labels[:, 1] = rng.random(5_000) < 1 / (1 + np.exp(logits[:, 1]))
    scale, shift = calibration(logits, labels)
    assert scale.tolist() == [1, 1]
    assert shift.tolist() == [0, 0]


def test_whole_requests_are_kept_out_and_few_rows_are_not_split() -> None:
    request = np.repeat(np.arange(3_000), 10)
    fit, held_out = calibration_split(request, RankerConfig())
    assert len(fit) + len(held_out) == len(request)
    assert not set(request[fit]) & set(request[held_out])
    assert 0.08 < len(held_out) / len(request) < 0.12
    assert len(calibration_split(request[:5_000], RankerConfig())[1]) == 0
