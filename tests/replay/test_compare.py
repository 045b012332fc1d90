"""The comparison of service and pipeline: its verdict by hand, and a planted day through the core."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from livealign.alignment.towers import item_vectors
from livealign.dataset.content import content_of
from livealign.dataset.corpus import LEXICAL, TUNED, load_corpus
from livealign.days import PART, partition
from livealign.errors import LiveAlignError
from livealign.files import replace_json
from livealign.ids import segment_ids
from livealign.ranking.variants import ranker_items
from livealign.release.bundle import ADAPTER
from livealign.release.models import ReleaseModels
from livealign.replay.compare import Deviation, ReplayReport, _cosine_distance, _deviation, replay_day
from livealign.retrain.artifacts import CODES, SCORES, VECTORS, read_codes, read_vectors
from livealign.retrain.content import embed_segments
from livealign.retrain.corpus import with_embeddings
from tests.planted.landing_rows import write_landing
from tests.planted.night import Night, plant_night

NONE = Deviation(compared=10, missing=0, largest=0.0, mean=0.0)
EQUAL = ReplayReport("a release", 100, 0, embeddings=NONE, lexical=NONE, vectors=NONE, equal_codes=1.0, scores=NONE)


def test_equal_results_have_no_problem_and_neither_have_those_within_the_tolerance() -> None:
    assert EQUAL.problems() == []
    close = NONE._replace(mean=0.0009, largest=0.9)
    assert replace(EQUAL, embeddings=close, vectors=close, scores=close, equal_codes=0.97).problems() == []


@pytest.mark.parametrize("name", ["embeddings", "vectors", "scores"])
def test_each_kind_of_result_is_named_that_is_missing_or_differs(name: str) -> None:
    missing = replace(EQUAL, **{name: NONE._replace(missing=5)})
    assert missing.problems() == [f"5 of 15 {name} are missing in the service"]
    assert replace(EQUAL, **{name: Deviation(0, 0, 0.0, 0.0)}).problems() == [f"no {name} could be compared"]
    limit = 0.002 if name == "scores" else 0.001
    assert replace(EQUAL, **{name: NONE._replace(mean=limit * 0.99)}).problems() == []
    differs = replace(EQUAL, **{name: NONE._replace(mean=limit * 1.01)})
    assert differs.problems() == [f"{name} differ by {limit * 1.01:.5f} on average"]
    assert differs.problems(embedding=0.1, score=0.1) == []


def test_unequal_codes_are_a_problem() -> None:
    assert replace(EQUAL, equal_codes=0.9).problems() == ["only 90.0% of the codes are equal"]
    assert replace(EQUAL, equal_codes=0.9).problems(codes=0.9) == []


def test_the_deviation_of_two_arrays_is_that_counted_by_hand() -> None:
    mine = np.array([[1, 0], [1, 0], [3, 4], [0, 0]], dtype=np.float32)
    theirs = np.array([[5, 0], [0, 2], [4, 3], [1, 0]], dtype=np.float32)
    distances = [_cosine_distance(*pair) for pair in zip(mine, theirs, strict=True)]
    assert distances == pytest.approx([0.0, 1.0, 1 - 24 / 25, 1.0], abs=1e-6)
    found = _deviation(distances, missing=2)
    assert (found.compared, found.missing, found.largest) == (4, 2, 1.0)
    assert found.mean == pytest.approx((0 + 1 + 0.04 + 1) / 4, abs=1e-6)
    assert _deviation([], missing=3) == Deviation(0, 3, 0.0, 0.0)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A planted day as it was landed, and what the pipeline made of it with the challenger's models."""
    night = plant_night(tmp_path_factory.mktemp("night") / "home")
    keep_two_rooms(night)
    write_ids_and_titles_as_the_service_has_them(night.home.marts)
    land(night)
    artifacts, bundle, dataset = night.artifacts, night.challenger, night.profile.dataset
    day, marts = night.corpus.day, night.home.marts
    folders = {"models": night.home.models, "cache": night.home.root / "cache", "out": artifacts.embeddings}
    no_new_words = replace(night.profile, lexical=replace(night.profile.lexical, most_words=1))  # the bundle is made already
    embed_segments(marts, day, dataset, no_new_words, adapter=bundle.path / ADAPTER, previous=bundle, **folders)
    corpus, models = with_embeddings(load_corpus(marts, day, dataset), artifacts.embeddings), ReleaseModels.load(bundle)
    vectors = item_vectors(models.alignment, corpus, content_of(corpus, TUNED, LEXICAL).vectors)
    codes = models.codebook.encode(vectors)
    scores = models.ranker.predict(corpus.test, ranker_items(models.alignment, vectors, codes))
    written = ((artifacts.alignment, VECTORS, vectors), (artifacts.codes, CODES, codes), (artifacts.ranker, SCORES, scores))
    for folder, name, array in written:
        folder.mkdir(parents=True)
        np.save(folder / name, array, allow_pickle=False)
    replace_json(artifacts.release / "bundle.json", {"release_id": bundle.release_id})
    return replace(night, corpus=corpus)


