"""Reading the marts that learning needs, and small conversions from Arrow to numpy."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from livealign.errors import TrainingError

TASKS = ("click", "long_view", "like", "comment", "gift")
SEGMENT_COLUMNS = ("n_viewers", "n_comments", "n_commenters", "n_likes", "n_gifts", "n_entered", "n_left", "retention")
SEGMENT_INFO = ("segment_id", "room_id", "author_id", "segment_index", "started_at")
_INTERACTION_INFO = (
    *("impression_id", "user_id", "author_id", "room_id", "segment_id", "segment_age_seconds"),
    *("shown_at", "position", "request_id", "minute_in_room"),
)


Ints = NDArray[np.int64]


@dataclass(frozen=True)
class DayTables:
    """The marts of some days: histories in the order of interactions, the running counts joined to them."""

    interactions: pa.Table
    history_author_ids: pa.ListArray
    history_segment_ids: pa.ListArray
    counts: dict[str, NDArray]


def partition(marts: Path, mart: str, day: date) -> Path:
    return marts / mart / f"dt={day.isoformat()}" / "part-0.parquet"


def read(marts: Path, mart: str, days: Sequence[date], columns: Sequence[str]) -> pa.Table:
    tables = []
    for day in days:
        path = partition(marts, mart, day)
        if not path.exists():
            raise TrainingError(f"{path} is missing; build the warehouse for {day} first")
        try:
            tables.append(pq.ParquetFile(path).read(columns=list(columns)))
        except (pa.ArrowInvalid, OSError) as error:
            raise TrainingError(f"{path} cannot be read ({error}); build the warehouse for {day} again") from error
        if missing := set(columns) - set(tables[-1].column_names):
            raise TrainingError(f"{path} lacks {sorted(missing)}; it was built by other code: build the warehouse again")
    return pa.concat_tables(tables, promote_options="permissive")


def read_day_tables(marts: Path, days: Sequence[date]) -> DayTables:
    labels = [name for task in TASKS for name in (task, f"{task}_known_at")]
    interactions = read(marts, "interactions", days, [*_INTERACTION_INFO, *labels])
    interactions = interactions.sort_by([("shown_at", "ascending"), ("impression_id", "ascending")]).combine_chunks()
    histories = read(
        marts, "user_histories", days, ["impression_id", "history_author_ids", "history_segment_ids"]
    ).combine_chunks()
    order = rows_by_key(ints(histories, "impression_id"), ints(interactions, "impression_id"))
    taken = histories.take(pa.array(order, mask=order < 0))
    counts = {
        **_daily_counts(marts, "authors_daily", "author", ("impressions", "clicks", "long_views"), days, interactions),
        **_daily_counts(marts, "users_daily", "user", ("impressions", "clicks"), days, interactions),
    }
    return DayTables(
        interactions,
        taken.column("history_author_ids").combine_chunks(),
        taken.column("history_segment_ids").combine_chunks(),
        counts,
    )


def _daily_counts(
    marts: Path, mart: str, person: str, measures: Sequence[str], days: Sequence[date], interactions: pa.Table
) -> dict[str, NDArray]:
    """Running counts up to the day before each impression, `<person>_<measure>` [n]; an id without a row has none."""
    day_of = pc.cast(interactions["shown_at"], pa.timestamp("ms")).cast(pa.int64()).to_numpy() // 86_400_000
    ids = ints(interactions, f"{person}_id")
    found = {f"{person}_{measure}": np.zeros(len(ids)) for measure in measures}
    for day in days:
        table = read(marts, mart, [day], [f"{person}_id", *measures])
        here = np.flatnonzero(day_of == (day - date(1970, 1, 1)).days)
        rows = rows_by_key(ints(table, f"{person}_id"), ids[here])
        for measure in measures:
            found[f"{person}_{measure}"][here[rows >= 0]] = floats(table, measure)[rows[rows >= 0]]
    return found


def padded_lists(lists: pa.ListArray, length: int) -> tuple[Ints, Ints]:
    """int64 [n, length] of the first entries of each list (0 behind its end and for null entries), and lengths [n]."""
    filled = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    starts = np.cumsum(filled) - filled
    values = flat(lists)
    matrix = np.zeros((len(filled), length), dtype=np.int64)
    inside = np.arange(length) < filled[:, None]
    matrix[inside] = values[(starts[:, None] + np.arange(length))[inside]]
    return matrix, np.minimum(filled, length)


def flat(lists: pa.ListArray) -> Ints:
    return pc.fill_null(pc.list_flatten(lists), 0).cast(pa.int64()).to_numpy(zero_copy_only=False)


def ints(table: pa.Table, column: str) -> Ints:
    return pc.fill_null(table[column], 0).cast(pa.int64()).to_numpy()


def floats(table: pa.Table, column: str) -> NDArray[np.float64]:
    return table[column].cast(pa.float64()).to_numpy()  # null becomes NaN


def milliseconds(table: pa.Table, column: str) -> Ints:
    return pc.fill_null(table[column].cast(pa.timestamp("ms"), safe=False).cast(pa.int64()), 0).to_numpy()


def place(sorted_ids: Ints, ids: Ints) -> Ints:
    """Place of each id in `sorted_ids`, -1 where it is not there; the shape of `ids`."""
    if not len(sorted_ids):
        return np.full(ids.shape, -1, dtype=np.int64)
    places = np.minimum(np.searchsorted(sorted_ids, ids), len(sorted_ids) - 1)
    return np.where(sorted_ids[places] == ids, places, -1)


def rows_by_key(keys: Ints, wanted: Ints) -> Ints:
    """Row of each wanted key in `keys` (any order), -1 where it is not there."""
    order = np.argsort(keys, kind="stable")
    places = place(keys[order], wanted)
    return np.where(places >= 0, order[np.maximum(places, 0)] if len(order) else -1, -1)


def end_of(day: date) -> int:
    """Epoch milliseconds of the midnight that ends `day` (UTC)."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000) + 86_400_000
