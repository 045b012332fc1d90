"""Every plot is a PNG of a readable size, for full, thin and empty input, and the same input gives the same bytes."""

import base64
import struct
from dataclasses import replace

import numpy as np
import pytest

from livealign.calibration_metrics import reliability
from livealign.config import EvaluationConfig
from livealign.evaluation import code_plots, plots, report_plots
from livealign.evaluation.frame import EvaluationFrame
from livealign.evaluation.report import EvaluationReport, evaluate


@pytest.fixture(scope="module")
def report() -> EvaluationReport:
    rng = np.random.default_rng(0)
    n = 1_000
    user, p = rng.integers(0, 40, n), rng.random(n)
    slices = {"author_popularity": rng.choice(["head", "tail", "unseen"], n)}
    frame = EvaluationFrame(user, user, np.zeros(n, int), {"click": (rng.random(n) < p).astype(float)}, None, slices)
    scores = {"id_only": 0.5 * p + 0.5 * rng.random(n), "aligned": 0.7 * p + 0.3 * rng.random(n)}
    truth = {"p_click": p, "p_click_static": 0.6 * p + 0.4 * rng.random(n)}
    return evaluate(scores, frame, EvaluationConfig(bootstrap_samples=50), truth)


def _size(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", png[16:24])


def _check(png: bytes) -> None:
    width, height = _size(png)
    assert 300 <= width <= 2_000
    assert 120 <= height <= 2_000


def test_plots_of_the_report(report):
    _check(report_plots.variants_bar(report))
    _check(report_plots.gain_by_slice(report, "author_popularity"))
    _check(report_plots.reliability_plot(report.reliability))
    assert report_plots.variants_bar(report) == report_plots.variants_bar(report)


def test_plots_without_truth_slices_or_measurable_users(report):
    empty = replace(report, variants={}, oracle={}, differences={}, slices={}, reliability={})
    _check(report_plots.variants_bar(empty))
    _check(report_plots.gain_by_slice(empty, "author_popularity"))
    _check(report_plots.reliability_plot({}))


def test_plots_of_training_gate_codes_and_drift():
    rng = np.random.default_rng(0)
    _check(plots.loss_curve(np.exp(-np.arange(200) / 50), [(100, 0.4), (199, 0.2)]))
    _check(plots.loss_curve([2.0]))
    _check(plots.codebook_usage([rng.integers(0, 9, 32), np.zeros(32), rng.integers(0, 9, 32)]))
    _check(plots.drift_bars({"click": (0.2, 0.1), "long_view": (1.0, 0.0), "language": (0.01, 0.1)}))
    _check(plots.drift_bars({}))
    _check(report_plots.reliability_plot({"aligned": reliability(rng.random(100), rng.integers(0, 2, 100))}))


def test_a_picture_goes_inline_into_markdown():
    text = plots.to_markdown_image(b"abc", "loss [of] LoRA")
    assert text == f"![loss of LoRA](data:image/png;base64,{base64.b64encode(b'abc').decode()})"


def test_plots_of_the_gate_the_space_and_a_rooms_path():
    rng = np.random.default_rng(1)
    vectors, codes = rng.normal(size=(300, 8)).astype(np.float32), rng.integers(0, 5, (300, 2))
    _check(code_plots.code_map(vectors, codes, [f"topic {code}" for code in codes[:, 0]]))
    _check(code_plots.code_map(vectors[:0], codes[:0], []))
    names = [f"{code}: name" for code in codes[:20, 0]]
    _check(code_plots.code_path(np.arange(20) / 2, names, ["$x$ _{ and \\frac " * 9] * 20))
    _check(code_plots.code_path(np.zeros(0), [], []))
    _check(code_plots.gate_by_group({"impressions": {"from 0": (0.4, 0.1), "from 10": (0.7, 0.5)}, "content": {}}))
    _check(code_plots.gate_by_group({}))
    _check(code_plots.trust_plot(np.array([0.1, 0.9, 1.0]), np.array([3, 40, 1_000])))
    _check(code_plots.trust_plot(np.zeros(0), np.zeros(0, dtype=np.int64)))
