"""A day's landed rows, compared with the days before it.

A log cut short looks like a quiet evening to everything downstream.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq

from livealign.days import partition
from livealign.errors import LiveAlignError
from livealign.landing.partitions import landed_days
from livealign.operation_config import VolumeConfig


class Volume(NamedTuple):
    """Rows of one table on one day, with the bounds between which they would be usual.

    The bounds are None where there is too little history.
    """

    table: str
    rows: int
    median: float | None
    least: float | None
    most: float | None

    @property
    def usual(self) -> bool:
        return self.least is None or self.most is None or self.least <= self.rows <= self.most


def day_volumes(landing: Path, day: date, config: VolumeConfig) -> list[Volume]:
    """The watched tables of a landed day, compared with the landed days of the week before.

    Where a day is a handful of broadcasts no bounds are set: a single missing broadcast takes half of the rows with it.

    Raises:
        LiveAlignError: the day was not landed, or a ledger is damaged.
    """
    landed = landed_days(landing)
    if day not in landed:
        raise LiveAlignError(f"{landing / 'ledger'} has nothing of {day}; land it first")
    before = [earlier for earlier in landed if 0 < (day - earlier).days <= config.days]
    today = _rows(landing, day)
    history = [_rows(landing, earlier) for earlier in before]
    rooms = median(rows.get("rooms", 0) for rows in history) if history else 0
    known = history if rooms >= config.least_rooms else []
    return [volume(table, today.get(table, 0), [rows.get(table, 0) for rows in known], config) for table in config.tables]


def volume(table: str, rows: int, before: Sequence[int], config: VolumeConfig) -> Volume:
    """Bounds from the days before: near their median, or near what one of them had.

    The second half lets a platform whose days differ among themselves have such days; the first catches a day of half the
    volume on a platform whose days are alike.
    """
    middle = float(median(before)) if before else None
    if middle is None or len(before) < config.least_days or middle < config.least_rows:
        return Volume(table, rows, middle, None, None)
    least = min(config.least_share * middle, config.least_of_lowest * min(before))
    most = max(config.most_share * middle, config.most_of_highest * max(before))
    return Volume(table, rows, middle, least, most)


def _rows(landing: Path, day: date) -> Mapping[str, int]:
    """Landed rows of each table, from the day's ledger."""
    file = partition(landing, "ledger", day)
    try:
        table = pq.read_table(file, columns=["table", "landed"], partitioning=None)
    except (OSError, ValueError) as error:
        raise LiveAlignError(f"{file} cannot be read ({error}); land {day} again") from error
    totals = table.group_by("table").aggregate([("landed", "sum")])
    return dict(zip(totals["table"].to_pylist(), pc.fill_null(totals["landed_sum"], 0).to_pylist(), strict=True))
