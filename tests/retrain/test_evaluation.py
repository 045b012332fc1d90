"""One evaluation of a day: every table is read once, and what is reported is what the scores are worth."""

import json
from collections import Counter
from dataclasses import replace
from datetime import datetime, time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from threadpoolctl import threadpool_limits

from livealign.dataset.corpus import LEXICAL, RAW, TUNED, Corpus, load_corpus
from livealign.dataset.marts import read_mart
from livealign.days import partition
from livealign.evaluation.certainty import with_interval
from livealign.evaluation.day_truth import WINDOW_MILLISECONDS
from livealign.evaluation.frame import held_out_frame, read_segments
from livealign.evaluation.shown_lists import shown_impressions
from livealign.files import replace_json
from livealign.home import Home
from livealign.landing.schema import TABLES
from livealign.metrics import Interval
from livealign.profiles import load_profile
from livealign.ranking.variants import RELEASE
from livealign.retrain.alignment import CheckedSource, align, encode
from livealign.retrain.artifacts import SCORES, DayArtifacts
from livealign.retrain.evaluation import DayReport, evaluate_day, off_policy_section, off_policy_values, source_sections
from livealign.retrain.pictures import segment_subjects
from livealign.retrain.reading_budget import RECORD, reading_line
from tests.planted.marts import Planted, plant_marts
from tests.planted.release import WORDS
from tests.planted.truth import plant_truth

PROFILE = load_profile("tiny")
MARTS = "platforms/planted/warehouse/marts"
EVERY_DAY = (f"{MARTS}/segments", f"{MARTS}/segment_highlights", "archive/truth/segments")
READING = {
    "windows_per_day": 5,
    "windows": 90,
    "read": 15,
    "impressions_with_read_window": 0.5,
    "impressions_with_vector": 0.75,
}
HELD_OUT_DAY = (f"{MARTS}/interactions", "archive/truth/impressions", "archive/truth/tastes")


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


class Evaluated(NamedTuple):
    """A day with marts, truth, towers, codes and the scores of two variants, after its one evaluation."""

    root: Path
    corpus: Corpus
    report: DayReport
    reads: Counter[str]  # times that a file below `root` was read


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    root = tmp_path_factory.mktemp("day")
    home = Home(root, "planted")
    planted = plant_marts(home.marts, days=3)
    with_texts(planted)
    corpus = load_corpus(planted.marts, planted.days[-1], PROFILE.dataset)
    for name in (RAW, TUNED, LEXICAL):
        corpus = corpus.with_content(name, planted.segment_ids, planted.vectors)
    plant_truth(root / "archive", corpus)
    artifacts = DayArtifacts(root / "artifacts")
    clicks = np.nan_to_num(corpus.test.labels)
    noise = np.random.default_rng(0).random(clicks.shape)
    for folder, name, sure in ((artifacts.ranker, SCORES, 0.6), (artifacts.comparison, "id_only.npy", 0.1)):
        folder.mkdir(parents=True)
        np.save(folder / name, (sure * clicks + (1 - sure) * noise).astype(np.float32))
    replace_json(artifacts.embeddings / RECORD, READING, version=1)
    with threadpool_limits(1):  # the data are small: more threads would only wait for each other
        align(corpus, PROFILE, artifacts)
        encode(corpus, PROFILE, artifacts, ["words"] * (len(corpus.segment_ids) - 1))
        with pytest.MonkeyPatch.context() as patch:
            reads = counted_reads(root, patch)
            report = evaluate_day(corpus, home, root / "archive", artifacts, PROFILE, root / "report.html")
    return Evaluated(root, corpus, report, reads)


def counted_reads(root: Path, patch: pytest.MonkeyPatch) -> Counter[str]:
    """How often Parquet files below `root` are read from now on, both ways that there are."""
    reads: Counter[str] = Counter()
    of_table, of_file = pq.read_table, pq.ParquetFile

    def counted_table(path: Path, **options: Any) -> pa.Table:
        reads[str(Path(path).relative_to(root))] += 1
        return of_table(path, **options)

    class CountedFile(of_file):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            reads[str(Path(path).relative_to(root))] += 1

    patch.setattr(pq, "read_table", counted_table)
    patch.setattr(pq, "ParquetFile", CountedFile)
    return reads


def test_an_evaluation_reads_every_file_of_the_marts_and_of_the_truth_once(evaluated: Evaluated) -> None:
    days = (*evaluated.corpus.train_days, evaluated.corpus.day)
    expected = {f"{table}/dt={day}/part-0.parquet" for table in EVERY_DAY for day in days}
    expected |= {f"{table}/dt={evaluated.corpus.day}/part-0.parquet" for table in HELD_OUT_DAY}
    assert dict(evaluated.reads) == dict.fromkeys(expected | {"archive/truth/topics.parquet"}, 1)


