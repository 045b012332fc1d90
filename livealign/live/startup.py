"""Build the first live state from a bundle's snapshot.

`livealign.release.snapshot` writes the snapshot.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from livealign.config import LiveConfig
from livealign.dataset.features import AUTHOR_COUNTS, USER_COUNTS
from livealign.dataset.room_outcomes import known_outcomes
from livealign.days import DAY_MS
from livealign.errors import BundleError
from livealign.live.state.coded_windows import CodedWindows, EncodeAuthors
from livealign.live.state.counts import RunningCounts
from livealign.live.state.rooms import ordered_counts
from livealign.live.state.sessions import Sessions
from livealign.live.state.state import LiveState
from livealign.live.state.users import History, Users

SESSION_CAP_MS, LONG_VIEW_MS = 6 * 3_600_000, 60_000  # dbt: session_cap_hours, long_view_seconds

Ints = NDArray[np.int64]
Counts = dict[int, tuple[float, ...]]


class Snapshot(NamedTuple):
    """The content of a snapshot."""

    taken_at: int  # epoch milliseconds
    coded_windows: CodedWindows
    of_segment: dict[int, int]  # segment id → row of `coded_windows`
    histories: dict[int, History]  # by user; rows of `coded_windows`
    user_counts: Counts
    author_counts: Counts
    rooms: list[dict]  # columns of rooms.parquet, `row` = row of `coded_windows`

    @property
    def day(self) -> int:
        """Days since 1970; the counts are of the days before."""
        return self.taken_at // DAY_MS


def read_snapshot(files: Mapping[str, Path], encode_authors: EncodeAuthors) -> Snapshot:
    """Read the snapshot of a bundle from its files by name ("rooms.parquet", …).

    Raises:
        BundleError: a file is missing, unreadable, or does not fit the other files.
    """
    try:
        return _read(files, encode_authors)
    except (KeyError, IndexError, TypeError, ValueError, OSError, pa.ArrowException) as error:
        raise BundleError(f"the bundle's snapshot cannot be read ({error!r}); build the release again") from error


def state_of(snapshot: Snapshot, config: LiveConfig, history_length: int, window_ms: int) -> LiveState:
    """A state that starts from the snapshot and takes over its table of coded windows."""
    users = Users(history_length, config.seen_rooms, config.max_users)
    state = LiveState(
        config,
        snapshot.coded_windows,
        users,
        Sessions(window_ms, SESSION_CAP_MS, LONG_VIEW_MS),
        RunningCounts(len(USER_COUNTS), snapshot.user_counts, snapshot.day),
        RunningCounts(len(AUTHOR_COUNTS), snapshot.author_counts, snapshot.day),
        window_ms,
        snapshot.taken_at,
    )
    for user_id, history in sorted(snapshot.histories.items(), key=lambda item: item[1].at[0]):
        users.replace_history(user_id, history.coded_row, history.at)
    ended_at = state.coded_windows["ended_at"]
    for columns in snapshot.rooms:
        room = state.start_room(*(columns[name] for name in _ROOM))
        state.hear(room, snapshot.taken_at)
        state.table["coded_row"][room.row] = columns["row"]
        state.table["content_at"][room.row] = ended_at[columns["row"]]
        state.table["counts"][room.row] = ordered_counts(columns)
        state.table["outcomes"][room.row] = known_outcomes(columns)
        if columns["ended_at"] is not None:
            state.table["ended_at"][room.row] = columns["ended_at"]
    state.publish()
    return state


_ROOM = ("room_id", "author_id", "started_at", "title", "category", "language")


def _read(files: Mapping[str, Path], encode_authors: EncodeAuthors) -> Snapshot:
    about = json.loads(files["state.json"].read_text())
    items, rooms, histories, users, authors = (
        pq.ParquetFile(files[f"{name}.parquet"]).read() for name in ("items", "rooms", "histories", "users", "authors")
    )
    dim, levels = int(about["dim"]), int(about["levels"])
    coded_windows = CodedWindows(dim, levels, encode_authors)
    segment_ids = items["segment_id"].to_numpy()
    rows = coded_windows.add(
        segment_ids,
        items["author_id"].to_numpy(),
        items["ended_at"].to_numpy(),
        _matrix(items["vector"], items.num_rows, dim).astype(np.float32, copy=False),
        _matrix(items["codes"], items.num_rows, levels),
    )
    if len(histories) and int(pc.min(pc.list_value_length(histories["items"])).as_py()) == 0:
        raise ValueError("a history without entries")
    lists = {name: pc.list_flatten(histories[name]).to_numpy() for name in ("items", "author_ids", "engaged_at")}
    if len({len(values) for values in lists.values()}) != 1:
        raise ValueError("the lists of histories.parquet are of different lengths")
    engaged = _rows_of(lists["items"], lists["author_ids"], rows, coded_windows)
    ends = np.cumsum(pc.list_value_length(histories["items"]).to_numpy())
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64) if len(ends) else ends
    by_user = {
        user: History(engaged[start:end], lists["engaged_at"][start:end])
        for user, start, end in zip(histories["user_id"].to_pylist(), starts.tolist(), ends.tolist(), strict=True)
    }
    now = _rows_of(rooms["item"].to_numpy(), rooms["author_id"].to_numpy(), rows, coded_windows)
    return Snapshot(
        int(about["moment"]),
        coded_windows,
        dict(zip(segment_ids.tolist(), rows.tolist(), strict=True)),
        by_user,
        _counts(users, "user_id", USER_COUNTS),
        _counts(authors, "author_id", AUTHOR_COUNTS),
        [{**room, "row": row} for room, row in zip(rooms.to_pylist(), now.tolist(), strict=True)],
    )


def _rows_of(items: Ints, author_ids: Ints, rows: Ints, coded_windows: CodedWindows) -> Ints:
    """Rows of the coded windows of these items; item -1 is the author alone."""
    alone = items < 0
    coded_rows = np.zeros(len(items), dtype=np.int64)
    coded_rows[~alone] = rows[items[~alone]]
    coded_rows[alone] = coded_windows.of_authors(author_ids[alone])
    return coded_rows


def _matrix(column: pa.ChunkedArray, rows: int, width: int) -> NDArray:
    flat = pc.list_flatten(column).to_numpy()
    if len(flat) != rows * width:
        raise ValueError(f"{len(flat)} numbers where {rows} × {width} should be")
    return flat.reshape(rows, width)


def _counts(table: pa.Table, key: str, measures: tuple[str, ...]) -> Counts:
    columns = (table[name].to_pylist() for name in measures)
    return dict(zip(table[key].to_pylist(), zip(*columns, strict=True), strict=True))
