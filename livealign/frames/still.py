"""Which pictures stand still in their room, as a card does and what a camera sees does not.

    look = look_of(pixels)              # uint8 [LOOK]: the brightness of 16 × 16 fields
    looks_like(look, earlier)           # the same picture, however it was compressed
    changed(room_id, at, looks)         # bool [n]: which pictures of many rooms are new in their room

A card ("starting soon", an advertisement) shows nothing of what is aired. Nobody can tell it by one picture, but it stands
still. So a picture counts only where it differs from the last one of its room that counted: a card in its first window alone.
Compression and scaling change a field by few levels. A move on a chess board, a hand or a face change some field by more; one
field suffices. Whatever else stands still, such as a slide, counts in its first window alone too.
"""

import numpy as np
from numpy.typing import NDArray

from livealign.frames.decode import SIDE, Pixels

Look = NDArray[np.uint8]
Looks = NDArray[np.uint8] | NDArray[np.float32]  # [n, LOOK]

_FIELDS = 16  # of a side
LOOK = _FIELDS * _FIELDS
MOST_NOISE = 4  # levels of brightness, of 255, by which JPEG and WebP of quality 30 and more change a field at most
_LUMA = np.array([299, 587, 114])  # thousandths that red, green and blue count for (ITU-R BT.601)


def look_of(pixels: Pixels) -> Look:
    """The brightness of the picture's fields, row by row: uint8 [LOOK]."""
    size = SIDE // _FIELDS
    sums = pixels.reshape(_FIELDS, size, _FIELDS, size, 3).sum(axis=(1, 3), dtype=np.int64)
    return (sums @ _LUMA // (1_000 * size * size)).astype(np.uint8).ravel()


def looks_like(look: Looks, earlier: Looks) -> bool:
    """Whether two pictures differ by no more than compression changes one."""
    return int(np.abs(look.astype(np.int16) - earlier.astype(np.int16)).max()) <= MOST_NOISE


def changed(room_id: NDArray[np.int64], at: NDArray[np.int64], looks: Looks) -> NDArray[np.bool_]:
    """Which pictures [n] count.

    They are each room's first, and each that differs from the last one before it that counts.

    Args:
        room_id: [n]. at: [n], the order within a room. looks: [n, LOOK].
    """
    counts = np.ones(len(room_id), dtype=bool)
    order = np.lexsort((at, room_id))
    last = -1
    for row in order.tolist():
        if last >= 0 and room_id[row] == room_id[last] and looks_like(looks[row], looks[last]):
            counts[row] = False
        else:
            last = row
    return counts
