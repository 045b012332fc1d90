"""One evaluation of a day: every table is read once, and what is reported is what the scores are worth."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livealign.artifacts import DayArtifacts
from livealign.challenger import SCORES, align, encode
from livealign.config import load_profile
from livealign.dataset import RAW, TUNED, Corpus, load_corpus
from livealign.day_truth import WINDOW_MILLISECONDS
from livealign.days import day_of, partition
from livealign.offline import RELEASE, evaluate_day
from tests.planted_marts import Planted, plant_marts
from tests.planted_release import WORDS
from tests.planted_truth import plant_truth

PROFILE = load_profile("tiny")


def with_texts(planted: Planted) -> None:
    """Give the planted segments what the LLM reads and the highlight task wants."""
    topics = dict(zip(planted.segment_ids.tolist(), planted.segment_topic.tolist(), strict=True))
    for day in planted.days:
        file = partition(planted.marts, "segments", day)
        segments = pq.ParquetFile(file).read()
        said = [f"the host plays {WORDS[topics[one]]} {one % 7}" for one in segments["segment_id"].to_pylist()]
        window = segments["started_at"].cast(pa.int64()).to_numpy() // WINDOW_MILLISECONDS
        columns = {"window": window, "title": ["title"] * len(said), "category": ["games"] * len(said)}
        for name, values in {**columns, "speech_text": said, "chat_text": [""] * len(said)}.items():
            segments = segments.append_column(name, pa.array(values))
        pq.write_table(segments, file)
        score = np.random.default_rng(0).random(len(said))
        best = (score > 0.7).astype(np.int8)
        highlights = {"room_id": segments["room_id"], "window": window, "score": score, "highlight": best}
        target = partition(planted.marts, "segment_highlights", day)
        target.parent.mkdir(parents=True)
        pq.write_table(pa.table({**highlights, "dt": [day] * len(said)}), target)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Corpus, DayArtifacts]:
    """A day before its evaluation: marts, truth, towers, codes, and scores of two variants."""
    root = tmp_path_factory.mktemp("day")
    planted = plant_marts(root / "marts", days=3)
    with_texts(planted)
    corpus = load_corpus(planted.marts, planted.days[-1], PROFILE.dataset)
    for name in (RAW, TUNED):
        corpus = corpus.with_content(name, planted.segment_ids, planted.vectors)
    plant_truth(root / "archive", corpus)
    artifacts = DayArtifacts(root / "artifacts")
    align(corpus, PROFILE, artifacts)
    encode(corpus, PROFILE, artifacts, ["words"] * (len(corpus.segment_ids) - 1))
    clicks = np.nan_to_num(corpus.test.labels)
    noise = np.random.default_rng(0).random(clicks.shape)
    for folder, name, sure in ((artifacts.ranker, SCORES, 0.6), (artifacts.comparison, "id_only.npy", 0.1)):
        folder.mkdir()
        np.save(folder / name, (sure * clicks + (1 - sure) * noise).astype(np.float32))
    return root, corpus, artifacts


def test_an_evaluation_reads_every_file_of_the_marts_and_of_the_truth_at_most_once(
    evaluated: tuple[Path, Corpus, DayArtifacts], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, corpus, artifacts = evaluated
    reads: Counter[str] = Counter()
    of_table, of_file = pq.read_table, pq.ParquetFile.read

    def counted_table(path: Path, **options: Any) -> pa.Table:
        reads[str(Path(path).relative_to(root))] += 1
        return of_table(path, **options)

    class CountedFile(pq.ParquetFile):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            self.path = path

        def read(self, **options: Any) -> pa.Table:
            reads[str(self.path.relative_to(root))] += 1
            return of_file(self, **options)

    monkeypatch.setattr(pq, "read_table", counted_table)
    monkeypatch.setattr(pq, "ParquetFile", CountedFile)
    day = evaluate_day(corpus, root / "marts", root / "archive", artifacts, PROFILE, root / "report.html")
    for table in ("marts/segments", "archive/truth/segments"):
        assert {f"{table}/dt={one}/part-0.parquet" for one in (*corpus.train_days, corpus.day)} <= set(reads)
    assert set(reads.values()) == {1}
    assert len(day.pictures) == 7
    assert day_of(int(corpus.test.shown_at[0])) == corpus.day


def test_what_is_written_is_what_the_scores_are_worth(evaluated: tuple[Path, Corpus, DayArtifacts]) -> None:
    root, corpus, artifacts = evaluated
    day = evaluate_day(corpus, root / "marts", root / "archive", artifacts, PROFILE, root / "report.html")
    written = json.loads((artifacts.evaluation / "evaluation.json").read_text())
    assert written["variants"][RELEASE]["gauc"] > written["variants"]["id_only"]["gauc"] + 0.1
    assert day.evaluation.variants[RELEASE].gauc == written["variants"][RELEASE]["gauc"]
    assert set(day.evaluation.oracle) == {
        f"oracle{of}{place}" for of in ("", "_text", "_static") for place in ("", "_any_place")
    }
    assert "stream_quality" in json.dumps(written)
    assert set(day.highlights) == {"statistics", "statistics + raw_llm", "statistics + tuned_llm"}
    assert "GAUC of each variant" in (root / "report.html").read_text()


def test_without_a_truth_there_are_no_ceilings_and_the_map_shows_categories(
    evaluated: tuple[Path, Corpus, DayArtifacts],
) -> None:
    root, corpus, artifacts = evaluated
    day = evaluate_day(corpus, root / "marts", root / "nowhere", artifacts, PROFILE, root / "real.html")
    assert not day.evaluation.oracle
    assert any("coloured by category" in caption for caption in day.pictures)
