"""Write the snapshot that a service starts from.

A snapshot holds the rooms that were live at one time, their content, and the last engagements of each user. It is read from
the marts and put into the release bundle as `snapshot/`; nothing in it is later than that time. The service applies its
events to the snapshot.

    snapshot/state.json          {"moment": epoch milliseconds, "dim": …, "levels": …}
    snapshot/items.parquet       segment_id, author_id, ended_at, vector [dim], codes [levels]; each segment once
    snapshot/rooms.parquet       room_id, author_id, title, category, language, started_at, ended_at, item, counts of the
                                 window, room_impressions and room_clicks of today
    snapshot/histories.parquet   user_id, items [≤ L], author_ids [≤ L], engaged_at [≤ L], newest first
    snapshot/users.parquet, snapshot/authors.parquet   running counts of the days before that time's day

`moment` is the time of the snapshot. `item` is a row of items.parquet, -1 where no window of the room has a vector.
"""

import json
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from livealign.dataset.columns import place
from livealign.dataset.features import AUTHOR_COUNTS, USER_COUNTS, WINDOW_COUNTS
from livealign.dataset.marts import built_days
from livealign.dataset.room_outcomes import OUTCOME_COUNTS
from livealign.days import day_of, midnight, partition
from livealign.errors import TrainingError
from livealign.files import duckdb_path

WINDOW_MILLISECONDS = 30_000

Ints = NDArray[np.int64]


def busiest_time(marts: Path, day: date) -> int:
    """The last busy time of a day: at least half as many rooms are live as at its peak.

    Epoch milliseconds of the end of a window; the end of the day if it has no rooms. Midnight would be a poor time for a
    snapshot: few platforms have rooms live then.
    """
    start = midnight(day)
    grid = start + WINDOW_MILLISECONDS * np.arange(1, 2_881)
    rooms = _query(
        "select epoch_ms(started_at) as started_at, epoch_ms(ended_at) as ended_at from read_parquet($rooms)",
        {"rooms": _partitions(marts, "rooms", [day - timedelta(days=1), day])},
    )
    started = np.sort(rooms["started_at"].to_numpy())
    ended = np.sort(rooms["ended_at"].drop_null().to_numpy())
    live = np.searchsorted(started, grid, side="right") - np.searchsorted(ended, grid, side="right")
    busy = np.flatnonzero(live * 2 >= max(1, live.max(initial=0)))
    return int(grid[busy[-1]]) if len(busy) else int(grid[-1])


def snapshot_segments(marts: Path, at: int, history_length: int) -> Ints:
    """Sorted ids of the segments whose vectors `write_snapshot` uses, to be embedded too."""
    histories = _histories(marts, at, history_length)["segment_id"].drop_null().to_numpy()
    windows = _windows(marts, at)
    _, newest = np.unique(windows["room_id"].to_numpy(), return_index=True)
    return np.unique(np.concatenate([histories, windows["segment_id"].to_numpy()[newest]]).astype(np.int64))


def write_snapshot(
    folder: Path,
    marts: Path,
    at: int,
    segment_ids: Ints,
    vectors: NDArray[np.float32],
    codes: NDArray[np.integer],
    history_length: int,
) -> Path:
    """Write the snapshot at a time into `folder` (created if missing) and return the folder.

    Args:
        marts: the marts' folder; days after the time are not read.
        at: the time of the snapshot, epoch milliseconds UTC.
        segment_ids: [m] the segments that have a vector, sorted.
        vectors: [m, dim] aligned room vectors; codes: [m, levels].
        history_length: engagements kept of each user.

    Raises:
        TrainingError: the marts of that time's day are missing.
    """
    histories = _histories(marts, at, history_length)
    windows = _windows(marts, at)
    windows = windows.filter(pa.array(place(segment_ids, windows["segment_id"].to_numpy()) >= 0)) if len(windows) else windows
    rooms = _rooms(marts, at)
    chosen = _first_of_each(windows["room_id"].to_numpy(), rooms["room_id"].to_numpy())  # row of windows, -1 = none
    room_windows = windows.take(pa.array(chosen, mask=chosen < 0))

    used = np.concatenate([_ids(room_windows["segment_id"]), _ids(histories["segment_id"])])
    item_rows = np.unique(place(segment_ids, used))
    item_rows = item_rows[item_rows >= 0]  # rows of segment_ids that become items
    items = _items(marts, at, segment_ids[item_rows], vectors[item_rows], codes[item_rows])

    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(items, folder / "items.parquet", compression="zstd")
    rooms = rooms.append_column("item", pa.array(place(segment_ids[item_rows], _ids(room_windows["segment_id"])), pa.int64()))
    for name in WINDOW_COUNTS:
        rooms = rooms.append_column(name, room_windows[name].cast(pa.float64()))
    outcomes = _outcomes(marts, at)
    chosen = _first_of_each(outcomes["room_id"].to_numpy(), rooms["room_id"].to_numpy())
    for name in OUTCOME_COUNTS:
        counts = outcomes[name].take(pa.array(chosen, mask=chosen < 0))
        rooms = rooms.append_column(name, pc.fill_null(counts.cast(pa.float64()), 0.0))
    pq.write_table(rooms, folder / "rooms.parquet", compression="zstd")
    pq.write_table(_history_lists(histories, segment_ids[item_rows]), folder / "histories.parquet", compression="zstd")
    for person, measures in (("users", USER_COUNTS), ("authors", AUTHOR_COUNTS)):
        pq.write_table(_counts(marts, at, person, measures), folder / f"{person}.parquet", compression="zstd")
    state = {"moment": int(at), "dim": int(vectors.shape[1]), "levels": int(codes.shape[1])}
    (folder / "state.json").write_text(json.dumps(state) + "\n")
    return folder


