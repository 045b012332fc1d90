"""A release of the size a benchmark needs: a real one with another snapshot."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from livealign.codes.codebook import Codebook
from livealign.dataset.features import AUTHOR_COUNTS, USER_COUNTS, WINDOW_COUNTS
from livealign.dataset.room_outcomes import OUTCOME_COUNTS
from livealign.days import DAY_MS
from livealign.release.bundle import CODEBOOK, SNAPSHOT, open_bundle
from livealign.release.contents import read_vocabulary, with_snapshot
from livealign.release.snapshot import WINDOW_MILLISECONDS

FIRST_ROOM, FIRST_USER, FIRST_AUTHOR = 5_000_000_000, 6_000_000_000, 7_000_000_000
HISTORY = 20


def room_authors(bundle: Path) -> list[int]:
    """The author of each room of such a release, in the order of its rooms."""
    rooms = pq.ParquetFile(open_bundle(bundle).file(f"{SNAPSHOT}/rooms.parquet")).read(["author_id"])
    authors: list[int] = rooms["author_id"].to_pylist()
    return authors


def large_release(bundle: Path, out: Path, rooms: int, users: int, now: int, seed: int = 17) -> Path:
    """Write the bundle again, with `rooms` live rooms and `users` histories in its snapshot.

    The rooms are live at `now` (epoch milliseconds). Models, vocabularies and codes stay. Authors and users are those that the
    models know, as far as there are enough, then unknown ones. Vectors are those of the bundle's own items with noise, so that
    codes are used as in the bundle.

    Returns:
        The new bundle's path.
    """
    source, rng = open_bundle(bundle), np.random.default_rng(seed)
    known, codebook = read_vocabulary(source), Codebook.load(source.file(CODEBOOK))
    items = pq.ParquetFile(source.file(f"{SNAPSHOT}/items.parquet")).read()
    dim, levels = codebook.dim, codebook.levels
    base = np.stack(items["vector"].to_numpy(zero_copy_only=False)).astype(np.float32)
    n_items = rooms + 20_000
    vectors = base[rng.integers(0, len(base), n_items)] + 0.3 * rng.normal(size=(n_items, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    codes = codebook.encode(vectors)
    at = now - now % WINDOW_MILLISECONDS
    authors = _ids(known.authors.ids, rooms, FIRST_AUTHOR)
    of_item = np.concatenate([authors, rng.choice(authors, n_items - rooms)])
    with tempfile.TemporaryDirectory(prefix="livealign-bench-") as scratch:
        folder = Path(scratch)
        _write(
            folder / "items.parquet",
            segment_id=1 + np.arange(n_items),
            author_id=of_item,
            ended_at=np.full(n_items, at),
            vector=_lists(vectors.reshape(-1), dim),
            codes=_lists(codes.astype(np.int32).reshape(-1), levels),
        )
        _write(
            folder / "rooms.parquet",
            room_id=FIRST_ROOM + np.arange(rooms),
            author_id=authors,
            title=[f"broadcast {number}" for number in range(rooms)],
            category=["games"] * rooms,
            language=["en"] * rooms,
            started_at=at - rng.integers(1, 120, rooms) * 60_000,
            ended_at=pa.nulls(rooms, pa.int64()),
            item=np.arange(rooms),
            **{name: rng.integers(0, 200, rooms).astype(np.float64) for name in (*WINDOW_COUNTS, *OUTCOME_COUNTS)},
        )
        user_ids = _ids(known.users.ids, users, FIRST_USER)
        engaged = np.sort(at - rng.integers(1, 7 * DAY_MS, (users, HISTORY)), axis=1)[:, ::-1]
        chosen = rng.integers(0, n_items, (users, HISTORY))
        _write(
            folder / "histories.parquet",
            user_id=user_ids,
            items=_lists(chosen.reshape(-1), HISTORY, variable=True),
            author_ids=_lists(of_item[chosen].reshape(-1), HISTORY, variable=True),
            engaged_at=_lists(np.ascontiguousarray(engaged).reshape(-1), HISTORY, variable=True),
        )
        for name, ids, counts in (("user", user_ids, USER_COUNTS), ("author", np.unique(authors), AUTHOR_COUNTS)):
            columns = {count: rng.integers(0, 50, len(ids)).astype(np.float64) for count in counts}
            _write(folder / f"{name}s.parquet", **{f"{name}_id": ids, **columns})
        (folder / "state.json").write_text(json.dumps({"moment": at, "dim": dim, "levels": levels}))
        return with_snapshot(source, folder, out)


def _ids(known: NDArray[np.int64], count: int, first: int) -> NDArray[np.int64]:
    """`count` ids: the known ones, then unknown ones."""
    real = known[known > 0][:count]
    return np.concatenate([real, first + np.arange(count - len(real))]).astype(np.int64)


def _lists(flat: NDArray, width: int, variable: bool = False) -> pa.Array:
    values = pa.array(np.ascontiguousarray(flat))
    if not variable:
        return pa.FixedSizeListArray.from_arrays(values, width)
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(flat) + 1, width, dtype=np.int32)), values)


def _write(path: Path, **columns: object) -> None:
    pq.write_table(pa.table(columns), path, compression="zstd")
