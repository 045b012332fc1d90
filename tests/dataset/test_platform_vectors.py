"""The platform's own vectors find the segments of a corpus, and only one source of them is read."""

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livealign.config import DatasetConfig
from livealign.dataset.corpus import PLATFORM_CONTENT, load_corpus
from livealign.dataset.platform_vectors import read_platform_vectors
from livealign.days import partition
from livealign.errors import TrainingError
from tests.planted.marts import plant_marts

DAYS = [date(2025, 6, 1), date(2025, 6, 2), date(2025, 6, 3)]


def write(marts: Path, day: date, rows: list[tuple[int, str, list[float]]]) -> None:
    path = partition(marts, "segment_vectors", day)
    path.parent.mkdir(parents=True, exist_ok=True)
    ids, sources, vectors = zip(*rows, strict=True) if rows else ((), (), ())
    columns = {
        "segment_id": pa.array(ids, pa.int64()),
        "vector_source": pa.array(sources, pa.string()),
        "content_vector": pa.array(vectors, pa.list_(pa.float32())),
    }
    pq.write_table(pa.table(columns), path)


def test_vectors_of_the_source_that_describes_most_wanted_segments_are_read(tmp_path: Path) -> None:
    write(tmp_path, DAYS[0], [(1, "segment", [1.0, 2.0]), (1, "title", [9.0]), (2, "title", [9.0]), (9, "title", [9.0])])
    write(tmp_path, DAYS[1], [(3, "segment", [3.0, 4.0]), (4, "segment", [5.0, 6.0])])
    write(tmp_path, DAYS[2], [])
    got = read_platform_vectors(tmp_path, DAYS, np.array([1, 2, 3, 4, 5]))
    assert got is not None
    assert dict(zip(got.segment_ids.tolist(), got.vectors.tolist(), strict=True)) == {1: [1, 2], 3: [3, 4], 4: [5, 6]}
    titles = read_platform_vectors(tmp_path, DAYS, np.array([1, 2]))
    assert titles is not None
    assert (titles.segment_ids.tolist(), titles.vectors.tolist()) == ([1, 2], [[9], [9]])


def test_a_platform_without_vectors_has_none(tmp_path: Path) -> None:
    assert read_platform_vectors(tmp_path, DAYS, np.array([1, 2])) is None
    write(tmp_path, DAYS[0], [(9, "title", [9.0])])
    assert read_platform_vectors(tmp_path, DAYS, np.array([1, 2])) is None


def test_vectors_of_one_source_that_differ_in_length_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, DAYS[0], [(1, "segment", [1.0, 2.0])])
    write(tmp_path, DAYS[1], [(3, "segment", [3.0])])
    with pytest.raises(TrainingError, match="source 'segment' differ in length"):
        read_platform_vectors(tmp_path, DAYS, np.array([1, 3]))
    write(tmp_path, DAYS[0], [(1, "segment", [1.0, 2.0]), (3, "segment", [1.0])])
    with pytest.raises(TrainingError, match=r"lengths \[1, 2\]"):
        read_platform_vectors(tmp_path, DAYS[:1], np.array([1, 3]))
    partition(tmp_path, "segment_vectors", DAYS[0]).write_bytes(b"PAR1")
    with pytest.raises(TrainingError, match="dt=2025-06-01"):
        read_platform_vectors(tmp_path, DAYS[:1], np.array([1, 3]))


def test_a_corpus_has_them_as_content_and_rows_of_zeros_where_there_are_none(tmp_path: Path) -> None:
    planted = plant_marts(tmp_path, users=40, authors=8, days=2, requests_per_day=40)
    half = planted.segment_ids[::2]
    for day in planted.days:
        write(tmp_path, day, [(one, "segment", [float(one % 97 + 1), 1.0, 2.0]) for one in half.tolist()])
    corpus = load_corpus(tmp_path, planted.days[-1], DatasetConfig(train_days=7, history_length=6, half_life_seconds=0))
    content = corpus.content[PLATFORM_CONTENT]
    assert content.shape == (len(corpus.segment_ids), 3)
    described = np.isin(corpus.segment_ids, half)
    assert described.any()
    assert not content[~described].any()
    assert (content[described, 0] == corpus.segment_ids[described] % 97 + 1).all()
