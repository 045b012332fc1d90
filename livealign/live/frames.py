"""Pictures sent to the running service: decoded in bounds as they come, kept as events.

A picture is in the log as WebP of 224 × 224 pixels, without a loss, so that the next retrain sees exactly what the service saw.
"""

import base64

import numpy as np

from livealign.events.models import Frame
from livealign.frames.decode import Pixels, decode, picture_name, webp_of
from livealign.frames.still import look_of, looks_like


def frame_event(room_id: int, author_id: int, at: int, data: bytes) -> Frame:
    """The event of a picture; the same picture of the same room and time is the same event.

    Raises:
        FrameError: the picture is rejected.
    """
    pixels = decode(data)
    name = picture_name(pixels)
    picture, look = (base64.b64encode(data).decode() for data in (webp_of(pixels), look_of(pixels).tobytes()))
    event_id = f"{room_id:x}-{at:x}-{name[:24]}"
    return Frame(event_id=event_id, at=at, room_id=room_id, author_id=author_id, name=name, picture=picture, look=look)


def picture_bytes(picture: str) -> bytes:
    """The WebP of an event's picture."""
    return base64.b64decode(picture)


def stands_still(look: str, earlier: str) -> bool:
    """Whether two pictures of a room are the same by the looks of their events.

    False where a look is not known.
    """
    return bool(look and earlier) and looks_like(*(np.frombuffer(base64.b64decode(one), np.uint8) for one in (look, earlier)))


def pixels_of(picture: str) -> Pixels:
    """The pixels of an event's picture.

    Raises:
        FrameError: it is damaged.
    """
    return decode(picture_bytes(picture))
