"""Parquet logs as engines write them: every layout lands whole, and no row is booked on another table or day."""

import shutil
from collections import Counter
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tests.planted.kuaishou_archives as make
from livealign.errors import ArchiveError
from livealign.landing.run import LandingRun
from livealign.landing.schema import TABLES
from livealign.landing.summary import LandingSummary
from livealign.platforms.parquet import adapter as parquet
from livealign.platforms.parquet import files as parquet_files
from livealign.platforms.parquet.layout import find_files, partition_day
from livealign.platforms.registry import land
from tests.planted import pictures

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


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_lands_the_same_rows(tmp_path, layout):
    layout(tmp_path / "a")
    assert parquet.recognises(tmp_path / "a")
    assert parquet.archive_days(tmp_path / "a") == [ONE, TWO]
    summary = land("parquet", tmp_path / "a", tmp_path / "l")
    assert landed_counts(summary) == LANDED
    assert summary.reasons == {}
    day_folders(tmp_path / "b")
    land("parquet", tmp_path / "b", tmp_path / "m")
    for name in LANDED:
        assert make.landed(tmp_path / "l", name) == make.landed(tmp_path / "m", name)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_day_lands_alone(tmp_path, layout):
    layout(tmp_path / "a")
    summary = land("parquet", tmp_path / "a", tmp_path / "l", [TWO])
    assert landed_counts(summary) == {name: count // 2 for name, count in LANDED.items()}
    assert {row["entered_at"].date() for row in make.landed(tmp_path / "l", "plays")} == {TWO}


def test_our_own_landing_lands_again(tmp_path):
    day_folders(tmp_path / "a")
    land("parquet", tmp_path / "a", tmp_path / "l")
    assert not parquet.recognises(tmp_path / "l")  # it says that it is a landing folder
    summary = land("parquet", tmp_path / "l", tmp_path / "m")
    assert landed_counts(summary) == LANDED
    assert summary.reasons == {}


@pytest.mark.parametrize(
    "file",
    [
        *("plays_backup.parquet", "plays2.parquet", "myplays.parquet", "plays_v2.parquet", "displays.parquet", "Plays.parquet"),
        *(
            "old/plays/dt=2025-05-05/x.parquet",
            "plays/comments.parquet",
            "plays/_temporary/0/part-0.parquet",
            "plays.parquet.gz",
        ),
        *("plays/comments/x.parquet", "rejects/plays/dt=2025-05-05/part-0.parquet", "plays/x.csv", "plays_1_feed.parquet"),
        *("plays.parquet.tmp", "plays_2024_old.parquet", "plays/.staging/x.parquet"),
    ],
)
def test_a_file_of_a_similar_name_is_no_file_of_the_table(tmp_path, file):
    day_folders(tmp_path / "a")
    write(tmp_path / "a" / file, rows_of(ONE)["plays"])
    assert file not in {log.file for log in find_files(tmp_path / "a").files}
    assert landed_counts(land("parquet", tmp_path / "a", tmp_path / "l")) == LANDED


@pytest.mark.parametrize(
    "file",
    [
        *("plays_0.parquet", "plays-0.parquet", "plays.0.parquet", "plays-00000-of-00004.parquet", "plays0000_part_00.parquet"),
        *("plays_part_3.snappy.parquet", "plays_2025-05-05.parquet", "plays_0_1_0.snappy.parquet", "plays.gz.parquet"),
        *("plays-part-00000-7a2f7c80-9c1b-4b73-8f4d-0d6f4a7f9b11.c000.parq", "plays.pq", "dt=2025-05-05/plays/x.parquet"),
    ],
)
def test_numbered_parts_belong_to_their_table(tmp_path, file):
    write(tmp_path / file, rows_of(ONE)["plays"])
    assert [log.table for log in find_files(tmp_path).files] == ["plays"]


def test_what_is_not_read_is_named_and_companions_are_not(tmp_path):
    spark(tmp_path / "a")
    write(tmp_path / "a" / "plays_backup.parquet", rows_of(ONE)["plays"])
    (tmp_path / "a" / "README.txt").write_text("hello")
    summary = land("parquet", tmp_path / "a", tmp_path / "l")
    assert summary.not_read == ["README.txt", "plays_backup.parquet"]
    assert land("parquet", tmp_path / "a", tmp_path / "m", [TWO]).not_read == ["README.txt", "plays_backup.parquet"]


def test_a_row_of_another_day_than_its_folder_is_rejected_with_its_line(tmp_path):
    day_folders(tmp_path / "a")
    write(
        tmp_path / "a" / f"dt={ONE}" / "plays.parquet",
        pa.concat_tables([rows_of(ONE)["plays"], rows_of(TWO)["plays"].slice(2)]),
    )
    summary = land("parquet", tmp_path / "a", tmp_path / "l")
    assert summary.reasons == Counter(wrong_day=2)
    assert [(row["file"], row["line"]) for row in make.rejects(tmp_path / "l")] == [
        (f"dt={ONE}/plays.parquet", line) for line in (5, 6)
    ]


@pytest.mark.parametrize(
    "folder", ["snapshot=2025-07-01", "dt=__HIVE_DEFAULT_PARTITION__", "region=eu", "dt=2025-13-99", "day=5"]
)
def test_a_folder_that_names_no_day_of_its_rows_leaves_them_to_the_time_column(tmp_path, folder):
    write(tmp_path / "a" / folder / "plays.parquet", rows_of(TWO)["plays"])
    assert parquet.archive_days(tmp_path / "a") == [TWO]
    assert land("parquet", tmp_path / "a", tmp_path / "l").landed == 4


@pytest.mark.parametrize(
    ("key", "text", "day"),
    [
        *[("dt", text, ONE) for text in ("2025-05-05", "20250505", "2025-05-05 00:00:00", "2025-05-05-13")],
        *[("dt", text, None) for text in ("2025-02-30", "5", "latest", None)],
        *[("export_date", "2025-05-05", None), ("entered_at", "2025-05-05", ONE)],
    ],
)
def test_a_partition_names_a_day_or_none(key, text, day):
    assert partition_day(key, text, "entered_at") == day


def test_a_column_that_only_the_path_has_is_filled_from_there(tmp_path):
    rooms = rows_of(ONE)["rooms"].drop_columns(["title"])
    write(tmp_path / "a" / "rooms" / "dt=2025-05-05" / "title=Chess%3A%20blitz" / "x.parquet", rooms.slice(0, 1))
    write(tmp_path / "a" / "rooms" / "dt=2025-05-05" / "title=__HIVE_DEFAULT_PARTITION__" / "x.parquet", rooms.slice(1))
    land("parquet", tmp_path / "a", tmp_path / "l")
    assert [row["title"] for row in make.landed(tmp_path / "l", "rooms")] == ["Chess: blitz", None]


def test_the_file_is_believed_before_the_path(tmp_path):
    write(tmp_path / "a" / "rooms" / "title=other" / "x.parquet", rows_of(ONE)["rooms"])
    land("parquet", tmp_path / "a", tmp_path / "l")
    assert [row["title"] for row in make.landed(tmp_path / "l", "rooms")] == ["a", "b"]


def test_a_state_without_a_time_is_of_the_day_that_its_folder_names_and_an_event_is_rejected(tmp_path):
    write(tmp_path / "a" / "users" / f"dt={ONE}" / "x.parquet", pa.table({"user_id": [1, 2]}))
    write(tmp_path / "a" / "plays" / f"dt={ONE}" / "x.parquet", rows_of(ONE)["plays"].drop_columns(["entered_at"]))
    summary = land("parquet", tmp_path / "a", tmp_path / "l")
    assert [row["observed_at"] for row in make.landed(tmp_path / "l", "users")] == [datetime(2025, 5, 5)] * 2
    assert summary.reasons == Counter(missing_column=4)


def time_columns() -> dict[str, pa.Array]:
    """NOON and three minutes after it, as engines write them."""
    naive = [NOON + timedelta(minutes=i) for i in range(4)]
    utc = [time.replace(tzinfo=UTC) for time in naive]
    plus_eight = [time.astimezone(timezone(timedelta(hours=8))) for time in utc]
    return {
        "s": pa.array(naive, pa.timestamp("s")),
        "ms": pa.array(naive, pa.timestamp("ms")),
        "us": pa.array(naive, pa.timestamp("us")),
        "ns": pa.array(naive, pa.timestamp("ns")),
        "utc": pa.array(utc, pa.timestamp("us", "UTC")),
        "shanghai": pa.array(utc, pa.timestamp("us", "Asia/Shanghai")),
        "milliseconds": pa.array([int(time.timestamp() * 1_000) for time in utc], pa.int64()),
        "text": pa.array([time.isoformat(" ") for time in naive]),
        "iso_z": pa.array([f"{time.isoformat()}Z" for time in naive]),
        "iso_micro_z": pa.array([f"{time.isoformat()}.000123Z" for time in naive]),
        "iso_offset": pa.array([time.isoformat() for time in plus_eight]),
        "iso_mixed": pa.array(
            [f"{naive[0].isoformat()}Z", plus_eight[1].isoformat(), f"{naive[2].isoformat()}+00:00", naive[3].isoformat()]
        ),
        "iso_dictionary": pa.array([f"{time.isoformat()}Z" for time in naive]).dictionary_encode(),
    }


@pytest.mark.parametrize("days_in_path", [True, False])
@pytest.mark.parametrize("kind", time_columns())
def test_a_time_is_the_same_instant_however_it_is_written(tmp_path, kind, days_in_path):
    times = time_columns()[kind]
    plays = rows_of(ONE)["plays"].set_column(4, "entered_at", times)
    write(tmp_path / "a" / "plays" / (f"dt={ONE}" if days_in_path else "") / "x.parquet", plays)
    assert parquet.archive_days(tmp_path / "a") == [ONE]
    land("parquet", tmp_path / "a", tmp_path / "l")
    assert [row["entered_at"] for row in make.landed(tmp_path / "l", "plays")] == [
        NOON + timedelta(minutes=i) for i in range(4)
    ]


def test_old_96_bit_timestamps_of_the_far_future_do_not_run_over(tmp_path):
    times = pa.array([NOON, datetime(9999, 12, 31), datetime(2300, 1, 1), NOON], pa.timestamp("ms"))
    plays = rows_of(ONE)["plays"].set_column(4, "entered_at", times).drop_columns(["left_at"])
    write(tmp_path / "a" / "plays.parquet", plays, use_deprecated_int96_timestamps=True)
    assert parquet.archive_days(tmp_path / "a") == [ONE]
    summary = land("parquet", tmp_path / "a", tmp_path / "l")
    assert (summary.landed, summary.reasons) == (2, Counter(time_in_future=2))


def test_days_come_from_statistics_and_else_from_the_values(tmp_path, monkeypatch):
    one_file_a_table(tmp_path / "a")  # one row group over two days
    for name in LANDED:
        rows = pq.read_table(tmp_path / "a" / f"{name}.parquet")
        late = rows.set_column(
            rows.schema.get_field_index(TABLES[name].time_column),
            TABLES[name].time_column,
            pa.nulls(len(rows), pa.timestamp("ms")),
        )
        pq.write_table(
            pa.concat_tables([rows, late], promote_options="permissive"), tmp_path / "a" / f"{name}.parquet", row_group_size=3
        )
    assert parquet.archive_days(tmp_path / "a") == [ONE, TWO]
    day_groups = tmp_path / "b" / "plays.parquet"
    write(day_groups, pa.concat_tables([rows_of(ONE)["plays"], rows_of(TWO)["plays"]]), row_group_size=4)
    monkeypatch.setattr(parquet_files.RowReader, "_group", lambda *_: pytest.fail("the statistics say it"))
    assert parquet.archive_days(tmp_path / "b") == [ONE, TWO]


def test_lines_stay_those_of_the_file_where_row_groups_are_left_out(tmp_path):
    rows = pa.concat_tables([rows_of(ONE)["plays"], rows_of(TWO)["plays"]])
    ids = pa.array([*range(7), -5])
    write(tmp_path / "a" / "plays.parquet", rows.set_column(0, "play_id", ids), row_group_size=2)
    summary = land("parquet", tmp_path / "a", tmp_path / "l", [TWO])
    assert summary.tables["plays"].read == 4
    (reject,) = make.rejects(tmp_path / "l")
    assert (reject["line"], reject["reason"]) == (8, "id_out_of_range")


def test_text_ids_are_the_same_in_every_table_and_numbers_stay_numbers(tmp_path):
    tables = rows_of(ONE)
    users = pa.array(["bob", "5b1c6c4e-6a51-4bb5-8a9a-0b5b4d1a8f10", "3", "4"])
    write(tmp_path / "a" / "plays.parquet", tables["plays"].set_column(1, "user_id", users))
    write(
        tmp_path / "a" / "comments.parquet", tables["comments"].set_column(1, "user_id", users.dictionary_encode().slice(0, 3))
    )
    land("parquet", tmp_path / "a", tmp_path / "l")
    plays, comments = make.landed(tmp_path / "l", "plays"), make.landed(tmp_path / "l", "comments")
    assert [row["user_id"] for row in plays][:3] == [row["user_id"] for row in comments]
    assert [row["user_id"] for row in plays][2:] == [3, 4]
    assert all(0 <= row["user_id"] < 2**63 for row in plays)
    assert len({row["user_id"] for row in plays}) == 4


def test_a_uuid_is_one_id_as_text_and_as_bytes(tmp_path):
    text = "5b1c6c4e-6a51-4bb5-8a9a-0b5b4d1a8f10"
    moment = duckdb.sql("SELECT TIMESTAMP '2025-05-05 12:00:00' AS observed_at, TIMESTAMP '2025-05-05 12:00:00' AS entered_at")
    play = moment.project(f"1 AS play_id, 7 AS author_id, 1 AS room_id, entered_at, '{text}'::UUID AS user_id")
    play.write_parquet(str(tmp_path / "plays.parquet"))
    moment.project(f"observed_at, '{text}' AS user_id").write_parquet(str(tmp_path / "users.parquet"))
    land("parquet", tmp_path, tmp_path.with_suffix(".l"))
    (play,), (user,) = make.landed(tmp_path.with_suffix(".l"), "plays"), make.landed(tmp_path.with_suffix(".l"), "users")
    assert play["user_id"] == user["user_id"]


@pytest.mark.parametrize("value", ["", "null", "NaN", "1e9", "12.5", "9" * 25, "-5"])
def test_what_is_neither_a_number_nor_a_name_is_rejected_alone(tmp_path, value):
    users = pa.array(["1", value, "x", "4"])
    write(tmp_path / "a" / "plays.parquet", rows_of(ONE)["plays"].set_column(1, "user_id", users))
    summary = land("parquet", tmp_path / "a", tmp_path / "l")
    assert (summary.landed, summary.rejected) == (3, 1)


@pytest.mark.parametrize("kind", [pa.int64(), pa.string(), pa.float64(), pa.decimal128(20, 0)])
def test_with_a_secret_key_no_id_of_a_person_is_the_platforms_own(tmp_path, monkeypatch, kind):
    plays = rows_of(ONE)["plays"]
    plays = plays.set_column(1, "user_id", plays.column("user_id").cast(kind))
    write(
        tmp_path / "a" / "plays.parquet", plays.set_column(4, "entered_at", pa.array([NOON, NOON, NOON, datetime(1980, 1, 1)]))
    )
    monkeypatch.setenv("LIVEALIGN_ID_KEY", "secret")
    land("parquet", tmp_path / "a", tmp_path / "l", [ONE])
    landed = [row["user_id"] for row in make.landed(tmp_path / "l", "plays")]
    assert not {1, 2, 3, 4} & set(landed)
    assert len(set(landed)) == 3
    (reject,) = make.rejects(tmp_path / "l")
    assert '"user_id": 4' not in reject["row"]
    assert '"user_id": "4"' not in reject["row"]


@pytest.mark.parametrize(("marker", "name"), [("_delta_log", "Delta Lake"), (".hoodie", "Hudi"), ("metadata", "Iceberg")])
def test_a_managed_table_is_refused_for_its_folder_holds_deleted_rows_too(tmp_path, marker, name):
    spark(tmp_path / "a")
    (tmp_path / "a" / "plays" / marker).mkdir()
    (tmp_path / "a" / "plays" / marker / "0.json").write_text("{}")
    summary = land("parquet", tmp_path / "a", tmp_path / "l")
    assert landed_counts(summary) == {name: count for name, count in LANDED.items() if name != "plays"}
    (reject,) = make.rejects(tmp_path / "l")
    assert (reject["reason"], reject["file"]) == ("table_format", "plays")
    assert name in reject["detail"]


@pytest.mark.parametrize("platform", ["parquet", "simulator"])
def test_the_remedy_for_a_truncated_file_of_the_user_is_to_fetch_it_again(tmp_path, platform):
    day_folders(tmp_path / "a")
    (tmp_path / "a" / "simulator.json").write_text('{"format": 1}')
    path = tmp_path / "a" / f"dt={ONE}" / "comments.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    summary = land(platform, tmp_path / "a", tmp_path / "l")
    assert summary.reasons == Counter(unreadable_file=1)
    (reject,) = make.rejects(tmp_path / "l")
    assert "fetch the file again" in reject["detail"]
    assert "simulate" not in reject["detail"]


def test_rows_before_the_damage_land(tmp_path):
    rows = pa.table(
        {
            "action_id": range(20_000),
            "user_id": [1] * 20_000,
            "author_id": [7] * 20_000,
            "room_id": [1] * 20_000,
            "at": [NOON] * 20_000,
        }
    )
    write(tmp_path / "a" / "shares.parquet", rows, row_group_size=5_000, compression="none", use_dictionary=False)
    path = tmp_path / "a" / "shares.parquet"
    third = pq.read_metadata(path).row_group(2).column(0)
    content = bytearray(path.read_bytes())
    content[third.data_page_offset : third.data_page_offset + 30] = b"\xff" * 30
    path.write_bytes(content)
    summary = land("parquet", tmp_path / "a", tmp_path / "l")
    assert summary.tables["shares"].landed == 10_000
    (reject,) = make.rejects(tmp_path / "l")
    assert reject["detail"].startswith("after 10000 rows")


def test_big_rows_come_in_small_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_files, "BATCH_BYTES", 1 << 16)
    frames = pa.table(
        {"room_id": range(64), "at": [NOON] * 64, "bytes": [np.random.default_rng(i).bytes(1 << 13) for i in range(64)]}
    )
    write(tmp_path / "a" / "frames.parquet", frames)
    with parquet_files.RowReader(tmp_path / "a" / "frames.parquet", TABLES["frames"]) as reader:
        batches = [(line, len(rows)) for line, rows in reader.batches()]
    assert max(size for _, size in batches) <= 8
    assert [line for line, _ in batches] == list(np.cumsum([1, *(size for _, size in batches)])[:-1])


