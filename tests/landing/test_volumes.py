"""A day of half the volume is caught, a platform whose days differ may have such days, and too little is not judged."""

from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livealign.days import partition
from livealign.errors import LiveAlignError
from livealign.landing.books import LEDGER
from livealign.landing.volumes import Volume, day_volumes, volume
from livealign.operation_config import VolumeConfig

CONFIG = VolumeConfig()
FIRST = date(2025, 6, 2)
WEEK = [10_000, 10_400, 9_700, 10_100, 9_900, 11_200, 9_500]  # of one table, day by day


def plant(landing: Path, rows: list[int], rooms: int = 40) -> list[date]:
    """Ledgers in which every watched table has these rows, in two files a day, of so many rooms."""
    planted = [FIRST + timedelta(days=number) for number in range(len(rows))]
    for day, landed in zip(planted, rows, strict=True):
        ledger = [
            {"table": table, "file": f"{part}.csv", "read": part, "landed": part, "rejected": 0}
            for table in CONFIG.tables
            for part in (landed // 3, landed - landed // 3)
        ]
        ledger.append({"table": "rooms", "file": "rooms.csv", "read": rooms, "landed": rooms, "rejected": 0})
        file = partition(landing, "ledger", day)
        file.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(ledger, schema=LEDGER), file)
    return planted


def test_a_day_with_half_the_volume_is_caught(tmp_path: Path) -> None:
    days = plant(tmp_path, [*WEEK, 5_000])
    assert [found.usual for found in day_volumes(tmp_path, days[-1], CONFIG)] == [False, False, False]


def test_a_day_with_three_times_the_volume_is_caught(tmp_path: Path) -> None:
    days = plant(tmp_path, [*WEEK, 30_000])
    assert not any(found.usual for found in day_volumes(tmp_path, days[-1], CONFIG))


def test_a_day_that_lacks_one_table_is_caught_in_that_table_alone(tmp_path: Path) -> None:
    days = plant(tmp_path, [*WEEK, 10_000])
    file = partition(tmp_path, "ledger", days[-1])
    rows = [row for row in pq.ParquetFile(file).read().to_pylist() if row["table"] != "comments"]
    pq.write_table(pa.Table.from_pylist(rows, schema=LEDGER), file)
    assert {found.table: found.usual for found in day_volumes(tmp_path, days[-1], CONFIG)} == {
        "impressions": True,
        "plays": True,
        "comments": False,
    }


@pytest.mark.parametrize("rows", WEEK)
def test_days_that_differ_by_chance_are_usual(rows: int) -> None:
    assert volume("plays", rows, WEEK, CONFIG).usual


def test_a_platform_whose_days_differ_may_have_an_empty_one_again(tmp_path: Path) -> None:
    days = plant(tmp_path, [4_000, 0, 9_000, 600, 0, 7_000, 3_000, 0])
    assert all(found.usual for found in day_volumes(tmp_path, days[-1], CONFIG))


def test_a_day_of_a_few_broadcasts_is_not_judged(tmp_path: Path) -> None:
    days = plant(tmp_path, [*WEEK, 3_000], rooms=3)
    assert all(found.usual and found.least is None for found in day_volumes(tmp_path, days[-1], CONFIG))


@pytest.mark.parametrize("before", [[], [9_000, 9_100], [40, 50, 30, 45]])
def test_with_too_few_days_or_rows_nothing_is_judged(before: list[int]) -> None:
    found = volume("plays", 1, before, CONFIG)
    assert found.usual
    assert found.least is None


def test_only_the_week_before_counts(tmp_path: Path) -> None:
    days = plant(tmp_path, [100_000] * 5 + WEEK + [10_000])
    assert day_volumes(tmp_path, days[-1], CONFIG)[0] == Volume("impressions", 10_000, 10_000, 6_000, 25_000)


def test_a_day_that_was_not_landed_and_a_damaged_ledger_are_named(tmp_path: Path) -> None:
    days = plant(tmp_path, WEEK)
    with pytest.raises(LiveAlignError, match="land it first"):
        day_volumes(tmp_path, days[-1] + timedelta(days=1), CONFIG)
    partition(tmp_path, "ledger", days[-1]).write_bytes(b"PAR1 torn")
    with pytest.raises(LiveAlignError, match=f"dt={days[-1]}.*land {days[-1]} again"):
        day_volumes(tmp_path, days[-1], CONFIG)
