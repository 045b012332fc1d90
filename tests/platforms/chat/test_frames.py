"""Pictures beside a broadcast land at their offset; what cannot be placed or decoded is rejected."""

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from livealign.platforms.registry import land
from tests.planted import pictures
from tests.planted.twitch_archives import small_twitch_archive

EVENING = datetime(2025, 12, 22, 22, 0, 0)  # of room 101, 10,000 seconds long
PICTURE = pictures.encoded(pictures.corners(), "JPEG")


def folder_of(archive: Path, room: int) -> Path:
    [vod] = [path for path in archive.rglob("vod.json") if path.parent.name.endswith(str(room))]
    return vod.parent


def landed(root: Path) -> list[dict[str, object]]:
    return [row for path in sorted(root.glob("frames/dt=*/*.parquet")) for row in pq.ParquetFile(path).read().to_pylist()]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    small_twitch_archive(tmp_path / "archive")
    (folder_of(tmp_path / "archive", 101) / "frames").mkdir()
    return tmp_path / "archive"


def test_a_picture_lands_at_its_second_also_after_midnight(archive: Path, tmp_path: Path) -> None:
    frames = folder_of(archive, 101) / "frames"
    for name in ("0.jpg", "90.5.png", "9000.webp"):
        (frames / name).write_bytes(PICTURE)
    summary = land("twitch", archive, tmp_path / "l")
    rows = landed(tmp_path / "l")
    assert [row["at"] for row in rows] == [EVENING + timedelta(seconds=second) for second in (0, 90.5, 9_000)]
    assert {row["room_id"] for row in rows} == {101}
    assert all((tmp_path / "l" / str(row["path"])).is_file() for row in rows)
    assert summary.not_read == []


def test_pictures_that_cannot_be_placed_or_decoded_are_rejected(archive: Path, tmp_path: Path) -> None:
    frames = folder_of(archive, 101) / "frames"
    names = ("cover.jpg", "nan.jpg", "10001.jpg", "-1.jpg", "30.jpg", "30.png")
    for name in names:
        (frames / name).write_bytes(PICTURE)
    (frames / "60.jpg").write_bytes(PICTURE[:200])
    summary = land("twitch", archive, tmp_path / "l")
    assert summary.tables["frames"].reasons == Counter(no_offset=2, outside_broadcast=2, damaged_picture=1, duplicate_key=1)
    assert summary.tables["frames"].landed == len(landed(tmp_path / "l")) == 1


def test_an_archive_without_pictures_lands_the_same_bytes_as_before(tmp_path: Path) -> None:
    small_twitch_archive(tmp_path / "archive")
    summary = land("twitch", tmp_path / "archive", tmp_path / "l")
    assert summary.tables["frames"].read == 0
    assert not (tmp_path / "l" / "pictures").exists()
