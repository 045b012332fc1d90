"""The ceiling of the text: what a reader with true labels and true tastes could reach."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livealign.config import DatasetConfig
from livealign.dataset import load_corpus
from livealign.heldout import EvaluationError, truth_file
from livealign.text_oracle import WINDOW_MILLISECONDS, expected_click, topic_beliefs, true_low_quality, true_topics
from tests.planted_marts import plant_marts


def test_beliefs_follow_the_words_and_an_empty_text_has_none() -> None:
    words = (["goal", "keeper", "corner"], ["soup", "salt", "oven"], ["loot", "boss", "level"])
    rng = np.random.default_rng(0)
    topics = np.arange(90) % 3
    texts = [" ".join(rng.choice(words[topic], 2)) for topic in topics]
    texts[88] = ""
    beliefs = topic_beliefs(texts, topics, np.arange(90) < 60)
    assert beliefs[60:88].argmax(1).tolist() == topics[60:88].tolist()
    assert beliefs[60:88].sum(1) == pytest.approx(np.ones(28), abs=1e-5)
    assert (beliefs[88] == 0).all()


def test_the_expected_click_weighs_topics_and_moments() -> None:
    def sigmoid(x: float) -> float:
        return float(1 / (1 + np.exp(-x)))

    found = expected_click(np.array([[0.75, 0.25]]), np.array([[0.0, 2.0]]), [(0.9, 0.0), (0.1, 1.0)])
    by_hand = 0.75 * (0.9 * 0.5 + 0.1 * sigmoid(1.0)) + 0.25 * (0.9 * sigmoid(2.0) + 0.1 * sigmoid(3.0))
    assert found == pytest.approx([by_hand])


def test_an_archive_of_another_version_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    planted = plant_marts(tmp_path / "marts", users=20, authors=6, days=2, requests_per_day=30)
    corpus = load_corpus(planted.marts, planted.days[-1], DatasetConfig())
    windows = len(corpus.segment_ids) - 1
    truth = {
        "room_id": corpus.segment_room_id[1:],
        "window": corpus.segment_started_at[1:] // WINDOW_MILLISECONDS,
        "topic": np.arange(windows) % 3,
        "highlight": np.zeros(windows, bool),
        "low_quality": np.zeros(windows, bool),
    }

    def archive(settings: dict[str, float], without: tuple[str, ...] = ()) -> Path:
        table = pa.table({name: values for name, values in truth.items() if name not in without})
        for day in planted.days:
            file = truth_file(tmp_path, "segments", day)
            file.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, file)
        (tmp_path / "simulator.json").write_text(json.dumps({"format": 1, "config": settings}))
        return tmp_path

    settings = {"highlight": 1.0, "low_quality": -1.0}
    truth["low_quality"][1] = True
    archive(settings)
    assert true_low_quality(tmp_path, corpus).tolist() == [False, False, True, *[False] * (windows - 2)]
    assert true_low_quality(tmp_path / "another", corpus) is None
    topics = true_topics(archive(settings), corpus)
    assert topics is not None
    assert topics.tolist() == truth["topic"].tolist()
    with pytest.raises(
        EvaluationError, match=r"no column highlight, low_quality; make the archive again with `livealign simulate`"
    ):
        true_topics(archive(settings, without=("highlight", "low_quality")), corpus)
    with pytest.raises(EvaluationError, match=r"simulator.json does not say what low_quality did .*`livealign simulate`"):
        true_topics(archive({"highlight": 1.0}), corpus)
