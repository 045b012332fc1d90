"""Pictures whose look is known, in every form that a platform may send, and their mutations."""

import struct
import zlib
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ORIENTATION = 0x0112


def corners(width: int = 320, height: int = 180) -> Image.Image:
    """Four colours: red and green above, blue and white below."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    middle, centre = height // 2, width // 2
    pixels[:middle, :centre], pixels[:middle, centre:] = (255, 0, 0), (0, 255, 0)
    pixels[middle:, :centre], pixels[middle:, centre:] = (0, 0, 255), (255, 255, 255)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, format_: str = "PNG", **options: object) -> bytes:
    """The picture as bytes of this format."""
    out = BytesIO()
    image.save(out, format_, **options)
    return out.getvalue()


def turned(orientation: int, format_: str = "JPEG") -> bytes:
    """`corners` as a turned camera writes it, with EXIF that turns it back."""
    back = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    method = back[orientation]
    image = corners() if method is None else corners().transpose(method)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(image, format_, exif=exif)


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int, height: int) -> bytes:
    """A small PNG that unpacks to very many black pixels."""
    rows = zlib.compress(b"\0" * min((width + 1) * height, 50_000_000), 9)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def webp_bomb(side: int = 16_384) -> bytes:
    """A WebP whose header names a canvas of side × side pixels."""
    size = (side - 1).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + size + size + encoded(corners(), "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def animated(format_: str) -> bytes:
    """Two pictures one after another."""
    other = corners().transpose(Image.Transpose.ROTATE_180)
    return encoded(corners(), format_, save_all=True, append_images=[other], duration=100)


def seeds() -> list[bytes]:
    """Small good pictures of all formats and modes, from which mutations are made."""
    small = corners(64, 48)
    grey = Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 21)
    return [
        *(encoded(small, format_) for format_ in ("JPEG", "PNG", "WEBP")),
        encoded(small, "JPEG", progressive=True),
        encoded(small.convert("CMYK"), "JPEG"),
        encoded(small.convert("P"), "PNG", transparency=0),
        encoded(small.convert("RGBA"), "WEBP", lossless=True),
        encoded(grey, "PNG"),
        turned(6),
        animated("PNG"),
        animated("WEBP"),
    ]


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with some of them changed, cut, doubled or moved: what a fuzzer sends."""
    changed = np.frombuffer(data, dtype=np.uint8).copy()
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(len(changed)))
        length = int(rng.integers(1, 1 + min(64, len(changed) - at)))
        changed = _KINDS[int(rng.integers(len(_KINDS)))](changed, at, length, rng)
        if not len(changed):
            return b""
    return changed.tobytes()


Bytes = NDArray[np.uint8]


def _flip(data: Bytes, at: int, length: int, rng: np.random.Generator) -> Bytes:
    data[at] ^= 1 << int(rng.integers(8))
    return data


def _overwrite(data: Bytes, at: int, length: int, rng: np.random.Generator) -> Bytes:
    data[at : at + length] = rng.integers(256, size=length)
    return data


def _extremes(data: Bytes, at: int, length: int, rng: np.random.Generator) -> Bytes:
    data[at : at + min(length, 4)] = rng.choice([0, 127, 128, 255])
    return data


def _cut(data: Bytes, at: int, length: int, rng: np.random.Generator) -> Bytes:
    return data[:at]


def _remove(data: Bytes, at: int, length: int, rng: np.random.Generator) -> Bytes:
    return np.concatenate([data[:at], data[at + length :]])


def _double(data: Bytes, at: int, length: int, rng: np.random.Generator) -> Bytes:
    return np.concatenate([data[: at + length], data[at:]])


_KINDS = (_flip, _flip, _overwrite, _extremes, _cut, _remove, _double)
