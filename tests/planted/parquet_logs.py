"""Two days of rooms, plays and comments as Parquet logs, in the layouts of many engines."""

from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from livealign.landing.schema import TABLES
from livealign.landing.summary import LandingSummary

ONE, TWO = date(2025, 5, 5), date(2025, 5, 6)
NOON = datetime(2025, 5, 5, 12)


def rows_of(day: date) -> dict[str, pa.Table]:
    """Two rooms, four plays and three comments of one day."""
    noon = NOON + timedelta(days=(day - ONE).days)
    start = 1_000 * day.day
    times = [noon + timedelta(minutes=i) for i in range(4)]
    ids = pa.array(range(start, start + 4))
    base = {
        "user_id": pa.array([1, 2, 3, 4]),
        "author_id": pa.array([7, 7, 8, 8]),
        "room_id": pa.array([start, start, start + 1, start + 1]),
    }
    rooms = {"room_id": [start, start + 1], "author_id": [7, 8], "title": ["a", "b"], "started_at": times[:2]}
    left = pa.array([time + timedelta(seconds=59) for time in times])
    plays = {"play_id": ids, **base, "entered_at": pa.array(times), "left_at": left}
    comments = {
        "comment_id": ids,
        **base,
        "sent_at": pa.array(times),
        "text": pa.array(list("wxyz")),
        "is_bot": pa.array([False] * 4),
    }
    return {"rooms": pa.table(rooms), "plays": pa.table(plays), "comments": pa.table(comments).slice(0, 3)}


LANDED = {"rooms": 4, "plays": 8, "comments": 6}


def write(path: Path, rows: pa.Table, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path, **options)


def halves(rows: pa.Table) -> list[pa.Table]:
    return [rows.slice(0, 1), rows.slice(1)]


def day_folders(archive: Path) -> None:
    for day in (ONE, TWO):
        for name, rows in rows_of(day).items():
            write(archive / f"dt={day}" / f"{name}.parquet", rows)


def day_folders_of_parts(archive: Path) -> None:
    for day in (ONE, TWO):
        for name, rows in rows_of(day).items():
            for i, half in enumerate(halves(rows)):
                write(archive / f"dt={day}" / f"{name}.parquet" / f"part-{i}.parquet", half)


def spark(archive: Path) -> None:
    for day in (ONE, TWO):
        for name, rows in rows_of(day).items():
            folder = archive / name / f"dt={day}"
            for i, half in enumerate(halves(rows)):
                part = f"part-0000{i}-7a2f7c80-9c1b-4b73-8f4d-0d6f4a7f9b11.c000.snappy.parquet"
                write(folder / part, half, use_deprecated_int96_timestamps=True, compression="snappy")
                (folder / f".{part}.crc").write_bytes(b"crc")
            (folder / "_SUCCESS").touch()


def hive_by_hour(archive: Path) -> None:
    for day in (ONE, TWO):
        for name, rows in rows_of(day).items():
            write(archive / name / f"date={day}" / "hour=12" / "000000_0", rows)


def year_month_day(archive: Path) -> None:
    for day in (ONE, TWO):
        for name, rows in rows_of(day).items():
            write(archive / name / f"year={day.year}" / f"month={day.month:02}" / f"day={day.day}" / "x.zstd.parquet", rows)


def one_file_a_table(archive: Path) -> None:
    for name, rows in rows_of(ONE).items():
        write(archive / f"{name}.parquet", pa.concat_tables([rows, rows_of(TWO)[name]]))


def numbered_files(archive: Path) -> None:
    names = {"rooms": "rooms_{}.parq", "plays": "plays-00000000000{}.parquet", "comments": "comments_{}_0_0.snappy.parquet"}
    for name, pattern in names.items():
        write(archive / pattern.format(0), rows_of(ONE)[name])
        write(archive / pattern.format(1), rows_of(TWO)[name])


def folders_without_days(archive: Path) -> None:
    for name in LANDED:
        write(archive / name / "0.parquet", rows_of(ONE)[name])
        write(archive / name / "2025" / "05" / "06" / "1.parquet", rows_of(TWO)[name])


def duckdb_partitions(archive: Path) -> None:
    archive.mkdir()
    for name, rows in rows_of(ONE).items():
        two_days = duckdb.from_arrow(pa.concat_tables([rows, rows_of(TWO)[name]]))
        by_day = two_days.project(f"*, {TABLES[name].time_column}::DATE AS dt")
        by_day.write_parquet(str(archive / name), partition_by=["dt"])


LAYOUTS = [
    *(day_folders, day_folders_of_parts, spark, hive_by_hour, year_month_day),
    *(one_file_a_table, numbered_files, folders_without_days, duckdb_partitions),
]


def landed_counts(summary: LandingSummary) -> dict[str, int]:
    for table in summary.tables.values():
        assert table.landed + table.rejected == table.read
    return {name: table.landed for name, table in summary.tables.items() if table.landed}
