"""The truth of a corpus: read in the corpus' order, and refused with its remedy where it lacks something."""

from pathlib import Path

import numpy as np
import pytest

from livealign.config import DatasetConfig, EvaluationConfig
from livealign.dataset.corpus import Corpus, load_corpus
from livealign.errors import EvaluationError
from livealign.evaluation.day_truth import read_day_truth
from livealign.evaluation.frame import CLICK, held_out_frame
from livealign.evaluation.report import evaluate
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
    assert (truth.slices, truth.topic_of_word) == ({}, {})


def test_the_truth_of_an_open_world_knows_members_and_gives_each_impression_its_slices(corpus: Corpus, tmp_path: Path) -> None:
    truth = read_day_truth(plant_truth(tmp_path / "archive", corpus, open_world=True), corpus)
    assert truth is not None
    assert truth.topic_of_word == {"ruy": 0, "lopez": 0, "jab": 1}
    assert truth.slices["members"][:4].tolist() == ["no window", "new", "said before", "new"]
    assert truth.slices["wording"][:5].tolist() == ["no window", "plain", "homonym", "denial", "contradicting title"]
    config, segment = EvaluationConfig(), corpus.test.segment
    frame = held_out_frame(corpus, tmp_path / "marts", config, truth, characters=np.zeros(len(corpus.segment_ids), np.int64))
    slices = frame.slices
    assert (slices["members"] == np.where(segment == 0, "no window", np.where(segment % 2, "new", "said before"))).all()
    scores = {"id_only": np.arange(len(segment)) % 7 / 7, "aligned_codes": np.nan_to_num(corpus.test.labels[:, CLICK])}
    report = evaluate(scores, frame, config)
    assert {*report.slices["wording"]} == {"plain", "homonym", "denial", "contradicting title"} | set(slices["wording"])
    new = report.slices["members"]["new"]["aligned_codes"]
    assert new.n_impressions == (segment % 2 == 1).sum()
    assert new.gauc == 1.0
    assert new.against_baseline is not None
    assert new.against_baseline.low > 0


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
