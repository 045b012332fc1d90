"""Compaction of the embedding cache: nothing is lost, whoever is killed or reads meanwhile."""

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from livealign.errors import LiveAlignError
from livealign.llm.compaction import compact
from livealign.llm.embedding_cache import CacheVersion, EmbeddingCache
from livealign.llm.half_precision import rounded
from livealign.store import Store

WIDTH, SHARDS, ROWS = 8, 12, 5
VERSION = "0123456789abcdef01234567"
ROW_BYTES = 2 * WIDTH


def keys_of(shard: int) -> list[bytes]:
    return [hashlib.blake2b(f"{shard} {row}".encode(), digest_size=16).digest() for row in range(ROWS)]


def vectors_of(shard: int) -> NDArray[np.float32]:
    return rounded(np.random.default_rng(shard).normal(size=(ROWS, WIDTH)).astype(np.float32))


EVERY = [key for shard in range(SHARDS) for key in keys_of(shard)]
WANTED = np.concatenate([vectors_of(shard) for shard in range(SHARDS)])


def version_in(root: Path, store: Store | None = None) -> CacheVersion:
    return EmbeddingCache(root, store).shard(VERSION, WIDTH)


def written(root: Path, store: Store | None = None, shards: range = range(SHARDS)) -> CacheVersion:
    """A cache of one small shard a day."""
    version = version_in(root, store)
    for shard in shards:
        version.append(keys_of(shard), vectors_of(shard))
        version.flush()
    return version


def holds_all(version: CacheVersion) -> bool:
    found, missing = np.zeros((len(EVERY), WIDTH), np.float32), np.ones(len(EVERY), bool)
    version.fill(EVERY, found, missing)
    return not missing.any() and np.array_equal(found, WANTED)


def test_the_small_shards_of_many_days_become_one_with_the_same_vectors(tmp_path: Path) -> None:
    version = written(tmp_path)
    assert compact(version) == SHARDS
    assert len(version.files()) == 1
    assert holds_all(version_in(tmp_path))
    assert compact(version, least_shards=1) == 0, "one that is alone stays as it is"
    assert holds_all(version_in(tmp_path))


def test_large_shards_and_a_few_small_ones_are_left_alone(tmp_path: Path) -> None:
    version = written(tmp_path)
    before = version.files()
    assert compact(version, least_shards=SHARDS + 1) == 0
    assert compact(version, large_bytes=ROWS * ROW_BYTES) == 0
    assert version.files() == before


def test_a_group_ends_when_it_is_large(tmp_path: Path) -> None:
    version = written(tmp_path)
    compact(version, large_bytes=3 * ROWS * ROW_BYTES)
    assert len(version.files()) == SHARDS / 3
    assert holds_all(version)


def test_a_row_that_two_shards_hold_is_kept_once(tmp_path: Path) -> None:
    version = written(tmp_path)
    version.append([*keys_of(0), *keys_of(1)], np.concatenate([vectors_of(0), vectors_of(1)]))
    version.flush()
    compact(version)
    (file,) = version.files()
    assert sum(len(keys) for keys, _ in version.read(file)) == len(EVERY)
    assert holds_all(version)


def test_a_damaged_shard_costs_its_own_rows_alone(tmp_path: Path) -> None:
    version = written(tmp_path)
    damaged = next(file for file in version.files() if version.read(file)[0][0] == keys_of(3))
    damaged.write_bytes(damaged.read_bytes()[:50])
    compact(version)
    found, missing = np.zeros((len(EVERY), WIDTH), np.float32), np.ones(len(EVERY), bool)
    version.fill(EVERY, found, missing)
    assert np.flatnonzero(missing).tolist() == list(range(3 * ROWS, 4 * ROWS))
    assert len(version.files()) == 1


KILLED = """
import os, pathlib, signal, sys
from livealign.llm import compaction
from livealign.llm.embedding_cache import EmbeddingCache
from livealign.llm.half_precision import rounded
from livealign.store import Store

root, where, step = sys.argv[1], sys.argv[2], int(sys.argv[3])
steps = 0

def counted(call):
    def wrapper(*arguments, **named):
        global steps
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)
        steps += 1
        return call(*arguments, **named)
    return wrapper

version = EmbeddingCache(pathlib.Path(root), Store.open(where)).shard(sys.argv[4], int(sys.argv[5]))
pathlib.Path.replace, pathlib.Path.unlink = counted(pathlib.Path.replace), counted(pathlib.Path.unlink)
Store.delete = counted(Store.delete)
compaction.compact(version)
print(steps)
"""


