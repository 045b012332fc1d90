"""The adapter of simulated archives: clean ones land whole, damaged ones end in rejects with file, line and reason."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livealign.days import partition
from livealign.errors import ArchiveError
from livealign.landing.run import LandingRun
from livealign.landing.schema import TABLES
from livealign.landing.summary import LandingSummary
from livealign.platforms import registry as platforms
from livealign.platforms import simulator
from livealign.simulation.archive import simulate
from livealign.simulation.config import SimulationConfig

DAYS = [date(2025, 6, 2), date(2025, 6, 3), date(2025, 6, 4)]
FIRST = f"dt={DAYS[0]}"


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(SimulationConfig.tiny(), tmp_path_factory.mktemp("simulator") / "archive").out


@pytest.fixture
def archive(clean: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return shutil.copytree(clean, tmp_path / "archive")


def land(archive: Path, landing: Path, days: list[date] = DAYS) -> LandingSummary:
    with LandingRun(landing, days) as run:
        simulator.land_days(archive, run, days)
    for table in run.summary.tables.values():
        assert table.landed + table.rejected == table.read
        assert sum(table.reasons.values()) == table.rejected
    return run.summary


def rejects(landing: Path, table: str, day: date = DAYS[0]) -> list[dict]:
    return pq.ParquetFile(partition(landing / "rejects", table, day)).read().to_pylist()


def rows_in(archive: Path) -> int:
    return sum(sum(day.values()) for day in json.loads((archive / "simulator.json").read_text())["rows"].values())


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.ParquetFile(path).read()), path)


def with_value(table: pa.Table, column: str, row: int, value: object) -> pa.Table:
    values = table.column(column).to_pylist()
    values[row] = value
    return table.set_column(table.schema.get_field_index(column), column, pa.array(values))


def test_a_clean_archive_lands_whole(clean: Path, tmp_path: Path) -> None:
    assert simulator.archive_days(clean) == DAYS
    summary = land(clean, tmp_path)
    assert (summary.read, summary.landed, summary.rejected) == (rows_in(clean), rows_in(clean), 0)
    landed = pq.ParquetFile(tmp_path / "speech" / FIRST / "part-0.parquet").read()
    assert landed.sort_by("speech_id").equals(pq.ParquetFile(clean / FIRST / "speech.parquet").read().sort_by("speech_id"))


def test_only_the_days_asked_for_land(clean: Path, tmp_path: Path) -> None:
    summary = land(clean, tmp_path, DAYS[1:2])
    counts = json.loads((clean / "simulator.json").read_text())["rows"][str(DAYS[1])]
    assert summary.landed == sum(counts.values())


def test_landing_never_opens_the_truth(archive: Path, tmp_path: Path) -> None:
    shutil.rmtree(archive / "truth")
    assert land(archive, tmp_path / "landing").rejected == 0


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.99])
def test_a_truncated_file_is_one_reject_that_names_it(archive: Path, tmp_path: Path, kept: float) -> None:
    path = archive / FIRST / "comments.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    summary = land(archive, tmp_path / "landing")
    assert summary.reasons == Counter(unreadable_file=1)
    (reject,) = rejects(tmp_path / "landing", "comments")
    assert (reject["file"], reject["line"]) == (f"{FIRST}/comments.parquet", 0)
    assert summary.tables["comments"].landed > 0  # the other days


def test_damage_inside_a_file_never_crashes(archive: Path, tmp_path: Path) -> None:
    path = archive / FIRST / "impressions.parquet"
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(5)
    for attempt in range(6):
        damaged = bytearray(content)
        for place in rng.integers(4, len(content) - 8, size=20):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        land(archive, tmp_path / f"landing{attempt}", DAYS[:1])


def test_a_missing_file_that_the_manifest_promises_is_a_reject(archive: Path, tmp_path: Path) -> None:
    (archive / FIRST / "plays.parquet").unlink()
    assert land(archive, tmp_path / "landing").reasons == Counter(missing_file=1)
    shutil.rmtree(archive / FIRST)
    assert simulator.archive_days(archive) == DAYS[1:]
    promised = json.loads((archive / "simulator.json").read_text())["rows"][str(DAYS[0])]
    reasons = land(archive, tmp_path / "landing").reasons
    assert reasons == Counter(missing_file=sum(count > 0 for count in promised.values()))


def test_an_empty_day_is_a_day(archive: Path, tmp_path: Path) -> None:
    empty = date(2025, 6, 5)
    (archive / f"dt={empty}").mkdir()
    assert simulator.archive_days(archive) == [*DAYS, empty]
    assert land(archive, tmp_path / "landing", [empty]).read == 0
    assert pq.ParquetFile(partition(tmp_path / "landing", "rooms", empty)).metadata.num_rows == 0


def test_a_missing_column_rejects_every_row_of_the_file(archive: Path, tmp_path: Path) -> None:
    path = archive / FIRST / "likes.parquet"
    count = pq.ParquetFile(path).metadata.num_rows
    rewrite(path, lambda table: table.drop_columns(["at"]))
    assert land(archive, tmp_path / "landing").reasons == Counter(missing_column=count)


def test_an_unknown_column_is_told_and_the_rest_lands(archive: Path, tmp_path: Path) -> None:
    path = archive / FIRST / "gifts.parquet"
    rewrite(path, lambda table: table.append_column("mood", pa.repeat("good", len(table))))
    summary = land(archive, tmp_path / "landing")
    assert summary.rejected == 0
    assert [reject["reason"] for reject in rejects(tmp_path / "landing", "gifts")] == ["unknown_field"]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("shown_at", datetime(1999, 12, 31), "time_before_2000"),
        ("shown_at", datetime(2970, 1, 1), "time_in_future"),
        ("shown_at", datetime(2025, 6, 3, 12), "wrong_day"),
        ("shown_at", None, "missing_value"),
        ("user_id", -4, "id_out_of_range"),
        ("position", 2**40, "wrong_type"),
        ("score", float("nan"), "not_finite"),
    ],
)
def test_a_row_that_does_not_fit_is_rejected_alone(
    archive: Path, tmp_path: Path, column: str, value: object, reason: str
) -> None:
    rewrite(archive / FIRST / "impressions.parquet", lambda table: with_value(table, column, 6, value))
    summary = land(archive, tmp_path / "landing")
    assert (summary.reasons, summary.read) == (Counter({reason: 1}), rows_in(archive))
    (reject,) = rejects(tmp_path / "landing", "impressions")
    assert (reject["file"], reject["line"]) == (f"{FIRST}/impressions.parquet", 7)


def test_columns_of_another_type_are_rejected_or_converted(archive: Path, tmp_path: Path) -> None:
    path = archive / FIRST / "shares.parquet"
    count = pq.ParquetFile(path).metadata.num_rows
    words = pa.repeat("tomorrow", count)
    rewrite(path, lambda table: table.set_column(table.schema.get_field_index("at"), "at", words))
    assert land(archive, tmp_path / "landing").reasons == Counter(wrong_type=count)


def test_duplicates_are_rejected_and_order_does_not_matter(archive: Path, tmp_path: Path) -> None:
    path = archive / FIRST / "follows.parquet"
    rewrite(path, lambda table: pa.concat_tables([table, table.slice(0, 2)]).take(list(range(len(table) + 1, -1, -1))))
    summary = land(archive, tmp_path / "landing")
    assert summary.reasons == Counter(duplicate_key=2)
    assert summary.landed == rows_in(archive)


def test_a_file_that_is_no_table_is_named(archive: Path, tmp_path: Path) -> None:
    (archive / FIRST / "diary.parquet").write_bytes(b"dear diary")
    (archive / FIRST / "notes.txt").write_text("hello")
    summary = platforms.land("simulator", archive, tmp_path / "landing")
    assert summary.not_read == [f"{FIRST}/diary.parquet", f"{FIRST}/notes.txt"]
    assert (summary.landed, summary.rejected) == (rows_in(archive), 0)


def test_only_an_archive_that_was_simulated_is_to_be_simulated_again(archive: Path, tmp_path: Path) -> None:
    path = archive / FIRST / "comments.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    land(archive, tmp_path / "landing", DAYS[:1])
    (reject,) = rejects(tmp_path / "landing", "comments")
    assert "livealign simulate" in reject["detail"]
    (archive / "simulator.json").write_text(json.dumps({"format": 1}))
    land(archive, tmp_path / "landing", DAYS[:1])
    (reject,) = rejects(tmp_path / "landing", "comments")
    assert "fetch the file again" in reject["detail"]
    assert "livealign simulate" not in reject["detail"]


def test_parts_below_the_tables_land_from_an_archive_with_a_manifest(archive: Path, tmp_path: Path) -> None:
    """As Spark lays tables out, and as the engines write folders of parts."""
    for name in TABLES:
        for day in DAYS:
            path = archive / f"dt={day}" / f"{name}.parquet"
            if path.exists():
                part = archive / name / f"dt={day}" / "part-00000-aaaa1111.c000.snappy.parquet"
                part.parent.mkdir(parents=True)
                path.rename(part)
    for day in DAYS:
        (archive / f"dt={day}").rmdir()
    assert simulator.archive_days(archive) == DAYS
    assert land(archive, tmp_path / "landing").landed == rows_in(archive)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"format": 7}', b"\xff\xfe", b"[" * 100_000])
def test_a_folder_without_a_good_manifest_is_an_error_that_names_it(archive: Path, content: bytes | None) -> None:
    path = archive / "simulator.json"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"simulator\.json.*(give its folder|fetch the file again)"):
        simulator.archive_days(archive)


def test_strange_row_counts_in_the_manifest_do_no_harm(archive: Path, tmp_path: Path) -> None:
    (archive / "simulator.json").write_text(json.dumps({"format": 1, "rows": {str(DAYS[0]): {"rooms": "many"}, "x": 3}}))
    assert land(archive, tmp_path / "landing").rejected == 0


def test_a_folder_of_an_impossible_day_is_an_error_that_names_it(archive: Path) -> None:
    (archive / "dt=2025-13-99").mkdir()
    with pytest.raises(ArchiveError, match="dt=2025-13-99"):
        simulator.archive_days(archive)


def test_every_table_that_the_simulator_writes_is_a_landing_table(clean: Path) -> None:
    assert {path.stem for path in (clean / FIRST).iterdir()} <= set(TABLES)
