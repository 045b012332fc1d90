"""Validation finds each planted fault, at its file and row, and nothing in a clean landing."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import tests.planted.kuaishou_archives as make
from livealign.days import partition
from livealign.errors import LandingError
from livealign.landing.schema import TABLES
from livealign.landing.validate import validate_landing
from livealign.platforms.registry import land
from tests.planted.landing import DAYS, planted_rows
from tests.planted.landing_rows import at, write_landing


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    make.write_m3(folder / "a")
    land("kuailive_m3", folder / "a", folder / "l")
    return folder / "l"


@pytest.fixture
def landing(clean, tmp_path):
    return Path(shutil.copytree(clean, tmp_path / "l"))


def part(landing, table, day=make.DAY_ONE):
    return partition(landing, table, day)


def change(landing, table, column, row, value, day=make.DAY_ONE):
    """Put a value into one row of a landed file."""
    path = part(landing, table, day)
    rows = pq.read_table(path, partitioning=None)
    values = rows.column(column).to_pylist()
    values[row] = value
    field = rows.schema.field(column).with_nullable(True)
    rows = rows.set_column(rows.schema.get_field_index(column), field, pa.array(values, field.type))
    pq.write_table(rows, path)


def found(landing, check):
    return [problem for problem in validate_landing(landing) if problem.check == check]


def test_a_clean_landing_has_no_problem(landing):
    steps = []
    assert validate_landing(landing, lambda done, total: steps.append((done, total))) == []
    assert steps[-1][0] == steps[-1][1]


FAULTS = [
    [  # (table, column, row, value, the check that finds it)
        ("plays", "user_id", 0, None, "missing_value"),
        ("plays", "user_id", 1, -4, "id_out_of_range"),
        ("plays", "entered_at", 2, datetime(1999, 1, 21), "time_before_2000"),
        ("plays", "left_at", 3, datetime(2125, 1, 1), "time_in_future"),
        ("plays", "left_at", 4, datetime(2025, 5, 5), "negative_duration"),
        ("plays", "impression_id", 5, 12345, "unknown_impression"),
        ("comments", "author_id", 1, 999, "wrong_author"),
        ("comments", "room_id", 2, 4444, "unknown_room"),
        ("comments", "sent_at", 3, datetime(2025, 5, 5, 1), "outside_room"),
        ("gifts", "count", 1, 0, "not_positive"),
        ("gifts", "value", 0, -0.5, "negative_value"),
        ("content_vectors", "vector", 1, [float("inf")] * 128, "not_finite"),
        ("rooms", "title", 1, "x" * ((1 << 20) + 1), "text_too_long"),
    ],
    [
        ("plays", "user_id", 2, 999, "wrong_impression"),
        ("plays", "user_id", 2, 999, "unknown_user"),
        ("plays", "entered_at", 3, datetime(2025, 5, 6), "wrong_day"),
        ("comments", "author_id", 1, 999, "unknown_author"),
        ("gifts", "value", 1, float("nan"), "not_finite"),
        ("rooms", "started_at", 0, datetime(2025, 5, 5, 20), "negative_duration"),
    ],
]


@pytest.mark.parametrize("faults", FAULTS)
def test_planted_faults_are_found_at_their_file_and_row(landing, faults):
    for table, column, row, value, _ in faults:
        change(landing, table, column, row, value)
    problems = {(problem.check, problem.file): problem for problem in validate_landing(landing)}
    for table, _, row, _, check in faults:
        problem = problems[check, f"{table}/dt=2025-05-05/part-0.parquet"]
        assert (problem.table, problem.row) == (table, row + 1), check
        assert problem.detail


def test_an_impression_after_its_play_is_found(landing):
    play = pq.read_table(part(landing, "plays"), partitioning=None).to_pylist()[0]
    impressions = pq.read_table(part(landing, "impressions"), partitioning=None).column("impression_id").to_pylist()
    later = play["entered_at"] + timedelta(seconds=1)
    change(landing, "impressions", "shown_at", impressions.index(play["impression_id"]), later)
    (problem,) = found(landing, "shown_after_entered")
    assert (problem.table, problem.row) == ("plays", 1)


def test_a_key_that_comes_back_on_another_day_is_found(landing):
    first = pq.read_table(part(landing, "likes"), partitioning=None).column("action_id")[0].as_py()
    change(landing, "likes", "action_id", 0, first, make.DAY_TWO)
    (problem,) = found(landing, "duplicate_key")
    assert (problem.file, problem.row) == ("likes/dt=2025-05-06/part-0.parquet", 1)


def test_durations_in_seconds_are_noticed(tmp_path):
    world = make.small_world()
    room = world.rooms[0]
    world.plays = [(101, room.live_id, room.start + i * 1_000, room.start + i * 1_000 + 60) for i in range(60)]  # 60 s as 60 ms
    make.write_kuailive(tmp_path / "a", world)
    land("kuailive", tmp_path / "a", tmp_path / "l")
    (problem,) = found(tmp_path / "l", "unit_of_duration")
    assert "median from entered_at to left_at is 60 ms" in problem.detail


def test_dates_in_place_of_times_are_noticed(landing):
    path = part(landing, "comments")
    rows = pq.read_table(path, partitioning=None).take(pa.array([0] * 40))
    index = rows.schema.get_field_index("sent_at")
    midnight = pc.floor_temporal(rows.column("sent_at"), unit="day")
    pq.write_table(rows.set_column(index, rows.schema.field("sent_at"), midnight), path)
    assert found(landing, "times_are_dates")


def test_missing_damaged_and_foreign_files_are_named(landing):
    part(landing, "frames").unlink()
    part(landing, "speech").write_bytes(b"PAR1")
    pq.write_table(pa.table({"room_id": ["a"]}), part(landing, "follows"))
    pq.write_table(TABLES["shares"].schema.empty_table().drop_columns(["at"]), part(landing, "shares"))
    (part(landing, "likes").parent / "part-1.parquet").write_bytes(b"")
    part(landing, "ledger", make.DAY_TWO).unlink()
    problems = {(problem.table, problem.check) for problem in validate_landing(landing)}
    assert {
        ("frames", "missing_file"),
        ("speech", "unreadable_file"),
        ("shares", "missing_column"),
        ("likes", "unknown_file"),
        ("ledger", "missing_file"),
    } <= problems
    assert ("follows", "missing_column") in problems or ("follows", "wrong_type") in problems


def test_days_landed_before_a_column_was_added_may_lack_it(landing):
    path = part(landing, "lists")
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["language", "country"]), path)
    assert [problem for problem in validate_landing(landing) if problem.table == "lists"] == []


def test_rows_that_vanished_show_in_the_ledger(landing):
    path = part(landing, "likes")
    pq.write_table(pq.read_table(path, partitioning=None).slice(1), path)
    (problem,) = found(landing, "not_conserved")
    assert "likes: the ledger says" in problem.detail


def test_a_folder_without_a_landed_day_is_refused(tmp_path):
    with pytest.raises(LandingError, match="no landed day"):
        validate_landing(tmp_path)


@pytest.mark.parametrize(
    ("number", "unit"),
    [(1_746_446_400, "seconds"), (1_746_446_400_000_000, "microseconds"), (1_746_446_400_000_000_000, "nanoseconds")],
)
def test_times_of_a_landing_in_another_unit_are_named(landing, number, unit):
    path = part(landing, "likes")
    rows = pq.read_table(path, partitioning=None)
    times = pa.array([number] * len(rows), pa.int64()).cast(pa.timestamp("ms"))
    pq.write_table(rows.set_column(rows.schema.get_field_index("at"), rows.schema.field("at"), times), path)
    (problem,) = found(landing, "wrong_time_unit")
    assert (problem.severity, problem.file) == ("error", "likes/dt=2025-05-05/part-0.parquet")
    assert f"looks like {unit}" in problem.detail


def test_a_landing_of_nothing_is_an_error(landing):
    for file in landing.glob("*/dt=*/part-0.parquet"):
        rows = pq.read_table(file, partitioning=None)
        pq.write_table(rows.schema.empty_table(), file)
    assert [problem.severity for problem in found(landing, "empty_landing")] == ["error"]


def test_a_table_of_which_all_was_rejected_is_an_error(tmp_path):
    make.write_kuailive(tmp_path / "a")
    make.rewrite(tmp_path / "a" / "like.csv", lambda text: "\n".join(line.replace("17", "7") for line in text.splitlines()))
    land("kuailive", tmp_path / "a", tmp_path / "l")
    (problem,) = found(tmp_path / "l", "all_rejected")
    assert (problem.severity, problem.table) == ("error", "likes")
    assert "100.0% of the rows of likes were rejected" in problem.detail


def test_an_inferred_list_without_its_play_is_an_error(tmp_path):
    rows = planted_rows()
    seen = {"author_id": 10, "room_id": 1, "surface": "inferred", "shown_at": at("01 12:05:00"), "user_id": 1}
    rows["impressions"] = [
        *rows["impressions"],
        *({"impression_id": 90 + n, "request_id": "played", **seen} for n in range(3)),
        *({"impression_id": 95 + n, "request_id": "lost", **seen} for n in range(2)),
    ]
    play = {"play_id": 90, "user_id": 1, "author_id": 10, "room_id": 1, "impression_id": 91, "entered_at": at("01 12:05:01")}
    rows["plays"] = [*rows["plays"], play]
    write_landing(tmp_path, DAYS, rows)
    (problem,) = found(tmp_path, "inferred_without_play")
    assert (problem.severity, problem.table, problem.count) == ("error", "impressions", 2)