@pytest.mark.parametrize("stored", [False, True], ids=["in a folder", "with a store"])
def test_a_killed_compaction_leaves_the_old_shards_or_the_new(stored: bool, tmp_path: Path) -> None:
    def run(root: Path, store: str, step: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", KILLED, str(root), store, str(step), VERSION, str(WIDTH)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def places(name: str) -> tuple[Path, str]:
        return tmp_path / name, str(tmp_path / f"{name}_store") if stored else "home"

    root, where = places("calm")
    written(root, Store.open(where))
    calm = run(root, where, -1)
    steps = int(calm.stdout)
    assert steps >= SHARDS + 1
    for step in (0, 1, 2, steps // 2, steps - 1):
        root, where = places(f"step_{step}")
        written(root, Store.open(where))
        assert run(root, where, step).returncode == -signal.SIGKILL
        assert holds_all(version_in(root, Store.open(where))), step
        if stored:
            assert holds_all(version_in(tmp_path / f"elsewhere_{step}", Store.open(where))), step
        compact(version_in(root, Store.open(where)), least_shards=2)
        assert holds_all(version_in(root, Store.open(where))), step
        assert len([*(root / VERSION).iterdir()]) == 1, "no temporary file of the killed process is left"


class StoreIsAway(Store):
    """A store that takes no new object."""

    def put_file(self, name: str, file: Path) -> None:
        raise LiveAlignError(f"{name} cannot be written")


def test_a_large_shard_that_never_reached_the_store_is_put_there_before_its_small_ones_go(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    assert store is not None
    written(tmp_path / "machine", store)
    away = StoreIsAway(store.where, store.filesystem, store.root, waits=())
    whole = SHARDS * ROWS * ROW_BYTES
    with pytest.raises(LiveAlignError, match="cannot be written"):
        compact(version_in(tmp_path / "machine", away), large_bytes=whole)
    assert compact(version_in(tmp_path / "machine", store), large_bytes=whole) == SHARDS
    assert len(store.names(f"embedding_cache/{VERSION}")) == 1
    assert holds_all(version_in(tmp_path / "elsewhere", store))


class CompactsMeanwhile(CacheVersion):
    """A reader's cache that another process compacts as soon as the reader has listed the shards."""

    other: CacheVersion | None = None

    def files(self) -> list[Path]:
        listed = super().files()
        if (other := self.other) is not None:
            self.other = None
            compact(other)
        return listed


def test_a_reader_at_work_misses_nothing(tmp_path: Path) -> None:
    reader = CompactsMeanwhile(written(tmp_path).folder, WIDTH)
    reader.other = version_in(tmp_path)
    assert holds_all(reader)
    assert len(reader.files()) == 1


class CompactsTheStoreMeanwhile(Store):
    """A store that another machine compacts as soon as this one has listed the shards."""

    def names(self, folder: str) -> list[str]:
        listed = super().names(folder)
        other = Path(self.root).parent / "other"
        if other.exists():
            compact(version_in(other.rename(other.with_name("used")), Store.open(self.where)))
        return listed


def test_another_machine_that_fetches_meanwhile_misses_nothing(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    assert store is not None
    written(tmp_path / "other", store)
    slow = CompactsTheStoreMeanwhile(store.where, store.filesystem, store.root, waits=())
    assert holds_all(version_in(tmp_path / "machine", slow))
    assert len(store.names(f"embedding_cache/{VERSION}")) == 1


def test_what_two_machines_wrote_is_one_shard_everywhere_in_the_end(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    assert store is not None
    one = written(tmp_path / "one", store, range(6))
    other = written(tmp_path / "other", store, range(6, SHARDS))
    for version in (one, other, one, other):
        compact(version, least_shards=2)
    assert len(store.names(f"embedding_cache/{VERSION}")) == len(one.files()) == len(other.files()) == 1
    assert holds_all(one)
    assert holds_all(other)


class ForgetfulStore(Store):
    """A store that names an object that it does not have."""

    def names(self, folder: str) -> list[str]:
        return [*super().names(folder), "0123456789ab.parquet"]


def test_a_store_that_names_what_it_does_not_have_is_read_without_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store.open(str(tmp_path / "store"))
    assert store is not None
    written(tmp_path / "one", store)
    forgetful = ForgetfulStore(store.where, store.filesystem, store.root, store.waits)
    assert holds_all(version_in(tmp_path / "other", forgetful))
    assert f"{store.where} names 0123456789ab.parquet and does not have it" in caplog.text
