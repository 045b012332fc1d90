"""What the service knows of the platform right now: the rooms, what each is about, and what users engaged with.

One writer changes the state (`start_room`, `refresh`, …) and then publishes a `LiveView`, an immutable picture as arrays, by
one assignment. Readers take `state.view` once and work on that: a recommendation never waits for a refresh, and never
sees half of one.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from livealign.errors import BundleError
from livealign.snapshot import AUTHOR_COUNTS, USER_COUNTS, WINDOW_COUNTS

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

NEVER_ENDS = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Moment:
    """What a room was about in one window. Shared by the room and the histories of all who engaged with it then."""

    segment_id: int  # 0 where no window had ended: the author alone
    author_id: int
    ended_at: int  # epoch milliseconds; 0 with segment_id 0
    vector: Floats  # [dim] aligned room vector
    codes: Ints  # [levels] semantic codes


class Engagement(NamedTuple):
    """One entry of a user's history."""

    moment: Moment
    at: int  # epoch milliseconds from which it was known


@dataclass(frozen=True)
class Room:
    """One broadcast. `counts` are those of the window that `moment` describes (names as `snapshot.WINDOW_COUNTS`)."""

    room_id: int
    author_id: int
    title: str | None
    category: str | None
    language: str | None
    started_at: int  # epoch milliseconds
    ended_at: int | None  # None while nobody knows
    moment: Moment
    counts: Mapping[str, float]


class LiveView(NamedTuple):
    """All rooms at one instant, n of them in the order of `rooms`; never changed once made."""

    rooms: tuple[Room, ...]
    room_id: Ints  # [n]
    author_id: Ints  # [n]
    started_at: Ints  # [n]
    ended_at: Ints  # [n], NEVER_ENDS while live without a known end
    content_at: Ints  # [n] end of the window that the codes describe, 0 = none yet
    vectors: Floats  # [n, dim]
    codes: Ints  # [n, levels]
    columns: dict[str, NDArray[np.float64]]  # feature columns that do not depend on the request, [n] each

    def live_at(self, at: int) -> Ints:
        """Rows of the rooms that are live at `at` (epoch milliseconds)."""
        return np.flatnonzero((self.started_at <= at) & (at < self.ended_at))

    def take(self, rows: Ints) -> "LiveView":
        """The view of these rows only, in that order."""
        return LiveView(
            rooms=tuple(self.rooms[row] for row in rows),
            room_id=self.room_id[rows],
            author_id=self.author_id[rows],
            started_at=self.started_at[rows],
            ended_at=self.ended_at[rows],
            content_at=self.content_at[rows],
            vectors=self.vectors[rows],
            codes=self.codes[rows],
            columns={name: column[rows] for name, column in self.columns.items()},
        )


AuthorMoments = Callable[[Ints], tuple[Floats, Ints]]
"""author ids [n] → room vectors [n, dim] and codes [n, levels] of their rooms before any window has ended."""


@dataclass
class LiveState:
    """The state of one service process. Read it through `view`, `history`, `user_counts`; change it from one thread."""

    dim: int
    levels: int
    author_moments: AuthorMoments
    clock: int  # epoch milliseconds: the latest moment that the state knows of
    rooms: dict[int, Room] = field(default_factory=dict)
    histories: dict[int, tuple[Engagement, ...]] = field(default_factory=dict)  # newest first
    user_counts: dict[int, tuple[float, ...]] = field(default_factory=dict)  # USER_COUNTS of the days before
    author_counts: dict[int, tuple[float, ...]] = field(default_factory=dict)  # AUTHOR_COUNTS of the days before
    history_length: int = 20
    view: LiveView = field(init=False)

    def __post_init__(self) -> None:
        self.publish()

    @classmethod
    def from_snapshot(cls, files: Mapping[str, Path], author_moments: AuthorMoments, history_length: int) -> "LiveState":
        """The state that a bundle's snapshot holds (`livealign.snapshot`).

        Args:
            files: the snapshot's files by name ("rooms.parquet", …).

        Raises:
            BundleError: a file is missing, unreadable, or does not fit the others.
        """
        try:
            return _read_snapshot(files, author_moments, history_length)
        except (KeyError, IndexError, TypeError, ValueError, OSError, pa.ArrowException) as error:
            raise BundleError(f"the bundle's snapshot cannot be read ({error!r}); build the release again") from error

    def history(self, user_id: int) -> tuple[Engagement, ...]:
        """The user's last engagements, newest first; empty for an unknown user."""
        return self.histories.get(user_id, ())

    def start_room(
        self, room_id: int, author_id: int, started_at: int, title: str | None, category: str | None, language: str | None
    ) -> None:
        """A broadcast begins: until its first window has ended it is its author alone. Visible after `publish`."""
        moment = next(iter(self.moments_of_authors([author_id])))
        self.rooms[room_id] = Room(room_id, author_id, title, category, language, started_at, None, moment, {})
        self.clock = max(self.clock, started_at)

    def end_room(self, room_id: int, ended_at: int) -> None:
        """A broadcast ends: from `ended_at` on it is no candidate. Visible after `publish`."""
        self.rooms[room_id] = replace(self.rooms[room_id], ended_at=ended_at)
        self.clock = max(self.clock, ended_at)

    def refresh(self, room_id: int, moment: Moment, counts: Mapping[str, float]) -> None:
        """A window of the room has been encoded. An older one than the room already has changes nothing."""
        room = self.rooms[room_id]
        if moment.ended_at >= room.moment.ended_at:
            self.rooms[room_id] = replace(room, moment=moment, counts=counts)
        self.clock = max(self.clock, moment.ended_at)

    def engage(self, user_id: int, room_id: int, at: int) -> None:
        """The user entered the room: its present moment is the newest of their history. Visible at once."""
        entry = Engagement(self.rooms[room_id].moment, at)
        self.histories[user_id] = (entry, *self.history(user_id))[: self.history_length]
        self.clock = max(self.clock, at)

    def publish(self) -> LiveView:
        """Make the picture of the rooms as they are and swap it in."""
        rooms = tuple(self.rooms.values())
        columns = {name: np.array([room.counts.get(name, np.nan) for room in rooms]) for name in WINDOW_COUNTS}
        for place, name in enumerate(AUTHOR_COUNTS):
            counts = [self.author_counts.get(room.author_id) for room in rooms]
            columns[f"author_{name}"] = np.array([0.0 if one is None else one[place] for one in counts])
        self.view = LiveView(
            rooms=rooms,
            room_id=_int_array(room.room_id for room in rooms),
            author_id=_int_array(room.author_id for room in rooms),
            started_at=_int_array(room.started_at for room in rooms),
            ended_at=_int_array(NEVER_ENDS if room.ended_at is None else room.ended_at for room in rooms),
            content_at=_int_array(room.moment.ended_at for room in rooms),
            vectors=np.array([room.moment.vector for room in rooms], dtype=np.float32).reshape(len(rooms), self.dim),
            codes=np.array([room.moment.codes for room in rooms], dtype=np.int64).reshape(len(rooms), self.levels),
            columns=columns,
        )
        return self.view

    def moments_of_authors(self, author_ids: Iterable[int]) -> list[Moment]:
        """One moment each, of the author without any content."""
        ids = _int_array(author_ids)
        vectors, codes = self.author_moments(ids)
        return [Moment(0, int(one), 0, vector, code) for one, vector, code in zip(ids, vectors, codes, strict=True)]