# The marts at the time of the snapshot


def _rooms(marts: Path, at: int) -> pa.Table:
    """Rooms live at the time, with the title and category of their newest window."""
    days = _last_two_days(at)
    return _query(
        """
        with newest as (
            select room_id, arg_max(title, ended_at) as title, arg_max(category, ended_at) as category
            from read_parquet($segments)
            where epoch_ms(ended_at) <= $snapshot_at
            group by room_id
        )
        select room_id, author_id, coalesce(newest.title, rooms.title) as title,
            coalesce(newest.category, rooms.category) as category, language,
            epoch_ms(started_at) as started_at, epoch_ms(ended_at) as ended_at
        from read_parquet($rooms) as rooms
        left join newest using (room_id)
        where epoch_ms(started_at) <= $snapshot_at and (ended_at is null or epoch_ms(ended_at) > $snapshot_at)
        order by room_id
        """,
        {"rooms": _partitions(marts, "rooms", days), "segments": _partitions(marts, "segments", days), "snapshot_at": at},
    )


def _windows(marts: Path, at: int) -> pa.Table:
    """The ended windows of the rooms live at the time, the newest of each room first."""
    days = _last_two_days(at)
    return _query(
        f"""
        with live as (
            select room_id
            from read_parquet($rooms)
            where epoch_ms(started_at) <= $snapshot_at and (ended_at is null or epoch_ms(ended_at) > $snapshot_at)
        )
        select room_id, segment_id, epoch_ms(ended_at) as ended_at, {", ".join(WINDOW_COUNTS)}
        from read_parquet($segments)
        semi join live using (room_id)
        where epoch_ms(ended_at) <= $snapshot_at
        order by room_id, ended_at desc
        """,  # noqa: S608  the only thing formatted in is a constant of this module
        {"rooms": _partitions(marts, "rooms", days), "segments": _partitions(marts, "segments", days), "snapshot_at": at},
    )


def _outcomes(marts: Path, at: int) -> pa.Table:
    """room_id and OUTCOME_COUNTS (`livealign.dataset.room_outcomes`) by room, as known to a request at the time."""
    day = day_of(at)
    if day not in built_days(marts, "interactions"):
        return pa.table({name: pa.array([], pa.int64()) for name in ("room_id", *OUTCOME_COUNTS)})
    return _query(
        """
        select room_id, count(*) as room_impressions, sum(click) as room_clicks
        from read_parquet($interactions)
        where click is not null and epoch_ms(click_known_at) < $begins
        group by room_id
        order by room_id
        """,
        {
            "interactions": _partitions(marts, "interactions", [day]),
            "begins": at // WINDOW_MILLISECONDS * WINDOW_MILLISECONDS,
        },
    )


def _histories(marts: Path, at: int, length: int) -> pa.Table:
    """The last `length` engagements of each user that were known before the time: by user, newest first."""
    return _query(
        """
        select user_id, author_id, segment_id, epoch_ms(engaged_at) as engaged_at
        from read_parquet($histories)
        where epoch_ms(engaged_at) < $snapshot_at
        qualify row_number() over (partition by user_id order by engaged_at desc, impression_id desc) <= $length
        order by user_id, engaged_at desc, impression_id desc
        """,
        {
            "histories": _partitions(marts, "user_histories", _days_until(marts, "user_histories", at)),
            "snapshot_at": at,
            "length": length,
        },
    )


