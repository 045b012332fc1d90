"""Pictures are decoded in bounds: what they show is kept, and what is wrong with them is said."""

import resource

import numpy as np
import pytest
from PIL import Image

from livealign.frames.decode import MAX_BYTES, MAX_PIXELS, SIDE, FrameError, decode, picture_name, webp_of
from tests.planted import pictures

CORNERS = {(20, 20): (255, 0, 0), (20, 200): (0, 255, 0), (200, 20): (0, 0, 255), (200, 200): (255, 255, 255)}


def shows_corners(pixels, tolerance=12):
    return all(np.abs(pixels[at].astype(int) - colour).max() <= tolerance for at, colour in CORNERS.items())


def reason_of(data):
    with pytest.raises(FrameError) as caught:
        decode(data)
    return caught.value.reason


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_the_three_formats_become_a_square_that_shows_the_whole_picture(format_):
    pixels = decode(pictures.encoded(pictures.corners(), format_))
    assert pixels.shape == (SIDE, SIDE, 3)
    assert pixels.dtype == np.uint8
    assert shows_corners(pixels)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_picture_is_turned_as_its_exif_says(format_, orientation):
    assert shows_corners(decode(pictures.turned(orientation, format_)))


def test_a_big_jpeg_is_decoded_at_a_smaller_scale_and_shows_the_same():
    assert shows_corners(decode(pictures.encoded(pictures.corners(1280, 720), "JPEG")))


def test_cmyk_shows_its_colours():
    assert shows_corners(decode(pictures.encoded(pictures.corners().convert("CMYK"), "JPEG")), tolerance=25)


@pytest.mark.parametrize(("level", "expected"), [(0, 0), (32_768, 128), (65_535, 255)])
def test_sixteen_bits_keep_their_brightness(level, expected):
    grey = Image.fromarray(np.full((40, 60), level, dtype=np.uint16))
    assert (decode(pictures.encoded(grey, "PNG")) == expected).all()


def test_transparent_parts_are_black_whatever_colour_they_hide():
    hidden = Image.new("RGBA", (50, 50), (250, 200, 10, 0))
    assert not decode(pictures.encoded(hidden, "PNG")).any()
    palette = Image.new("P", (50, 50), 3)
    palette.putpalette([200] * 768)
    assert not decode(pictures.encoded(palette, "PNG", transparency=3)).any()


def test_one_pixel_and_a_long_line_are_pictures_too():
    assert (decode(pictures.encoded(Image.new("RGB", (1, 1), (9, 8, 7)))) == (9, 8, 7)).all()
    assert decode(pictures.encoded(Image.new("L", (1, 60_000), 77))).shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize("format_", ["PNG", "WEBP"])
def test_an_animation_is_rejected(format_):
    assert reason_of(pictures.animated(format_)) == "animated"


def test_a_photograph_with_a_second_picture_behind_it_is_no_animation():
    both = pictures.encoded(pictures.corners(), "MPO", save_all=True, append_images=[pictures.corners(32, 32)])
    assert shows_corners(decode(both))


@pytest.mark.parametrize("bomb", [pictures.png_bomb(30_000, 30_000), pictures.webp_bomb()], ids=["png", "webp"])
def test_a_bomb_is_rejected_by_its_header_without_its_memory(bomb):
    assert len(bomb) < MAX_BYTES
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert reason_of(bomb) == "too_many_pixels"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def test_the_largest_picture_is_taken_and_one_line_more_is_not():
    assert decode(pictures.png_bomb(1024, MAX_PIXELS // 1024)).shape == (SIDE, SIDE, 3)
    assert reason_of(pictures.png_bomb(1024, MAX_PIXELS // 1024 + 1)) == "too_many_pixels"


def test_no_bytes_too_many_and_other_files_are_named_as_what_they_are():
    assert reason_of(b"") == "empty_picture"
    assert reason_of(pictures.encoded(pictures.corners(), "PNG") + bytes(MAX_BYTES)) == "picture_too_large"
    for other in (b"hello", pictures.encoded(pictures.corners(), "GIF"), pictures.encoded(pictures.corners(), "TIFF")):
        assert reason_of(other) == "not_a_picture"


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("kept", [0.3, 0.7])
def test_a_truncated_picture_is_rejected(format_, kept):
    noise = Image.fromarray(np.random.default_rng(5).integers(256, size=(60, 80, 3), dtype=np.uint8))
    data = pictures.encoded(noise, format_)
    assert reason_of(data[: int(len(data) * kept)]) == "damaged_picture"


def test_damaged_exif_turns_nothing_and_costs_nothing():
    data = pictures.turned(6)
    at = data.index(b"Exif\0\0") + 6
    assert decode(data[:at] + b"\xff" * 8 + data[at + 8 :]).shape == (SIDE, SIDE, 3)


def test_a_kept_picture_is_read_back_the_same_under_the_same_name():
    pixels = decode(pictures.encoded(pictures.corners(), "JPEG"))
    again = decode(webp_of(pixels))
    np.testing.assert_array_equal(again, pixels)
    assert picture_name(again) == picture_name(pixels)
    assert picture_name(pixels) != picture_name(pixels[::-1])


def fuzz(count: int, seed: int) -> dict[str, int]:
    """Decode mutated pictures; the number of each outcome."""
    rng, seeds = np.random.default_rng(seed), pictures.seeds()
    outcomes: dict[str, int] = {}
    for number in range(count):
        try:
            pixels = decode(pictures.mutated(seeds[number % len(seeds)], rng))
            assert pixels.shape == (SIDE, SIDE, 3)
            outcome = "decoded"
        except FrameError as error:
            outcome = error.reason
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return outcomes


def memory_grown(count: int, seed: int) -> tuple[dict[str, int], int]:
    """Outcomes, and by how many MiB the peak of this process rose."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = fuzz(count, seed)
    return outcomes, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10


def test_mutated_pictures_are_decoded_or_rejected_in_bounded_memory():
    outcomes, grown = memory_grown(300, seed=1)
    assert outcomes["decoded"] > 10
    assert outcomes["damaged_picture"] > 10
    assert grown < 128


@pytest.mark.slow
def test_ten_thousand_mutated_pictures_are_decoded_or_rejected_in_bounded_memory():
    outcomes, grown = memory_grown(10_000, seed=2)
    assert sum(outcomes.values()) == 10_000
    assert grown < 256
