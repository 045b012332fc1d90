"""Rows of Parquet logs: times, ids, pictures and damage, judged row by row."""

from collections import Counter
from datetime import UTC, datetime, timedelta, timezone

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tests.planted.kuaishou_archives as make
from livealign.landing.run import LandingRun
from livealign.landing.schema import TABLES
from livealign.platforms.parquet import adapter as parquet
from livealign.platforms.parquet import files as parquet_files
from livealign.platforms.registry import land
from tests.planted import pictures
from tests.planted.parquet_logs import LANDED, NOON, ONE, TWO, day_folders, rows_of, write


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