def _items(marts: Path, at: int, segment_ids: Ints, vectors: NDArray[np.float32], codes: NDArray) -> pa.Table:
    table = _query(
        """
        select segment_id, any_value(author_id) as author_id, any_value(epoch_ms(ended_at)) as ended_at
        from read_parquet($segments)
        semi join (select unnest($ids::bigint[]) as segment_id) using (segment_id)
        group by segment_id
        order by segment_id
        """,
        {"segments": _partitions(marts, "segments", _days_until(marts, "segments", at)), "ids": segment_ids.tolist()},
    )
    if table.num_rows != len(segment_ids):
        missing = sorted(set(segment_ids.tolist()) - set(table["segment_id"].to_pylist()))
        raise TrainingError(f"segment {missing[0]} has a vector but is not in {marts / 'segments'}; build the warehouse again")
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    table = table.append_column("vector", pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]))
    flat = pa.array(np.ascontiguousarray(codes, dtype=np.int32).reshape(-1))
    return table.append_column("codes", pa.FixedSizeListArray.from_arrays(flat, codes.shape[1]))


def _history_lists(histories: pa.Table, segment_ids: Ints) -> pa.Table:
    """One row a user: the flat engagements (by user, newest first) as lists."""
    users, starts = np.unique(histories["user_id"].to_numpy(), return_index=True)
    offsets = pa.array(np.concatenate([starts, [histories.num_rows]]), pa.int32())
    columns = {
        "items": pa.array(place(segment_ids, _ids(histories["segment_id"])), pa.int64()),
        "author_ids": histories["author_id"].combine_chunks(),
        "engaged_at": histories["engaged_at"].combine_chunks(),
    }
    lists = {name: pa.ListArray.from_arrays(offsets, _array(values)) for name, values in columns.items()}
    return pa.table({"user_id": pa.array(users, pa.int64()), **lists})


def _counts(marts: Path, at: int, person: str, measures: Sequence[str]) -> pa.Table:
    """Running counts of all days before that time's day: the features of an impression on that day in training.

    The mart has a partition for each built day. If the day has none yet (the time is tomorrow's midnight), the interactions of
    the last built day and of later days are added to the last partition.
    """
    day, key = day_of(at), f"{person[:-1]}_id"
    built = [built_day for built_day in built_days(marts, f"{person}_daily") if built_day <= day]
    if not built:
        raise TrainingError(f"{marts / f'{person}_daily'} has no day up to {day}; build the warehouse first")
    between = [later for later in built_days(marts, "interactions") if built[-1] <= later < day]
    sums = {"impressions": "count(*)", "clicks": "sum(coalesce(click, 0))", "long_views": "sum(coalesce(long_view, 0))"}
    parameters: dict[str, object] = {"before": _partitions(marts, f"{person}_daily", built[-1:])}
    # What is formatted into the SQL are constants of this module.
    rows = f"select {key}, {', '.join(measures)} from read_parquet($before)"  # noqa: S608
    if between:
        parameters["between"] = _partitions(marts, "interactions", between)
        daily = ", ".join(sums[name] for name in measures)
        rows = f"{rows} union all select {key}, {daily} from read_parquet($between) group by {key}"  # noqa: S608
    totals = ", ".join(f"sum({name})::double as {name}" for name in measures)
    return _query(f"select {key}, {totals} from ({rows}) group by {key} order by {key}", parameters)  # noqa: S608


# Small helpers


def _query(sql: str, parameters: dict[str, object]) -> pa.Table:
    with duckdb.connect() as connection:  # in memory: the warehouse file has its own, single, writer
        connection.execute("set timezone = 'UTC'")
        return connection.sql(sql, params=parameters).to_arrow_table()


def _partitions(marts: Path, mart: str, days: Sequence[date]) -> list[str]:
    files = [partition(marts, mart, day) for day in days]
    existing = [duckdb_path(file) for file in files if file.exists()]
    if not existing:
        raise TrainingError(f"{files[-1] if files else marts / mart} is missing; build the warehouse for that day first")
    return existing


def _days_until(marts: Path, mart: str, at: int) -> list[date]:
    last = day_of(at)
    return [day for day in built_days(marts, mart) if day <= last]


def _last_two_days(at: int) -> list[date]:
    """The day of the time and the day before: a broadcast may have started yesterday."""
    day = day_of(at)
    return [day - timedelta(days=1), day]


def _ids(column: pa.ChunkedArray) -> Ints:
    return pc.fill_null(column, 0).to_numpy().astype(np.int64)


def _array(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(values.chunks) if isinstance(values, pa.ChunkedArray) else values


def _first_of_each(keys: NDArray, wanted: NDArray) -> Ints:
    """Row of the first occurrence of each wanted key in `keys` (grouped), -1 where it does not occur."""
    distinct, rows = np.unique(keys, return_index=True)
    places = place(distinct, wanted)
    return np.where(places >= 0, rows[np.maximum(places, 0)] if len(rows) else -1, -1).astype(np.int64)
