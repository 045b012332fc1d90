"""Publishing what dbt has built: days appear whole, stay as they were tested, and are read back."""

from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livealign.dataset.marts import MARTS, built_days, publish_marts, read_mart
from livealign.days import partition
from livealign.errors import LiveAlignError, MartError

DAYS = [date(2025, 6, day) for day in (1, 2, 3)]


def build(tables: Path, mart: str, day: date, *ids: int) -> Path:
    """As dbt does: a file beside, then a rename."""
    path = partition(tables, mart, day)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name("tmp")
    pq.write_table(
        pa.table({"segment_id": pa.array(ids, pa.int64()), "dt": pa.array([day] * len(ids), pa.date32())}), temporary
    )
    temporary.rename(path)
    return path


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Two rows a day of every mart; the third day is empty."""
    for mart in MARTS:
        for day in DAYS:
            build(tmp_path / "tables", mart, day, *((day.day * 10 + n for n in (1, 2)) if day.day < 3 else ()))
    return tmp_path / "tables"


def test_every_built_day_is_published_once_and_takes_no_space_of_its_own(tables: Path, tmp_path: Path) -> None:
    marts = tmp_path / "marts"
    assert publish_marts(tables, marts) == dict.fromkeys(MARTS, 4)
    assert publish_marts(tables, marts) == dict.fromkeys(MARTS, 0)
    files = list(marts.rglob("*.parquet"))
    assert len(files) == len(MARTS) * len(DAYS)
    assert all(path.samefile(tables / path.relative_to(marts)) for path in files)
    assert built_days(marts, "segments") == DAYS


def test_a_published_day_stays_as_it_is_until_the_next_one_is_published(tables: Path, tmp_path: Path) -> None:
    marts = tmp_path / "marts"
    publish_marts(tables, marts)
    build(tables, "segments", DAYS[0], 99)
    assert read_mart(marts, "segments", DAYS[:1])["segment_id"].to_pylist() == [11, 12]
    assert publish_marts(tables, marts) == {**dict.fromkeys(MARTS, 0), "segments": 1}
    assert read_mart(marts, "segments", DAYS[:1])["segment_id"].to_pylist() == [99]


def test_what_a_killed_publication_left_behind_is_in_nobodys_way(tables: Path, tmp_path: Path) -> None:
    marts = tmp_path / "marts"
    publish_marts(tables, marts)
    build(tables, "rooms", DAYS[0], 99)
    for name in (".tmp-part-0.parquet.1", ".tmp-part-0.parquet.2"):
        (marts / "rooms" / f"dt={DAYS[0]}" / name).write_bytes(b"half a file")
    publish_marts(tables, marts)
    assert read_mart(marts, "rooms", DAYS)["segment_id"].to_pylist() == [99, 21, 22]


def test_marts_are_read_day_by_day(tables: Path, tmp_path: Path) -> None:
    marts = tmp_path / "marts"
    publish_marts(tables, marts)
    table = read_mart(marts, "segments", [DAYS[1], DAYS[0], DAYS[2]], ["segment_id", "dt"])
    assert table.to_pydict() == {"segment_id": [21, 22, 11, 12], "dt": [DAYS[1]] * 2 + [DAYS[0]] * 2}
    with pytest.raises(MartError, match=r"dt=2025-06-04/part-0\.parquet is missing; build the warehouse for 2025-06-04"):
        read_mart(marts, "segments", [DAYS[2] + timedelta(days=1)])
    with pytest.raises(MartError, match="were asked for"):
        read_mart(marts, "segments", [])
    with pytest.raises(MartError, match=r"part-0\.parquet lacks \['score'\]; it was built by other code: build the warehouse"):
        read_mart(marts, "segments", DAYS[:1], ["segment_id", "score"])
    partition(marts, "segments", DAYS[0]).write_bytes(b"PAR1 torn")
    with pytest.raises(
        MartError, match=r"2025-06-01/part-0\.parquet cannot be read .* build the warehouse for 2025-06-01 again"
    ):
        read_mart(marts, "segments", DAYS)


def test_marts_that_were_not_built_are_an_error_that_says_what_to_do(tables: Path, tmp_path: Path) -> None:
    for file in (tables / "rooms").rglob("*.parquet"):
        file.unlink()
    with pytest.raises(LiveAlignError, match="rooms has no days; build the warehouse first"):
        publish_marts(tables, tmp_path / "marts")
