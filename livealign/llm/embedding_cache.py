"""Vectors of texts already embedded, by encoder version.

Later days embed only texts that are new. With a store (`livealign.store`) machines share the shards: those of others are
fetched before the cache is read, new ones are put there. A shard is named by the keys in it, so machines never write different
ones of one name. `livealign.llm.compaction` merges small ones.

Vectors are kept in half precision (`livealign.llm.half_precision`). Shards are Arrow files, which are mapped: a reader's memory
is that of the rows it takes. Earlier versions wrote Parquet files of float32; they are read, and rounded as an encoder would.
"""

import hashlib
import logging
import os
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from livealign.files import TEMPORARY_PREFIX, removed_on_error
from livealign.llm.half_precision import HalfRows, narrowed, rounded
from livealign.store import Store

logger = logging.getLogger(__name__)

SHARDS = "embedding_cache"  # folder of the store
SHARD, EARLIER_SHARD = ".arrow", ".parquet"
FLUSH_ROWS = 1_024  # a stopped run loses at most this many embeddings


def text_key(text: str, picture: bytes | None = None) -> bytes:
    """128-bit key of a text, or of a text and the features of the picture that is read with it."""
    person = b"" if picture is None else b"picture"
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, person=person)
    digest.update(picture or b"")
    return digest.digest()


class EmbeddingCache:
    """A folder of vectors: `root/<encoder version>/<shard>.arrow`.

    A shard has columns key (binary 16) and vector (list of float16, or of float32 where a number is beyond float16). It is
    written under a temporary name and renamed, so a reader never sees half a shard, even after a killed writer.
    """

    def __init__(self, root: Path, store: Store | None = None) -> None:
        self.root, self.store = root, store

    def shard(self, version: str, width: int) -> "CacheVersion":
        """Reader and writer of one encoder version's vectors of `width` numbers."""
        return CacheVersion(self.root / version, width, self.store)

    def prune(self, keep: Sequence[str]) -> list[str]:
        """Delete the versions not in `keep`; returns the deleted ones."""
        deleted = [folder for folder in sorted(self.root.iterdir()) if folder.is_dir() and folder.name not in keep]
        for folder in deleted:
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
        return [folder.name for folder in deleted]


