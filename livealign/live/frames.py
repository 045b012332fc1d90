"""Pictures sent to the running service: decoded in bounds as they come, kept as events.

A picture is in the log as WebP of 224 × 224 pixels, without a loss, so that the next retrain sees exactly what the service saw.
"""

import base64

from livealign.events.models import Frame
from livealign.frames.decode import Pixels, decode, picture_name, webp_of


def frame_event(room_id: int, author_id: int, at: int, data: bytes) -> Frame:
    """The event of a picture; the same picture of the same room and time is the same event.

    Raises:
        FrameError: the picture is rejected.
    """
    pixels = decode(data)
    name = picture_name(pixels)
    picture = base64.b64encode(webp_of(pixels)).decode()
    event_id = f"{room_id:x}-{at:x}-{name[:24]}"
    return Frame(event_id=event_id, at=at, room_id=room_id, author_id=author_id, name=name, picture=picture)


def picture_bytes(picture: str) -> bytes:
    """The WebP of an event's picture."""
    return base64.b64decode(picture)


def pixels_of(picture: str) -> Pixels:
    """The pixels of an event's picture.

    Raises:
        FrameError: it is damaged.
    """
    return decode(picture_bytes(picture))
