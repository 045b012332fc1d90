"""The export of marts to Parquet, on a small warehouse made by hand."""

import itertools
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livealign.errors import LiveAlignError
from livealign.marts import export_marts, read_mart

DAYS = [date(2025, 6, day) for day in (1, 2, 3, 4)]
MADE = ("segments", "user_histories", "users_daily")


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three marts with two rows a day, last row first; day 3 is empty in `segments`."""
    path = tmp_path_factory.mktemp("marts") / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema marts")
        connection.execute('create table marts.segments (segment_id bigint, dt date, room_id bigint, "window" bigint)')
        connection.execute("create table marts.users_daily (user_id bigint, dt date, clicks bigint)")
        connection.execute(
            "create table marts.user_histories (impression_id bigint, dt date, history_engaged_at timestamp[], "
            "history_author_ids bigint[])"
        )
        for day, n in itertools.product(DAYS, (2, 1)):
            connection.execute("insert into marts.users_daily values (?, ?, ?)", [n, day, 10 * n])
            connection.execute("insert into marts.user_histories values (?, ?, ?, ?)", [n, day, [datetime(2025, 6, 1)], [n]])
            if day != DAYS[2]:
                connection.execute("insert into marts.segments values (?, ?, ?, ?)", [100 * day.day + n, day, 7, n])
    return path


def exported(marts: Path) -> dict[str, list[int]]:
    return {
        mart.name: sorted(date.fromisoformat(day.name.removeprefix("dt=")).day for day in mart.iterdir())
        for mart in marts.iterdir()
    }


def test_a_day_is_one_file_ordered_by_key(warehouse: Path, tmp_path: Path) -> None:
    written = export_marts(warehouse, tmp_path / "marts", [DAYS[0]], ["segments"])
    assert written == {"segments": 4}  # the day, and the next one, which looks back on it
    table = pq.read_table(tmp_path / "marts/segments/dt=2025-06-01/part-0.parquet", partitioning=None)
    assert table.to_pydict() == {"segment_id": [101, 102], "dt": [DAYS[0]] * 2, "room_id": [7, 7], "window": [1, 2]}


def test_the_day_before_and_what_depends_on_the_days_are_written_too(warehouse: Path, tmp_path: Path) -> None:
    export_marts(warehouse, tmp_path / "marts", [DAYS[1]], MADE)
    assert exported(tmp_path / "marts") == {"segments": [1, 2, 3], "user_histories": [1, 2, 3, 4], "users_daily": [1, 2, 3, 4]}
    export_marts(warehouse, tmp_path / "last", [DAYS[3]], MADE)
    assert exported(tmp_path / "last") == {mart: [3, 4] for mart in MADE}


def test_an_empty_day_keeps_the_schema(warehouse: Path, tmp_path: Path) -> None:
    export_marts(warehouse, tmp_path / "marts", DAYS, MADE)
    empty = pq.read_table(tmp_path / "marts/segments/dt=2025-06-03/part-0.parquet", partitioning=None)
    assert empty.num_rows == 0
    assert empty.schema.names == ["segment_id", "dt", "room_id", "window"]
    before_any = export_marts(warehouse, tmp_path / "marts", [date(2025, 5, 1)], ["user_histories"])
    assert before_any == {"user_histories": 8}
    none = pq.read_schema(tmp_path / "marts/user_histories/dt=2025-05-01/part-0.parquet")
    assert none.field("history_author_ids").type == pa.list_(pa.int64())
    assert none.field("history_engaged_at").type == pa.list_(pa.timestamp("us"))


def test_the_same_warehouse_gives_the_same_bytes_and_leaves_no_temporary_file(warehouse: Path, tmp_path: Path) -> None:
    for _ in range(2):
        export_marts(warehouse, tmp_path / "marts", DAYS, MADE)
        export_marts(warehouse, tmp_path / "again", DAYS, MADE)
    files = sorted(path.relative_to(tmp_path / "marts") for path in (tmp_path / "marts").rglob("*") if path.is_file())
    assert {path.name for path in files} == {"part-0.parquet"}
    assert len(files) == 12
    for path in files:
        assert (tmp_path / "marts" / path).read_bytes() == (tmp_path / "again" / path).read_bytes()


def test_marts_are_read_day_by_day(warehouse: Path, tmp_path: Path) -> None:
    export_marts(warehouse, tmp_path / "marts", DAYS, MADE)
    table = read_mart(tmp_path / "marts", "segments", [DAYS[1], DAYS[0], DAYS[2]], ["segment_id", "dt"])
    assert table.to_pydict() == {"segment_id": [201, 202, 101, 102], "dt": [DAYS[1]] * 2 + [DAYS[0]] * 2}
    with pytest.raises(LiveAlignError, match=r"dt=2025-06-05/part-0\.parquet is missing; build the warehouse for 2025-06-05"):
        read_mart(tmp_path / "marts", "segments", [DAYS[3] + timedelta(days=1)])


def test_what_cannot_be_exported_is_an_error_that_says_what_to_do(warehouse: Path, tmp_path: Path) -> None:
    with pytest.raises(LiveAlignError, match="is missing; build the warehouse first"):
        export_marts(tmp_path / "none.duckdb", tmp_path / "marts", DAYS)
    with pytest.raises(LiveAlignError, match="has no mart 'rooms'; build the warehouse first"):
        export_marts(warehouse, tmp_path / "marts", DAYS, ["rooms"])
    with pytest.raises(LiveAlignError, match="there is no mart 'people'"):
        export_marts(warehouse, tmp_path / "marts", DAYS, ["people"])
    broken = tmp_path / "broken.duckdb"
    broken.write_bytes(b"not a database" * 1_000)
    with pytest.raises(LiveAlignError, match="cannot be read"):
        export_marts(broken, tmp_path / "marts", DAYS)


def test_a_warehouse_that_is_being_written_is_an_error(warehouse: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(warehouse)), pytest.raises(LiveAlignError, match="cannot be read"):
        export_marts(warehouse, tmp_path / "marts", DAYS)
