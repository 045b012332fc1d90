"""Pictures of a landing: each is kept once under the hash of what it shows, or rejected with its reason."""

from collections import Counter
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from livealign.days import midnight, partition
from livealign.frames.decode import decode, picture_name
from livealign.landing.run import LandingRun
from livealign.landing.validate import validate_landing
from tests.planted import pictures

DAY, NEXT = date(2025, 5, 5), date(2025, 5, 6)
NOW = datetime(2025, 6, 1)
NOON = midnight(DAY) + 12 * 3_600_000
ROOM = {"room_id": [1], "author_id": [2], "started_at": [NOON - 60_000]}


def frames(*data: bytes | None, at: int = NOON) -> pa.Table:
    columns = {"room_id": [1] * len(data), "at": at + np.arange(len(data)), "path": pa.nulls(len(data), pa.string())}
    return pa.table({**columns, "bytes": pa.array(data, pa.binary())})


def land(root: Path, *batches: pa.Table, days: tuple[date, ...] = (DAY,)) -> LandingRun:
    with LandingRun(root, days, NOW) as run:
        run.add("rooms", pa.table(ROOM), "rooms.csv")
        for number, rows in enumerate(batches):
            run.add("frames", rows, f"frames-{number}")
    return run


def kept(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*.webp")}


def test_pictures_that_look_the_same_are_one_file_that_their_rows_name(tmp_path: Path) -> None:
    png, webp = pictures.encoded(pictures.corners()), pictures.encoded(pictures.corners(), "WEBP", lossless=True)
    other = pictures.encoded(Image.new("RGB", (30, 30), (1, 2, 3)))
    run = land(tmp_path, frames(png, webp), frames(other, at=NOON + 9))
    rows = pq.ParquetFile(partition(tmp_path, "frames", DAY)).read()
    assert rows.column("bytes").null_count == 3
    first, second, third = rows.column("path").to_pylist()
    assert first == second == f"pictures/dt={DAY}/{picture_name(decode(png))}.webp"
    assert kept(tmp_path) == {first, third}
    np.testing.assert_array_equal(decode((tmp_path / first).read_bytes()), decode(png))
    assert run.summary.tables["frames"].landed == 3
    assert not [breach for breach in validate_landing(tmp_path) if breach.severity == "error"]


def test_nothing_that_a_picture_carried_beside_its_pixels_is_kept(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "at home, 12 Long Street"
    land(tmp_path, frames(pictures.encoded(pictures.corners(), "JPEG", exif=exif)))
    [path] = kept(tmp_path)
    assert b"Long Street" not in (tmp_path / path).read_bytes()


def test_a_picture_that_cannot_be_kept_is_a_reject_with_its_reason(tmp_path: Path) -> None:
    good = pictures.encoded(pictures.corners())
    bad = (b"", b"hello", good[:60], pictures.animated("WEBP"), pictures.png_bomb(9_000, 9_000), None)
    run = land(tmp_path, frames(good, *bad))
    assert run.summary.tables["frames"].reasons == Counter(
        empty_picture=1, not_a_picture=1, damaged_picture=1, animated=1, too_many_pixels=1, no_picture=1
    )
    assert run.summary.tables["frames"].landed == len(kept(tmp_path)) == 1
    assert run.summary.tables["frames"].read == 7


def test_pictures_of_other_days_are_neither_read_nor_kept(tmp_path: Path) -> None:
    run = land(tmp_path, frames(pictures.encoded(pictures.corners()), b"broken", at=midnight(NEXT)))
    assert run.summary.tables["frames"].read == 0
    assert kept(tmp_path) == set()


def test_a_failed_run_keeps_no_picture(tmp_path: Path) -> None:
    def fail() -> None:
        with LandingRun(tmp_path, (DAY,), NOW) as run:
            run.add("frames", frames(pictures.encoded(pictures.corners())), "f")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert kept(tmp_path) == set()


def test_a_landing_that_lacks_a_picture_is_not_valid(tmp_path: Path) -> None:
    land(tmp_path, frames(pictures.encoded(pictures.corners())))
    [path] = kept(tmp_path)
    (tmp_path / path).unlink()
    assert [(b.table, b.check, b.row) for b in validate_landing(tmp_path) if b.check == "missing_picture"] == [
        ("frames", "missing_picture", 1)
    ]


def test_a_platform_without_pictures_has_no_folder_of_them(tmp_path: Path) -> None:
    land(tmp_path)
    assert not (tmp_path / "pictures").exists()
