"""The truth of a corpus: read in the corpus' order, and refused with its remedy where it lacks something."""

from pathlib import Path

import numpy as np
import pytest

from livealign.config import DatasetConfig
from livealign.dataset.corpus import Corpus, load_corpus
from livealign.errors import EvaluationError
from livealign.evaluation.day_truth import read_day_truth
from livealign.simulation.truth import truth_file
from tests.planted.marts import plant_marts
from tests.planted.truth import plant_truth


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    planted = plant_marts(tmp_path / "marts", users=20, authors=6, days=2, requests_per_day=30)
    return load_corpus(planted.marts, planted.days[-1], DatasetConfig())


def test_the_truth_comes_in_the_order_of_segments_and_impressions(corpus: Corpus, tmp_path: Path) -> None:
    truth = read_day_truth(plant_truth(tmp_path, corpus), corpus)
    assert truth is not None
    windows, rows = len(corpus.segment_ids) - 1, np.arange(len(corpus.test))
    assert truth.topics.tolist() == (np.arange(windows) % 3).tolist()
    assert truth.topic_of_segments[:4] == ["", "chess", "boxing", "cooking"]
    assert truth.low_quality.tolist() == [False, False, True, *[False] * (windows - 2)]
    assert truth.probabilities["p_click"].tolist() == (rows / 1000).tolist()
    assert truth.fixed.tolist() == (-rows.astype(float)).tolist()
    assert truth.tastes[:, 0].tolist() == (rows % 3 * 3.0).tolist()
    assert truth.position == -0.5
    assert sum(share for share, _ in truth.modifiers) == pytest.approx(1.0)
    assert {log_odds: share for share, log_odds in truth.modifiers}[-1.0] == pytest.approx(1 / windows)


def test_a_real_platform_has_no_truth(corpus: Corpus, tmp_path: Path) -> None:
    assert read_day_truth(tmp_path / "another", corpus) is None


def test_an_archive_of_another_version_is_refused_with_what_it_lacks(corpus: Corpus, tmp_path: Path) -> None:
    lacking = plant_truth(tmp_path, corpus, without=("highlight", "low_quality"))
    with pytest.raises(
        EvaluationError, match=r"no column highlight, low_quality; make the archive again with `livealign simulate`"
    ):
        read_day_truth(lacking, corpus)
    silent = plant_truth(tmp_path, corpus, {"highlight": 1.0, "position": 0.0})
    with pytest.raises(EvaluationError, match=r"simulator.json does not say what low_quality did .*`livealign simulate`"):
        read_day_truth(silent, corpus)
    truth_file(plant_truth(tmp_path, corpus), "tastes", corpus.day).unlink()
    with pytest.raises(EvaluationError, match=r"tastes.*cannot be read .*`livealign simulate`"):
        read_day_truth(tmp_path, corpus)