def test_a_file_without_any_column_of_the_contract_rejects_its_rows(tmp_path):
    day_folders(tmp_path / "a")
    write(tmp_path / "a" / f"dt={ONE}" / "likes.parquet", pa.table({"x": [1, 2]}))
    summary = land("parquet", tmp_path / "a", tmp_path / "l")
    assert summary.reasons == Counter(missing_column=2)
    assert summary.tables["likes"].warnings == Counter(unknown_field=1)


def test_links_to_folders_are_followed_once(tmp_path):
    day_folders(tmp_path / "elsewhere")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / f"dt={ONE}").symlink_to(tmp_path / "elsewhere" / f"dt={ONE}")
    (tmp_path / "a" / "dt=loop").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "plays.parquet").symlink_to(tmp_path / "nowhere")
    assert landed_counts(land("parquet", tmp_path / "a", tmp_path / "l")) == {
        name: count // 2 for name, count in LANDED.items()
    }


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_without_a_table_is_an_error_that_says_how_to_name_files(tmp_path, there):
    if there:
        write(tmp_path / "a" / "views.parquet", rows_of(ONE)["plays"])
    with pytest.raises(ArchiveError, match=r"TABLE/dt=YYYY-MM-DD.*plays"):
        parquet.archive_days(tmp_path / "a")
    assert not parquet.recognises(tmp_path / "a")


