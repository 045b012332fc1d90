"""Landing: every row lands or is rejected with a reason, and a run changes all of its days or nothing."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livealign.days import midnight, partition
from livealign.errors import LandingError
from livealign.landing import partitions as landing_files
from livealign.landing import run as landing
from livealign.landing.books import REJECTS
from livealign.landing.partitions import landed_days
from livealign.landing.run import LandingRun
from livealign.landing.schema import TABLES, Table

DAY, NEXT = date(2025, 5, 5), date(2025, 5, 6)
NOW = datetime(2025, 6, 1)
NOON = midnight(DAY) + 12 * 3_600_000


def likes(rows: int, start: int = 0, at: int = NOON) -> pa.Table:
    numbers = np.arange(start, start + rows)
    columns = {"action_id": numbers, "user_id": numbers % 7, "author_id": numbers % 3, "room_id": numbers % 5}
    return pa.table({**columns, "at": at + numbers, "count": np.ones(rows, np.int32)})


def like(**changes: Any) -> pa.Table:
    row: dict[str, Any] = {"action_id": 1, "user_id": 1, "author_id": 1, "room_id": 1, "at": NOON, "count": 1}
    return pa.table({name: [value] for name, value in (row | changes).items()})


def land(root: Path, *batches: tuple[str, pa.Table, str], days: tuple[date, ...] = (DAY,)) -> LandingRun:
    with LandingRun(root, days, NOW) as run:
        for name, rows, file in batches:
            run.add(name, rows, file)
    return run


def read(root: Path, name: str, day: date = DAY) -> pa.Table:
    return pq.ParquetFile(partition(root, name, day)).read()


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob("**/*.parquet"))}


def test_a_landed_day_has_every_table_with_the_contracts_schema(tmp_path: Path) -> None:
    land(tmp_path, ("likes", likes(3), "likes.csv"), days=(DAY, NEXT))
    for day in (DAY, NEXT):
        for name, table in TABLES.items():
            assert read(tmp_path, name, day).schema == table.schema
            assert read(tmp_path, f"rejects/{name}", day).schema == REJECTS
    assert read(tmp_path, "likes").num_rows == 3
    assert landed_days(tmp_path) == [DAY, NEXT]


def test_rows_go_to_their_day_and_other_days_are_not_read(tmp_path: Path) -> None:
    rows = pa.concat_tables([likes(2), likes(3, 10, at=midnight(NEXT)), likes(4, 20, at=midnight(date(2025, 5, 7)))])
    run = land(tmp_path, ("likes", rows, "f"), days=(DAY, NEXT))
    assert [read(tmp_path, "likes", day).num_rows for day in (DAY, NEXT)] == [2, 3]
    assert run.summary.tables["likes"].read == 5


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (like(user_id="abc"), "wrong_type"),
        (like(user_id=str(2**63)), "wrong_type"),
        (like(user_id=1.5), "wrong_type"),
        (like(user_id=True), "wrong_type"),
        (like(user_id=float("nan")), "not_finite"),
        (like(user_id=float("inf")), "not_finite"),
        (like(user_id=None), "missing_value"),
        (like(user_id=-3), "id_out_of_range"),
        (like(at=NOON // 1_000), "wrong_time_unit"),
        (like(at=NOON * 1_000), "wrong_time_unit"),
        (like(at="yesterday"), "wrong_type"),
        (like(count=0), "not_positive"),
        (like(count=2**31), "wrong_type"),
        (like().drop_columns(["room_id"]), "missing_column"),
    ],
)
def test_a_row_that_does_not_fit_is_rejected_with_file_line_and_reason(tmp_path: Path, rows: pa.Table, reason: str) -> None:
    with LandingRun(tmp_path, [DAY], NOW) as run:
        run.add("likes", rows, "likes.csv", first_line=7)
    [reject] = read(tmp_path, "rejects/likes").to_pylist()
    assert (reject["table"], reject["file"], reject["line"], reject["reason"]) == ("likes", "likes.csv", 7, reason)
    assert json.loads(reject["row"]).keys() == set(rows.schema.names)
    assert run.summary.tables["likes"].reasons == Counter({reason: 1})


def test_one_bad_row_does_not_spoil_its_batch(tmp_path: Path) -> None:
    rows = likes(1_000)
    texts = [str(value) for value in rows.column("user_id").to_pylist()]
    texts[123], texts[777] = "x", str(10**30)
    run = land(tmp_path, ("likes", rows.set_column(1, "user_id", pa.array(texts)), "f"))
    assert run.summary.tables["likes"].landed == 998
    assert read(tmp_path, "rejects/likes").column("line").to_pylist() == [124, 778]


def test_values_convert_where_nothing_is_lost(tmp_path: Path) -> None:
    at = datetime(2025, 5, 5, 12, 0, 0, 123456)
    zoned = pa.array([at], pa.timestamp("us", tz="Asia/Shanghai"))
    rows = like(user_id="12", author_id=3.0).set_column(4, "at", zoned)
    land(tmp_path, ("likes", rows, "f"))
    [row] = read(tmp_path, "likes").to_pylist()
    assert (row["user_id"], row["author_id"], row["at"]) == (12, 3, datetime(2025, 5, 5, 12, 0, 0, 123000))


def test_ends_before_starts_and_wild_vectors_are_rejected(tmp_path: Path) -> None:
    play = {"play_id": 1, "user_id": 1, "author_id": 1, "room_id": 1, "entered_at": NOON, "left_at": NOON - 1}
    vectors = {
        "room_id": [1, 2, 3],
        "ended_at": [NOON] * 3,
        "source": ["s"] * 3,
        "vector": [[1.0], [float("nan")], [1.0, None]],
    }
    run = land(tmp_path, ("plays", pa.Table.from_pylist([play]), "p"), ("content_vectors", pa.table(vectors), "v"))
    assert run.summary.tables["plays"].reasons == Counter(negative_duration=1)
    assert run.summary.tables["content_vectors"].reasons == Counter(not_finite=1, missing_value=1)
    assert run.summary.tables["content_vectors"].landed == 1


def test_text_that_is_not_utf8_or_far_too_long_is_rejected(tmp_path: Path) -> None:
    texts = pa.array([b"ok", b"\xff\xfe", b"x" * (1 << 21)], pa.binary())
    unchecked = pa.Array.from_buffers(pa.string(), 3, texts.buffers())  # as Parquet readers hand it over
    rows = {"comment_id": [1, 2, 3], "user_id": [1] * 3, "author_id": [1] * 3, "room_id": [1] * 3, "sent_at": [NOON] * 3}
    run = land(tmp_path, ("comments", pa.table({**rows, "text": unchecked, "is_bot": [False] * 3}), "f"))
    assert run.summary.tables["comments"].reasons == Counter(wrong_type=1, text_too_long=1)
    assert max(len(row) for row in read(tmp_path, "rejects/comments").column("row").to_pylist()) < 2_000


def test_an_unknown_field_is_a_warning_once_for_each_file(tmp_path: Path) -> None:
    rows = likes(2).append_column("mood", pa.array(["a", "b"]))
    run = land(tmp_path, ("likes", rows, "f"), ("likes", likes(2, 5).append_column("mood", pa.array([1, 2])), "f"))
    table = run.summary.tables["likes"]
    assert (table.read, table.landed, table.rejected, table.warnings) == (4, 4, 0, Counter(unknown_field=1))
    [reject] = read(tmp_path, "rejects/likes").to_pylist()
    assert (reject["line"], reject["reason"], reject["detail"]) == (0, "unknown_field", "mood")


def test_of_duplicates_the_first_by_file_and_line_stays(tmp_path: Path) -> None:
    run = land(tmp_path, ("likes", like(user_id=3), "b"), ("likes", pa.concat_tables([like(user_id=2), like(user_id=4)]), "a"))
    assert read(tmp_path, "likes").column("user_id").to_pylist() == [2]
    rejects = read(tmp_path, "rejects/likes").to_pylist()
    assert sorted((row["file"], row["line"], row["reason"]) for row in rejects) == [
        ("a", 2, "duplicate_key"),
        ("b", 1, "duplicate_key"),
    ]
    assert (run.summary.read, run.summary.landed, run.summary.rejected) == (3, 1, 2)


def test_rows_out_of_order_and_split_otherwise_give_the_same_bytes(tmp_path: Path) -> None:
    rows = likes(500)
    land(tmp_path / "a", ("likes", rows, "f"))
    shuffled = rows.take(np.random.default_rng(0).permutation(500))
    land(tmp_path / "b", ("likes", shuffled.slice(0, 77), "f"), ("likes", shuffled.slice(77), "f"))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert read(tmp_path / "a", "likes").equals(rows.cast(TABLES["likes"].schema))


def test_spilling_and_slicing_change_nothing_but_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landing_files, "ROW_GROUP", 64)
    batches = [("likes", likes(100, 90 * i, at=NOON - 1_000 * i), f"f{i}") for i in range(20)]
    land(tmp_path / "a", *batches, days=(DAY, NEXT))
    monkeypatch.setattr(landing, "Spool", partial(landing_files.Spool, budget=10_000))
    monkeypatch.setattr(landing_files, "SLICE_BYTES", 10_000)
    run = land(tmp_path / "b", *batches, days=(DAY, NEXT))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert run.summary.tables["likes"].reasons == Counter(duplicate_key=190)


def test_partitions_written_at_the_same_time_are_those_written_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "Spool", partial(landing_files.Spool, budget=10_000))
    times = {day: midnight(day) + 3_600_000 for day in (DAY, NEXT)}
    batches = [
        (table, likes(100, 90 * i, at=at), f"{table}{i}")
        for table in ("likes", "gifts")
        for at in times.values()
        for i in range(10)
    ]
    summaries = []
    for writers in (1, 4):
        monkeypatch.setattr(landing, "_WRITERS", writers)
        summaries.append(land(tmp_path / str(writers), *batches, days=(DAY, NEXT)).summary)
    assert contents(tmp_path / "1") == contents(tmp_path / "4")
    assert summaries[0] == summaries[1]
    assert summaries[0].reasons == Counter(duplicate_key=2 * 2 * 90)


def test_a_partition_that_cannot_be_written_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    land(tmp_path, ("likes", likes(5), "f"))
    before = contents(tmp_path)

    def full_disk(table: Table, *_: Any) -> Iterator[pa.Table]:
        raise OSError(28, "No space left on device", table.name)

    monkeypatch.setattr(landing, "write_partition", full_disk)
    with pytest.raises(OSError, match="No space left"):
        land(tmp_path, ("likes", likes(9), "f"))
    assert contents(tmp_path) == before
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_rerun_replaces_the_day_and_leaves_others(tmp_path: Path) -> None:
    land(tmp_path, ("likes", likes(5), "f"))
    land(tmp_path, ("likes", likes(4, 50, at=midnight(NEXT)), "f"), days=(NEXT,))
    (tmp_path / "likes" / f"dt={DAY}" / "part-1.parquet").write_bytes(b"stale")
    land(tmp_path, ("likes", likes(2), "f"))
    assert [read(tmp_path, "likes", day).num_rows for day in (DAY, NEXT)] == [2, 4]
    assert len(list((tmp_path / "likes" / f"dt={DAY}").iterdir())) == 1


def test_a_failed_run_changes_nothing(tmp_path: Path) -> None:
    land(tmp_path, ("likes", likes(5), "f"))
    before = contents(tmp_path)
    with pytest.raises(LandingError, match="no landing table"):
        land(tmp_path, ("likes", likes(9), "f"), ("cats", likes(9), "f"))
    assert contents(tmp_path) == before
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_killed_run_leaves_the_old_day_and_its_rest_is_removed(tmp_path: Path) -> None:
    land(tmp_path, ("likes", likes(5), "f"))
    before = contents(tmp_path)
    program = (
        "import os, sys, datetime, pathlib\n"
        "from livealign.landing.run import LandingRun\n"
        "with LandingRun(pathlib.Path(sys.argv[1]), [datetime.date(2025, 5, 5)]) as run: os._exit(9)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(landing.__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], env=environment, check=False).returncode == 9
    assert len(list(tmp_path.glob(".tmp-*"))) == 1
    assert contents(tmp_path) == before
    with LandingRun(tmp_path, [NEXT], NOW), LandingRun(tmp_path, [date(2025, 5, 7)], NOW):
        assert len(list(tmp_path.glob(".tmp-*"))) == 2  # those of the living
    assert landed_days(tmp_path) == [DAY, NEXT, date(2025, 5, 7)]


@pytest.mark.parametrize("moved", [0, 1, 9, 26])
def test_a_run_killed_while_publishing_is_finished_by_the_next(
    tmp_path: Path, moved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(tmp_path / "whole", ("likes", likes(9), "f"))
    land(tmp_path / "cut", ("likes", likes(5), "f"))
    replace, calls = Path.replace, []

    def stop_after_some(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) > moved:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", stop_after_some)
    with pytest.raises(KeyboardInterrupt):
        land(tmp_path / "cut", ("likes", likes(9), "f"))
    monkeypatch.undo()
    assert landed_days(tmp_path / "cut") == []  # half old, half new: not complete
    landing_files.recover(tmp_path / "cut")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    assert landed_days(tmp_path / "cut") == [DAY]


def test_mistakes_of_an_adapter_are_named(tmp_path: Path) -> None:
    with pytest.raises(LandingError, match="at least one day"):
        LandingRun(tmp_path, [])
    with LandingRun(tmp_path, [DAY], NOW) as run:
        with pytest.raises(LandingError, match="no landing table 'cats'"):
            run.add("cats", likes(1), "f")
        with pytest.raises(LandingError, match="3 rows of likes were given with 2 lines"):
            run.add("likes", likes(3), "f", lines=[1, 2])