def test_what_is_written_is_what_the_scores_are_worth(evaluated: Evaluated) -> None:
    report, written = (
        evaluated.report,
        json.loads((evaluated.root / "artifacts" / "evaluation" / "evaluation.json").read_text()),
    )
    assert written["variants"][RELEASE]["gauc"] > written["variants"]["id_only"]["gauc"] + 0.1
    assert report.evaluation.variants[RELEASE].gauc == written["variants"][RELEASE]["gauc"]
    assert set(report.evaluation.oracle) == {f"oracle{of}{at}" for of in ("", "_text", "_static") for at in ("", "_any_place")}
    assert set(report.highlights) == {"statistics", "statistics + raw_llm", "statistics + tuned_llm"}
    assert len(report.pictures) == 8
    assert "GAUC of each variant" in (evaluated.root / "report.html").read_text()


def test_the_report_says_what_each_source_added_and_to_what(evaluated: Evaluated) -> None:
    gains = {"lexical": Interval(0.01, 0.004, 0.016, 200)}
    report = replace(evaluated.report.evaluation, source_gains=gains)
    checks = (
        CheckedSource("llm", (), 0.15, 0.003, True, 0),
        CheckedSource("lexical", ("llm",), 0.0001, 0.0004, False, 12),
    )
    check, held_out = source_sections(report, checks, least_users=20)
    assert check.rows == [
        ("llm", "the author ID", "+0.1500 ± 0.0030", "yes", "0"),
        ("lexical", "llm", "+0.0001 ± 0.0004", "no", "12"),
    ]
    assert held_out.rows == [("lexical", with_interval(gains["lexical"], 20))]
    assert source_sections(evaluated.report.evaluation, (), least_users=20) == []


def test_without_a_truth_the_map_shows_categories_and_no_stream_has_a_quality(evaluated: Evaluated) -> None:
    corpus, marts = evaluated.corpus, evaluated.root / MARTS
    assert "stream_quality" not in held_out_frame(corpus, marts, PROFILE.evaluation).slices
    kind, groups = segment_subjects(corpus, read_segments(corpus, marts), None)
    assert kind == "category"
    assert groups == ["", *["games"] * (len(corpus.segment_ids) - 1)]


def test_the_day_is_read_off_policy_where_its_lists_were_logged(evaluated: Evaluated, tmp_path: Path) -> None:
    corpus, home = evaluated.corpus, Home(evaluated.root, "planted")
    assert evaluated.report.off_policy == {}  # no list was logged
    shown = read_mart(home.marts, "interactions", [corpus.day], ["request_id", "user_id", "room_id", "position", "shown_at"])
    lists: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for row in shown.to_pylist():
        lists.setdefault((row["request_id"], row["user_id"]), []).append((row["position"], row["room_id"]))
    rows = [
        {
            "list_id": number,
            "user_id": user,
            "shown_at": datetime.combine(corpus.day, time()),
            "request_id": request,
            "release": "r",
            "experiment": None,
            "challenger": False,
            "share": 1.0,
            "rooms": [room for _, room in sorted(rooms)],
            "propensities": [1.0, *[0.5, 0.05] * len(rooms)][: len(rooms)],
        }
        for number, ((request, user), rooms) in enumerate(lists.items())
    ]
    target = partition(tmp_path, "lists", corpus.day)
    target.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, TABLES["lists"].schema), target)
    scores = {RELEASE: np.load(evaluated.root / "artifacts" / "ranker" / SCORES)}
    scores["noise"] = np.random.default_rng(1).random(scores[RELEASE].shape).astype(np.float32)
    found = off_policy_values(shown_impressions(tmp_path, home.marts, corpus.day), corpus, scores)
    assert found.keys() == {"all candidates", RELEASE, "noise"}
    assert found[RELEASE].value > found["all candidates"].high  # its scores know the clicks
    assert found["noise"].low < found["all candidates"].value < found["noise"].high
    assert found["all candidates"].rows == len(shown)
    assert found["all candidates"].effective < found["all candidates"].rows
    section = off_policy_section(found, evaluated.report.evaluation)
    assert [row[0] for row in section.rows] == ["all candidates", RELEASE, "noise"]
    gauc = evaluated.report.evaluation.variants[RELEASE].gauc
    assert section.rows[1][1] == f"{gauc:.4f}"


def test_the_effect_of_a_reading_budget_is_in_the_report_and_for_machines(evaluated: Evaluated) -> None:
    assert json.loads((evaluated.root / "artifacts" / "evaluation" / "evaluation.json").read_text())["reading"] == READING
    assert reading_line(READING) in (evaluated.root / "report.html").read_text()
