"""Impressions of some days with their users' histories and running counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from livealign.dataset.columns import floats, ints, milliseconds, rows_by_key
from livealign.dataset.examples import TASKS
from livealign.dataset.histories import Histories, histories_before, read_engagements
from livealign.dataset.marts import read_mart
from livealign.dataset.room_outcomes import OUTCOME_COUNTS, outcomes_so_far
from livealign.days import DAY_MS, EPOCH

_INTERACTION_INFO = (
    *("impression_id", "user_id", "author_id", "room_id", "segment_id", "segment_age_seconds"),
    *("shown_at", "position", "request_id", "minute_in_room"),
)


@dataclass(frozen=True)
class DayTables:
    """n impressions in the order of `shown_at`, with the data known when each was shown."""

    interactions: pa.Table
    histories: Histories
    counts: dict[str, NDArray]  # `<person>_<measure>` and `room_<measure>` [n]


def read_day_tables(marts: Path, days: Sequence[date], history_length: int) -> DayTables:
    """Read `days`, and the earlier engagements that histories need.

    Raises:
        MartError: a mart lacks one of the days, or a file of it cannot be read.
    """
    labels = [name for task in TASKS for name in (task, f"{task}_known_at")]
    interactions = read_mart(marts, "interactions", days, [*_INTERACTION_INFO, *labels])
    interactions = interactions.sort_by([("shown_at", "ascending"), ("impression_id", "ascending")]).combine_chunks()
    user_id, shown_at = ints(interactions, "user_id"), milliseconds(interactions, "shown_at")
    engagements = read_engagements(marts, min(days), max(days), user_id, history_length)
    counts = {
        **_daily_counts(marts, "authors_daily", "author", ("impressions", "clicks", "long_views"), days, interactions),
        **_daily_counts(marts, "users_daily", "user", ("impressions", "clicks"), days, interactions),
        **_room_counts(interactions),
    }
    return DayTables(interactions, histories_before(engagements, user_id, shown_at, history_length), counts)


def _room_counts(interactions: pa.Table) -> dict[str, NDArray]:
    """Known outcomes of the room's earlier impressions of the same day, `room_<measure>` [n]."""
    shown_at, known_at = (milliseconds(interactions, name) for name in ("shown_at", "click_known_at"))
    counts = outcomes_so_far(ints(interactions, "room_id"), shown_at, floats(interactions, "click"), known_at)
    return dict(zip(OUTCOME_COUNTS, counts, strict=True))


def _daily_counts(
    marts: Path, mart: str, person: str, measures: Sequence[str], days: Sequence[date], interactions: pa.Table
) -> dict[str, NDArray]:
    """Running counts up to the day before each impression, `<person>_<measure>` [n]; 0 for an id without a row."""
    day_of = pc.cast(interactions["shown_at"], pa.timestamp("ms")).cast(pa.int64()).to_numpy() // DAY_MS
    ids = ints(interactions, f"{person}_id")
    counts = {f"{person}_{measure}": np.zeros(len(ids)) for measure in measures}
    for day in days:
        table = read_mart(marts, mart, [day], [f"{person}_id", *measures])
        here = np.flatnonzero(day_of == (day - EPOCH).days)
        rows = rows_by_key(ints(table, f"{person}_id"), ids[here])
        for measure in measures:
            counts[f"{person}_{measure}"][here[rows >= 0]] = floats(table, measure)[rows[rows >= 0]]
    return counts