def _read_snapshot(files: Mapping[str, Path], author_moments: AuthorMoments, history_length: int) -> LiveState:
    about = json.loads(files["state.json"].read_text())
    items, rooms, histories, users, authors = (
        pq.ParquetFile(files[f"{name}.parquet"]).read() for name in ("items", "rooms", "histories", "users", "authors")
    )
    moments = _moments(items, int(about["dim"]), int(about["levels"]))
    state = LiveState(
        dim=int(about["dim"]),
        levels=int(about["levels"]),
        author_moments=author_moments,
        clock=int(about["moment"]),
        user_counts=_counts(users, "user_id", USER_COUNTS),
        author_counts=_counts(authors, "author_id", AUTHOR_COUNTS),
        history_length=history_length,
    )
    history_authors = pc.list_flatten(histories["author_ids"]).to_pylist()
    distinct = sorted({*history_authors, *rooms["author_id"].to_pylist()})
    of_author = dict(zip(distinct, state.moments_of_authors(distinct), strict=True))
    for row in rooms.to_pylist():
        has_content = row["item"] >= 0
        state.rooms[row["room_id"]] = Room(
            **{name: row[name] for name in ("room_id", "author_id", "title", "category", "language", "started_at", "ended_at")},
            moment=moments[row["item"]] if has_content else of_author[row["author_id"]],
            counts={name: row[name] for name in WINDOW_COUNTS if row[name] is not None},
        )
    for row in histories.to_pylist():
        entries = zip(row["items"], row["author_ids"], row["engaged_at"], strict=True)
        state.histories[row["user_id"]] = tuple(
            Engagement(moments[item] if item >= 0 else of_author[author], at) for item, author, at in entries
        )[:history_length]
    state.publish()
    return state


def _moments(items: pa.Table, dim: int, levels: int) -> list[Moment]:
    """The rows of items.parquet; their vectors and codes are rows of two shared arrays."""
    vectors = _matrix(items["vector"], items.num_rows, dim).astype(np.float32, copy=False)
    codes = _matrix(items["codes"], items.num_rows, levels).astype(np.int64)
    columns = (items[name].to_pylist() for name in ("segment_id", "author_id", "ended_at"))
    rows = zip(*columns, vectors, codes, strict=True)
    return [Moment(segment, author, ended_at, vector, code) for segment, author, ended_at, vector, code in rows]


def _matrix(column: pa.ChunkedArray, rows: int, width: int) -> NDArray:
    flat = pc.list_flatten(column).to_numpy()
    if len(flat) != rows * width:
        raise ValueError(f"{len(flat)} numbers where {rows} × {width} should be")
    return flat.reshape(rows, width)


def _counts(table: pa.Table, key: str, measures: tuple[str, ...]) -> dict[int, tuple[float, ...]]:
    columns = (table[name].to_pylist() for name in measures)
    return dict(zip(table[key].to_pylist(), zip(*columns, strict=True), strict=True))


def _int_array(values: Iterable[int]) -> Ints:
    return np.fromiter(values, dtype=np.int64)