class CacheVersion:
    """The vectors of one encoder version."""

    def __init__(self, folder: Path, width: int, store: Store | None = None) -> None:
        self.folder, self.store, self._stored = folder, store, f"{SHARDS}/{folder.name}"
        self.width = width
        self._keys: list[bytes] = []
        self._vectors: list[np.ndarray] = []

    def fill(self, keys: Sequence[bytes], vectors: np.ndarray | HalfRows, missing: np.ndarray) -> None:
        """Write cached vectors into their rows of `vectors` [n, width].

        Those rows of `missing` [n] become False.
        """
        self.fetch()
        rows = {key: row for row, key in enumerate(keys)}
        done: set[Path] = set()
        # A compaction may replace shards by a larger one meanwhile; it appears before they go.
        while left := [file for file in self.files() if file not in done]:
            done.update(left)
            for file in left:
                for shard_keys, values in self.read(file):
                    known = [(rows[key], index) for index, key in enumerate(shard_keys) if key in rows]
                    if known:
                        into, outof = np.array(known).T
                        vectors[into], missing[into] = values[outof], False

    def fetch(self) -> None:
        """Fetch the store's shards that this machine lacks."""
        lost: set[str] = set()
        while self.store is not None:  # again, where a compaction on another machine replaced one meanwhile
            absent = [name for name in self.store.names(self._stored) if not (self.folder / name).exists()]
            gone = {name for name in absent if not self.store.fetch_file(f"{self._stored}/{name}", self.folder / name)}
            if still := gone & lost:  # what was replaced is named no more
                logger.warning("embedding cache: %s names %s and does not have it", self.store.where, min(still))
            if not gone - lost:
                return
            lost |= gone

    def files(self) -> list[Path]:
        """The shards that are on this machine, sorted."""
        return sorted(file for file in self.folder.glob("[!.]*") if file.suffix in (SHARD, EARLIER_SHARD))

    def append(self, keys: Sequence[bytes], vectors: np.ndarray) -> None:
        """Add new vectors; they reach the disk in shards of about FLUSH_ROWS rows and at `flush`."""
        self._keys.extend(keys)
        self._vectors.append(vectors)
        if len(self._keys) >= FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the vectors appended since the last flush as one shard."""
        if not self._keys:
            return
        values = _half(np.concatenate(self._vectors))
        self.write(self._keys, [(self._keys, values)], values.dtype)
        self._keys, self._vectors = [], []

    def write(self, keys: Sequence[bytes], parts: Iterable[tuple[Sequence[bytes], np.ndarray]], number: np.dtype) -> Path:
        """Write one shard of these keys, here and in the store, and return its file.

        Args:
            parts: (keys, vectors [keys, width]) of its batches, one after another.
            number: the type of its numbers, float16 or float32.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.blake2b(b"".join(keys), digest_size=12).hexdigest()
        # The host too: machines may share this folder.
        temporary = self.folder / f"{TEMPORARY_PREFIX}{name}.{socket.gethostname()}.{os.getpid()}"
        file = self.folder / f"{name}{SHARD}"
        vector = pa.list_(pa.from_numpy_dtype(number), self.width)
        schema = pa.schema([("key", pa.binary(16)), ("vector", vector)])
        with removed_on_error(temporary, file):
            with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
                for part_keys, values in parts:
                    numbers = pa.array(values.astype(number, copy=False).ravel())
                    column = pa.FixedSizeListArray.from_arrays(numbers, type=vector)
                    writer.write_batch(pa.record_batch([pa.array(part_keys, pa.binary(16)), column], schema=schema))
            temporary.replace(file)
        self.put(file)
        return file

    def put(self, file: Path) -> None:
        """Put a shard of the folder into the store, if there is one and it lacks the shard."""
        if self.store is not None:
            self.store.put_file(f"{self._stored}/{file.name}", file)

    def delete(self, file: Path) -> None:
        """Delete a shard whose rows another one holds, here and in the store."""
        if self.store is not None:
            self.store.delete(f"{self._stored}/{file.name}")
        file.unlink(missing_ok=True)

    def read(self, file: Path) -> list[tuple[list[bytes], np.ndarray]]:
        """(keys, mapped vectors [keys, width]) of the batches of a shard.

        They are none if it is gone. A damaged one is removed.
        """
        try:
            batches = _batches(file)
            vectors = [batch["vector"].flatten().to_numpy(zero_copy_only=False).reshape(-1, self.width) for batch in batches]
            return [(batch["key"].to_pylist(), _half(values)) for batch, values in zip(batches, vectors, strict=True)]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, OSError) as error:
            logger.warning("embedding cache: %s is damaged and was removed, its texts are embedded again (%s)", file, error)
            file.unlink(missing_ok=True)
            return []


def rows_of(file: Path) -> int:
    """Rows of a shard; 0 if it is gone or damaged, which reading it finds out."""
    try:
        if file.suffix == EARLIER_SHARD:
            return int(pq.read_metadata(file).num_rows)
        return sum(batch.num_rows for batch in _batches(file))
    except (ValueError, OSError):
        return 0


def _batches(file: Path) -> list[pa.RecordBatch]:
    """The batches of a shard: mapped, but for one of an earlier version.

    Raises:
        ValueError, OSError: it is damaged or gone.
    """
    if file.suffix == EARLIER_SHARD:
        return pq.read_table(file, memory_map=True).to_batches()
    with pa.memory_map(str(file)) as source, pa.ipc.open_file(source) as reader:
        return [reader.get_batch(number) for number in range(reader.num_record_batches)]


def _half(vectors: np.ndarray) -> np.ndarray:
    """Vectors in half precision, as an encoder gives them: shards of earlier versions are not rounded yet."""
    return vectors if vectors.dtype == np.float16 else narrowed(rounded(vectors))
