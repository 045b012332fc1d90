"""What stands still: a card, however it was compressed; not a camera, and not a chess board on which a piece moves."""

import itertools

import numpy as np
import pytest
from PIL import Image

from livealign.frames.decode import SIDE, decode
from livealign.frames.still import LOOK, changed, look_of, looks_like
from tests.planted.pictures import encoded
from tests.planted.still import board, camera, card


def look(image: Image.Image, kind: str = "JPEG", quality: int = 80, size: tuple[int, int] | None = None) -> np.ndarray:
    return look_of(decode(encoded(image if size is None else image.resize(size), kind, quality=quality)))


def test_a_look_is_the_brightness_of_the_picture_s_fields_row_by_row() -> None:
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[: SIDE // 16, SIDE // 16 : SIDE // 8] = (10, 200, 30)
    expected = np.zeros(LOOK)
    expected[1] = 0.299 * 10 + 0.587 * 200 + 0.114 * 30
    np.testing.assert_allclose(look_of(pixels), expected, atol=1)


@pytest.mark.parametrize(("kind", "quality"), [("JPEG", 30), ("JPEG", 60), ("JPEG", 95), ("WEBP", 30), ("WEBP", 90)])
@pytest.mark.parametrize("size", [None, (320, 180), (500, 281), (256, 144)])
def test_a_card_that_is_compressed_or_scaled_anew_is_the_same_card(
    kind: str, quality: int, size: tuple[int, int] | None
) -> None:
    for seed in range(5):
        assert looks_like(look(card(seed), kind, quality, size), look(card(seed)))


def test_other_cards_a_move_on_a_board_and_a_camera_that_moves_are_other_pictures() -> None:
    assert not looks_like(look(card(0)), look(card(1)))
    moves = [look(board(played)) for played in range(4)]
    assert not any(looks_like(*pair) for pair in itertools.pairwise(moves))
    assert looks_like(look(board(2), quality=50), moves[2])
    seen = [look(camera(step)) for step in range(5)]
    assert not any(looks_like(*pair) for pair in itertools.pairwise(seen))


def test_the_noise_of_a_sensor_alone_is_no_change() -> None:
    noisy = []
    for seed in range(2):
        noise = 8 * np.random.default_rng(seed).standard_normal((SIDE, SIDE, 3))
        noisy.append(look_of((128 + noise).astype(np.uint8)))
    assert looks_like(*noisy)


def test_a_card_counts_once_in_its_room_a_board_where_it_changed_and_a_camera_always() -> None:
    scenes = {
        1: [card(0)] * 5,
        2: [board(played) for played in (0, 0, 1, 2, 2)],
        3: [camera(step) for step in range(5)],
        4: [card(0), camera(0), card(1), card(1), camera(1)],
    }
    rows = [(room, at, image) for room, images in scenes.items() for at, image in enumerate(images)]
    shuffled = [rows[place] for place in np.random.default_rng(3).permutation(len(rows))]
    looks = np.stack([look(image, quality=60 + 5 * at) for _, at, image in shuffled])
    room, at = (np.array([row[column] for row in shuffled]) for column in (0, 1))
    counts = changed(room, at, looks)
    expected = {1: [0], 2: [0, 2, 3], 3: [0, 1, 2, 3, 4], 4: [0, 1, 2, 4]}
    assert {number: sorted(at[counts & (room == number)].tolist()) for number in scenes} == expected
    np.testing.assert_array_equal(changed(room, at, looks.astype(np.float32)), counts)  # as they come from the cache


def test_what_drifts_slowly_is_compared_with_the_last_picture_that_counted() -> None:
    looks = np.stack([look_of(np.full((SIDE, SIDE, 3), level, np.uint8)) for level in range(100, 112, 2)])
    counts = changed(np.zeros(6, np.int64), np.arange(6), looks)
    assert counts.tolist() == [True, False, False, True, False, False]