def keep_two_rooms(night: Night) -> None:
    """Drop the other rooms of the last day, so that its replay is short."""
    shown, counts = np.unique(night.corpus.test.room_id, return_counts=True)
    rooms = pa.array(shown[np.argsort(-counts, kind="stable")[:2]])
    impressions = pa.array(night.corpus.test.impression_id[np.isin(night.corpus.test.room_id, rooms)])
    kept = {"segments": rooms, "rooms": rooms, "interactions": rooms, "user_histories": impressions}
    for mart, values in kept.items():
        path = partition(night.home.marts, mart, night.corpus.day)
        table = pq.ParquetFile(path).read()
        key = "impression_id" if mart == "user_histories" else "room_id"
        pq.write_table(table.filter(pc.is_in(table[key], value_set=values)), path)


def write_ids_and_titles_as_the_service_has_them(marts: Path) -> None:
    """Ids of segments from room and window, and the rooms' titles as in the mart of segments."""
    new: dict[int | None, int | None] = {None: None}
    for path in sorted((marts / "segments").glob(f"dt=*/{PART}")):
        table = pq.ParquetFile(path).read(["segment_id", "room_id", "window"])
        ids = segment_ids(table["room_id"].to_pylist(), table["window"].to_pylist())
        new.update(zip(table["segment_id"].to_pylist(), ids.tolist(), strict=True))
    for mart in ("segments", "interactions", "user_histories"):
        for path in sorted((marts / mart).glob(f"dt=*/{PART}")):
            table = pq.ParquetFile(path).read()
            ids = pa.array([new[one] for one in table["segment_id"].to_pylist()], pa.int64())
            pq.write_table(table.set_column(table.schema.get_field_index("segment_id"), "segment_id", ids), path)
    for path in sorted((marts / "rooms").glob(f"dt=*/{PART}")):
        table = pq.ParquetFile(path).read()
        titles = pa.array(["a room"] * len(table))
        pq.write_table(table.set_column(table.schema.get_field_index("title"), "title", titles), path)


def land(night: Night) -> None:
    """Land the last day's rooms, speech and impressions, from which the marts could have been built."""

    def rows(mart: str) -> list[dict]:
        return pq.ParquetFile(partition(night.home.marts, mart, night.corpus.day)).read().to_pylist()

    speech = [
        {
            "speech_id": number,
            "room_id": row["room_id"],
            "author_id": row["author_id"],
            "text": row["speech_text"],
            "started_at": row["started_at"] + timedelta(seconds=5),
            "ended_at": row["started_at"] + timedelta(seconds=10),
        }
        for number, row in enumerate(rows("segments"))
    ]
    landed = {"rooms": rows("rooms"), "speech": speech, "impressions": rows("interactions")}
    write_landing(night.home.landing, [night.corpus.day], landed)


def test_the_service_computes_what_the_pipeline_computed_and_one_changed_result_is_found(night: Night, tmp_path: Path) -> None:
    corpus, artifacts = night.corpus, night.artifacts
    rows = np.flatnonzero(~corpus.segment_is_train & (corpus.segment_ids > 0))
    codes, vectors = read_codes(artifacts), read_vectors(artifacts)
    codes[rows[3], 0] += 1
    vectors[rows[5]] *= -1
    np.save(artifacts.codes / CODES, codes, allow_pickle=False)
    np.save(artifacts.alignment / VECTORS, vectors, allow_pickle=False)
    report = replay_day(night.home, corpus.day, tmp_path)
    assert (report.release_id, report.rejected) == (night.challenger.release_id, 0)
    assert report.embeddings.compared == report.vectors.compared == len(rows) > 20
    assert (report.embeddings.missing, report.vectors.missing, report.scores.missing) == (0, 0, 0)
    assert report.embeddings.largest < 1e-5
    assert report.lexical.compared == len(rows)
    assert report.lexical.largest < 1e-6
    assert report.vectors.largest == pytest.approx(2, abs=1e-5)
    assert report.vectors.mean == pytest.approx(2 / len(rows), abs=1e-5)
    assert report.equal_codes == pytest.approx(1 - 1 / len(rows))
    # The planted counts of viewers are random and not landed, so the probabilities are compared but not equal.
    assert report.scores.compared == len(corpus.test) > 20


def test_a_day_without_a_retrain_is_an_error_that_a_person_can_act_on(night: Night, tmp_path: Path) -> None:
    with pytest.raises(LiveAlignError, match=r"bundle\.json"):
        replay_day(night.home, night.corpus.day - timedelta(days=1), tmp_path)
