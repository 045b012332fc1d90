"""Half precision: what is rounded, what keeps its digits, and that every path of a vector gives the same numbers."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livealign.config import EncoderConfig
from livealign.llm.backbone import load_backbone
from livealign.llm.compaction import compact
from livealign.llm.embedding_cache import CacheVersion, EmbeddingCache, text_key
from livealign.llm.encoder import Encoder
from livealign.llm.half_precision import LARGEST, HalfRows, narrowed, rounded

WIDTH = 16
KEYS = [text_key(str(row)) for row in range(300)]
NORMAL = np.random.default_rng(5).normal(0, 30, (len(KEYS), WIDTH)).astype(np.float32)
MASSIVE = NORMAL.copy()
MASSIVE[7, 3], MASSIVE[9, 0] = 1.5 * LARGEST, -3e9


def found_in(version: CacheVersion) -> np.ndarray:
    rows, missing = HalfRows(len(KEYS), WIDTH), np.ones(len(KEYS), bool)
    version.fill(KEYS, rows, missing)
    assert not missing.any()
    return rows.matrix


def earlier_shard(folder: Path, keys: list[bytes], vectors: np.ndarray) -> None:
    """A shard as versions up to format 4's first wrote it: Parquet of float32."""
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), WIDTH)
    table = pa.table({"key": pa.array(keys, pa.binary(16)), "vector": column})
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / f"{keys[0].hex()}.parquet", compression="none", use_dictionary=False)


def test_a_number_moves_by_half_a_digit_of_float16_and_only_once() -> None:
    once = rounded(NORMAL)
    assert once.dtype == np.float32
    assert np.abs(once - NORMAL).max() > 0
    np.testing.assert_allclose(once, NORMAL, rtol=2**-11)
    np.testing.assert_array_equal(rounded(once), once)
    assert narrowed(once).dtype == np.float16
    np.testing.assert_array_equal(narrowed(once), once)


@pytest.mark.filterwarnings("error")
def test_a_vector_beyond_float16_keeps_its_digits_and_the_others_are_rounded_all_the_same() -> None:
    kept = rounded(MASSIVE)
    np.testing.assert_array_equal(kept[[7, 9]], MASSIVE[[7, 9]])
    others = np.setdiff1d(np.arange(len(KEYS)), [7, 9])
    np.testing.assert_array_equal(kept[others], rounded(NORMAL)[others])
    assert narrowed(kept).dtype == np.float32
    np.testing.assert_array_equal(rounded(np.full((1, 2), np.nan, np.float32)), np.full((1, 2), np.nan))


def test_rows_become_float32_with_the_first_that_needs_it() -> None:
    rows = HalfRows(2, WIDTH)
    rows[np.array([0])] = rounded(NORMAL[:1])
    assert rows.matrix.dtype == np.float16
    rows[np.array([1])] = rounded(MASSIVE[7:8])
    np.testing.assert_array_equal(rows.matrix, rounded(MASSIVE[[0, 7]]))


@pytest.mark.parametrize(("vectors", "number"), [(NORMAL, np.float16), (MASSIVE, np.float32)], ids=["normal", "massive"])
def test_a_shard_gives_back_what_the_encoder_gave(tmp_path: Path, vectors: np.ndarray, number: type) -> None:
    version = EmbeddingCache(tmp_path).shard("v", WIDTH)
    version.append(KEYS, rounded(vectors))
    version.flush()
    np.testing.assert_array_equal(found_in(version), rounded(vectors))
    (file,) = version.files()
    numbers = len(KEYS) * WIDTH * np.dtype(number).itemsize
    assert numbers < file.stat().st_size < numbers + len(KEYS) * 20 + 2_000


def test_a_shard_is_mapped_and_not_copied(tmp_path: Path) -> None:
    version = EmbeddingCache(tmp_path).shard("v", WIDTH)
    version.append(KEYS, rounded(NORMAL))
    version.flush()
    before = pa.total_allocated_bytes()
    ((keys, values),) = version.read(version.files()[0])
    assert pa.total_allocated_bytes() == before
    assert not values.flags.owndata
    assert keys == KEYS


def test_a_cache_of_an_earlier_version_gives_the_vectors_of_today(tmp_path: Path) -> None:
    config = EncoderConfig(exit_layer=2, first_adapted_layer=1)
    encoder = Encoder.load(load_backbone("tiny", tmp_path, device="cpu"), None, config)
    texts = [f"window {row} of a broadcast" for row in range(40)]
    fresh, seen = encoder.encode(texts), []
    exact = fresh * np.float32(1 + 1e-5)  # as before rounding: near the rounded numbers
    np.testing.assert_array_equal(rounded(exact), fresh)
    assert not np.array_equal(exact, fresh)
    column = pa.FixedSizeListArray.from_arrays(pa.array(exact.ravel(), pa.float32()), encoder.hidden_size)
    folder = tmp_path / "cache" / encoder.version(tuned=False)
    folder.mkdir(parents=True)
    table = pa.table({"key": pa.array([text_key(text) for text in texts], pa.binary(16)), "vector": column})
    pq.write_table(table, folder / "0123456789abcdef01234567.parquet", compression="none", use_dictionary=False)
    cached = encoder.encode(texts, lambda *counts: seen.append(counts), EmbeddingCache(tmp_path / "cache"))
    assert seen == [(len(texts), len(texts))]
    np.testing.assert_array_equal(cached, fresh)


@pytest.mark.parametrize("vectors", [NORMAL, MASSIVE], ids=["normal", "massive"])
def test_compaction_rewrites_the_shards_of_earlier_versions(tmp_path: Path, vectors: np.ndarray) -> None:
    version = EmbeddingCache(tmp_path).shard("v", WIDTH)
    for start in range(0, 200, 20):
        earlier_shard(version.folder, KEYS[start : start + 20], vectors[start : start + 20])
    version.append(KEYS[200:], rounded(vectors[200:]))
    version.flush()
    np.testing.assert_array_equal(found_in(version), rounded(vectors))
    assert compact(version) == 11
    assert [file.suffix for file in version.files()] == [".arrow"]
    np.testing.assert_array_equal(found_in(version), rounded(vectors))


@pytest.mark.parametrize("suffix", [".arrow", ".parquet"])
def test_a_damaged_shard_of_either_kind_is_removed(tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture) -> None:
    version = EmbeddingCache(tmp_path).shard("v", WIDTH)
    version.folder.mkdir(parents=True)
    for number, content in enumerate([b"", b"ARROW1\0\0", b"PAR1 and no more", b"x" * 5_000]):
        (version.folder / f"{number}{suffix}").write_bytes(content)
    missing = np.ones(len(KEYS), bool)
    version.fill(KEYS, HalfRows(len(KEYS), WIDTH), missing)
    assert missing.all()
    assert version.files() == []
    assert caplog.text.count("is damaged and was removed") == 4
