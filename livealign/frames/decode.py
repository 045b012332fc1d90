"""A picture from untrusted bytes, decoded in bounds to 224 × 224 RGB.

    pixels = decode(data)      # uint8 [224, 224, 3]; FrameError with a reason
    picture_name(pixels)       # SHA-256 of the pixels: what looks the same has one name

JPEG, PNG or WebP of at most 256 KB and, after decoding, one megapixel. Reasons:

    empty_picture, picture_too_large   no bytes, or more than MAX_BYTES
    not_a_picture                      neither JPEG, PNG nor WebP
    too_many_pixels                    more than MAX_PIXELS, by the header: nothing of it is decoded
    animated                           more than one picture, played one after another
    damaged_picture                    truncated, or broken in another way

Turned as its EXIF says, CMYK and 16 bits read as what they show, transparent parts on black, then resized once to the square
that the encoder reads. The whole picture is kept, so its proportions are not.
"""

import hashlib
import struct
import warnings
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from livealign.errors import LiveAlignError

warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # what is odd in a picture is no operator's matter

MAX_BYTES = 256 << 10
MAX_PIXELS = 1 << 20
SIDE = 224  # of the square that an encoder reads
FORMATS = ("JPEG", "PNG", "WEBP")

Pixels = NDArray[np.uint8]

_ORIENTATION = 0x0112  # the tag of EXIF
_ANIMATION, _VP8X_CANVAS = 0x02, struct.Struct("<I")


class FrameError(LiveAlignError):
    """A rejected picture: `reason` is a code to count by, the message says what is wrong."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def decode(data: bytes) -> Pixels:
    """Bytes → uint8 [SIDE, SIDE, 3].

    Raises:
        FrameError: the picture is rejected; see the reasons above.
    """
    if not data:
        raise FrameError("empty_picture", "the picture has no bytes")
    if len(data) > MAX_BYTES:
        raise FrameError("picture_too_large", f"the picture has {len(data):,} bytes; send at most {MAX_BYTES:,}")
    _check_webp(data)
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            _check_size(*image.size)
            # A photograph may carry a small copy or a depth map behind it (MPO): that is no animation.
            if getattr(image, "is_animated", False) and image.format != "MPO":
                raise FrameError("animated", "the picture is animated; send one still picture")
            return _square(image)
    except FrameError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise FrameError("too_many_pixels", f"the picture has far more than {MAX_PIXELS:,} pixels") from error
    except Image.UnidentifiedImageError as error:
        raise FrameError("not_a_picture", "the bytes are neither JPEG, PNG nor WebP") from error
    except Exception as error:  # whatever a decoder of untrusted bytes raises, the bytes are at fault
        raise FrameError("damaged_picture", f"the picture is truncated or damaged ({type(error).__name__})") from error


def picture_name(pixels: Pixels) -> str:
    """SHA-256 of the pixels, hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def webp_of(pixels: Pixels) -> bytes:
    """The pixels as WebP, without a loss and without anything else that the picture carried.

    Seven times faster than PNG, and smaller.
    """
    out = BytesIO()
    Image.fromarray(pixels).save(out, "WEBP", lossless=True, quality=0, method=0)
    return out.getvalue()


def _square(image: Image.Image) -> Pixels:
    image.draft("RGB", (SIDE, SIDE))  # a JPEG is decoded at the smallest of its scales that suffices
    orientation = _orientation(image)
    plain = _eight_bits(image)
    if plain.has_transparency_data:
        plain = plain.convert("RGBA")
        plain = Image.alpha_composite(Image.new("RGBA", plain.size, (0, 0, 0, 255)), plain)
    small = plain.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=3.0)
    if orientation != 1:
        small.getexif()[_ORIENTATION] = orientation
        small = ImageOps.exif_transpose(small)
    return np.array(small, dtype=np.uint8)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits as grey of 8: Pillow would cut off what is brighter than 255."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.clip(np.asarray(image, dtype=np.int64), 0, 65_535) >> 8).astype(np.uint8))


def _orientation(image: Image.Image) -> int:
    """The picture's EXIF orientation, 1 to 8; damaged EXIF turns nothing."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a tag is not worth rejecting the picture for
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        detail = f"the picture has {width} × {height} pixels; send at most {MAX_PIXELS:,} in all"
        raise FrameError("too_many_pixels", detail)


def _check_webp(data: bytes) -> None:
    """The header of a WebP: its decoder takes memory for the whole canvas, and twice if animated, as it is opened."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return
    kind = data[12:16]
    if kind == b"VP8X":
        if data[20] & _ANIMATION:
            raise FrameError("animated", "the picture is animated; send one still picture")
        width, height = (_VP8X_CANVAS.unpack(data[at : at + 3] + b"\0")[0] + 1 for at in (24, 27))
    elif kind == b"VP8L":
        bits = _VP8X_CANVAS.unpack(data[21:25])[0]
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (size & 0x3FFF for size in struct.unpack("<HH", data[26:30]))
    _check_size(width, height)