def test_simulators_archive_lands_as_parquet_too_and_the_truth_is_never_matched(tmp_path):
    day_folders(tmp_path / "a")
    shutil.copytree(tmp_path / "a" / f"dt={ONE}", tmp_path / "a" / "truth" / "impressions" / f"dt={ONE}")
    (tmp_path / "a" / "simulator.json").write_text('{"format": 1}')
    for platform in ("parquet", "simulator"):
        assert landed_counts(land(platform, tmp_path / "a", tmp_path / platform)) == LANDED


def test_memory_holds_one_run_for_all_files(tmp_path):
    """The run is used as adapters use it, without `land`."""
    day_folders(tmp_path / "a")
    with LandingRun(tmp_path / "l", [ONE]) as run:
        parquet.land_days(tmp_path / "a", run, [ONE])
    assert run.summary.landed == sum(LANDED.values()) // 2


def test_pictures_land_from_their_bytes_or_from_the_file_that_their_path_names(tmp_path):
    day_folders(tmp_path / "a")
    picture = pictures.encoded(pictures.corners())
    (tmp_path / "a" / "shots").mkdir()
    (tmp_path / "a" / "shots" / "1.png").write_bytes(picture)
    (tmp_path / "outside.png").write_bytes(picture)
    paths = ["shots/1.png", None, "../outside.png", "shots/2.png", "/etc/hostname", "shots\x00/1.png"]
    rows = {"room_id": [1] * 6, "at": [NOON + timedelta(seconds=number) for number in range(6)], "path": paths}
    write(tmp_path / "a" / "frames.parquet", pa.table({**rows, "bytes": pa.array([None, picture] + [None] * 4, pa.binary())}))
    summary = land("parquet", tmp_path / "a", tmp_path / "l")
    assert summary.tables["frames"].landed == 2
    assert summary.tables["frames"].reasons == Counter(no_picture=4)
    assert summary.not_read == []
    [kept] = (tmp_path / "l" / "pictures").rglob("*.webp")
    assert kept.parent.name.startswith("dt=")
