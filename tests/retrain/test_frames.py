"""Pictures of a retrain: the newest of each segment's window, seen by the image encoder, or an error that says what to do."""

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from livealign.days import partition
from livealign.errors import LiveAlignError
from livealign.frames.decode import decode, picture_name, webp_of
from livealign.llm.image_encoder import load_image_encoder
from livealign.retrain import frames
from livealign.retrain.frames import embed_frames
from tests.planted import pictures
from tests.planted.still import board, camera, card

DAYS = (date(2025, 6, 1), date(2025, 6, 2))
PLAIN = load_image_encoder("pixels", Path())
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


@pytest.fixture
def marts(tmp_path: Path) -> Path:
    """Segments 10, 11 and 12 with a picture each, all of the first day; the second day has no file."""
    paths = [land(tmp_path, Image.new("RGB", (40, 40), colour)) for colour in COLOURS]
    write_mart(tmp_path / "marts", [10, 11, 12], [1, 1, 2], [5, 6, 5], paths)
    return tmp_path / "marts"


def land(folder: Path, image: Image.Image, quality: int = 80) -> str:
    """Keep the picture in the landing folder; returns its path there."""
    pixels = decode(pictures.encoded(image, "JPEG", quality=quality))
    path = f"pictures/dt={DAYS[0]}/{picture_name(pixels)}.webp"
    (folder / "landing" / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / "landing" / path).write_bytes(webp_of(pixels))
    return path


def write_mart(marts: Path, segments: list[int], rooms: list[int], windows: list[int], paths: list[str]) -> None:
    file = partition(marts, "segment_frames", DAYS[0])
    file.parent.mkdir(parents=True)
    columns = {"segment_id": segments, "room_id": rooms, "window": windows, "frame_path": paths}
    pq.write_table(pa.table(columns), file)


def embed(marts: Path, wanted: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return embed_frames(marts, marts.parent / "landing", DAYS, np.array(wanted), PLAIN, marts.parent / "cache")


def test_segments_get_the_vector_of_their_picture_and_others_are_left_out(marts: Path) -> None:
    ids, vectors = embed(marts, [9, 10, 12])
    assert ids.tolist() == [10, 12]
    np.testing.assert_allclose(vectors.reshape(2, 64, 3).mean(axis=1), [[1, 0, 0], [0, 0, 1]], atol=0.01)


def test_a_picture_that_stands_still_is_none_also_where_the_first_of_its_room_is_not_asked_for(tmp_path: Path) -> None:
    shown = {1: [card(0)] * 4, 2: [board(0), board(1), board(1), board(2)], 3: [camera(step) for step in range(4)]}
    rows = [
        (10 * room + at, room, at, land(tmp_path, images[at], 60 + 10 * at))
        for room, images in shown.items()
        for at in range(4)
    ]
    write_mart(tmp_path / "marts", *(list(column) for column in zip(*rows, strict=True)))
    assert embed(tmp_path / "marts", [row[0] for row in rows])[0].tolist() == [10, 20, 21, 23, 30, 31, 32, 33]
    assert embed(tmp_path / "marts", [12, 13, 22, 23, 31])[0].tolist() == [23, 31]


def test_a_platform_without_pictures_has_none(tmp_path: Path) -> None:
    ids, vectors = embed(tmp_path / "marts", [9])
    assert len(ids) == len(vectors) == 0


@pytest.mark.parametrize("damage", [None, b"PNG"])
def test_a_picture_that_is_gone_or_damaged_is_named_with_the_remedy(marts: Path, damage: bytes | None) -> None:
    [first, *_] = sorted((marts.parent / "landing").rglob("*.webp"))
    first.unlink()
    if damage:
        first.write_bytes(damage)
    with pytest.raises(LiveAlignError, match=rf"{first.name}.*land its day again"):
        embed(marts, [10, 11, 12])


def test_a_new_picture_is_decoded_once_for_its_look_and_its_vector(marts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Path] = []
    read = frames.read_frame
    monkeypatch.setattr(frames, "read_frame", lambda path: decoded.append(path) or read(path))
    ids, vectors = embed(marts, [9, 10, 12])
    assert sorted(decoded) == sorted((marts.parent / "landing").rglob("*.webp"))
    monkeypatch.setattr(frames, "BLOCK", 1)
    monkeypatch.setattr(frames, "REMEMBERED", 0)
    again = embed_frames(marts, marts.parent / "landing", DAYS, np.array([9, 10, 12]), PLAIN, marts.parent / "other")
    np.testing.assert_array_equal(again.segment_ids, ids)
    np.testing.assert_array_equal(again.vectors, vectors)


def test_what_was_seen_before_is_not_read_again(marts: Path) -> None:
    _, first = embed(marts, [10, 11, 12])
    for picture in (marts.parent / "landing").rglob("*.webp"):
        picture.unlink()
    _, again = embed(marts, [10, 11, 12])
    np.testing.assert_array_equal(first, again)
