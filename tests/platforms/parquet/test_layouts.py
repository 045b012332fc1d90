"""Layouts of Parquet logs: which files belong to a table, and to which day."""

import shutil
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tests.planted.kuaishou_archives as make
from livealign.errors import ArchiveError
from livealign.landing.schema import TABLES
from livealign.platforms.parquet import adapter as parquet
from livealign.platforms.parquet import files as parquet_files
from livealign.platforms.parquet.layout import find_files, partition_day
from livealign.platforms.registry import land
from tests.planted.parquet_logs import (
    LANDED,
    LAYOUTS,
    ONE,
    TWO,
    day_folders,
    landed_counts,
    one_file_a_table,
    rows_of,
    spark,
    write,
)


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
