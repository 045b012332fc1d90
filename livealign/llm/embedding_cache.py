"""Vectors of texts already embedded, by encoder version.

Later days embed only texts that are new. With a store (`livealign.store`) machines share the shards: those of others are
fetched before the cache is read, new ones are put there. A shard is named by the keys in it, so machines never write different
ones of one name.
"""

import hashlib
import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from livealign.files import TEMPORARY_PREFIX
from livealign.store import Store

logger = logging.getLogger(__name__)

SHARDS = "embedding_cache"  # folder of the store
FLUSH_ROWS = 1_024  # a stopped run loses at most this many embeddings


def text_key(text: str, picture: bytes | None = None) -> bytes:
    """128-bit key of a text, or of a text and the features of the picture that is read with it."""
    person = b"" if picture is None else b"picture"
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, person=person)
    digest.update(picture or b"")
    return digest.digest()


class EmbeddingCache:
    """A folder of vectors: `root/<encoder version>/<shard>.parquet`.

    A shard has columns key (binary 16) and vector (float32 list). It is written under a temporary name and renamed, so a
    reader never sees half a shard, even after a killed writer.
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
        self.schema = pa.schema([("key", pa.binary(16)), ("vector", pa.list_(pa.float32(), width))])
        self._keys: list[bytes] = []
        self._vectors: list[np.ndarray] = []

    def fill(self, keys: Sequence[bytes], vectors: np.ndarray, missing: np.ndarray) -> None:
        """Write cached vectors into their rows of `vectors` [n, width].

        Those rows of `missing` [n] become False.
        """
        if self.store is not None:
            for name in self.store.names(self._stored):
                if not (self.folder / name).exists():
                    self.store.fetch_file(f"{self._stored}/{name}", self.folder / name)
        rows = {key: row for row, key in enumerate(keys)}
        for file in sorted(self.folder.glob("[!.]*.parquet")):
            for shard_keys, values in self._read(file):
                known = [(rows[key], index) for index, key in enumerate(shard_keys) if key in rows]
                if known:
                    into, outof = np.array(known).T
                    vectors[into], missing[into] = values[outof], False

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
        self.folder.mkdir(parents=True, exist_ok=True)
        values = np.concatenate(self._vectors).astype(np.float32, copy=False)
        column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), type=self.schema.field("vector").type)
        table = pa.table([pa.array(self._keys, pa.binary(16)), column], schema=self.schema)
        name = hashlib.blake2b(b"".join(self._keys), digest_size=12).hexdigest()
        # The host too: machines may share this folder.
        temporary = self.folder / f"{TEMPORARY_PREFIX}{name}.{socket.gethostname()}.{os.getpid()}"
        pq.write_table(table, temporary, compression="none", use_dictionary=False)
        temporary.replace(self.folder / f"{name}.parquet")
        if self.store is not None:
            self.store.put_file(f"{self._stored}/{name}.parquet", self.folder / f"{name}.parquet")
        self._keys, self._vectors = [], []

    def _read(self, file: Path) -> list[tuple[list[bytes], np.ndarray]]:
        try:
            table = pq.read_table(file, schema=self.schema, memory_map=True)
        except (pa.ArrowInvalid, OSError) as error:
            logger.warning("embedding cache: %s is damaged and was removed, its texts are embedded again (%s)", file, error)
            file.unlink()
            return []
        width = self.schema.field("vector").type.list_size
        return [
            (batch["key"].to_pylist(), batch["vector"].flatten().to_numpy(zero_copy_only=False).reshape(-1, width))
            for batch in table.to_batches()
        ]
