"""The pictures of a simulated platform: one in each window of a room.

There are some where `SimulationConfig.frames` asks for them.

A scene shows one to three drawn objects of the members that the window's topic has in this broadcast, turned, scaled and placed
at random, in the light of its genre and before the host's own wall. Around them are small objects of other topics, the host's
face in a corner, and overlays with lines of text. It shows what is aired, also where people talk of something else.

Some rooms have no pictures (`NO_PICTURES`). Some hosts (`CARDS`) show a card that says STARTING SOON, with an object of another
topic on it, in all of their rooms and all the time: it says nothing of what is aired.
"""

from functools import cache
from io import BytesIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from livealign.simulation.config import WINDOW_MS
from livealign.simulation.glyphs import TILE, genre_hue, glyph
from livealign.simulation.members import FEW
from livealign.simulation.moments import Day
from livealign.simulation.topics import TOPICS
from livealign.simulation.world import generator

NO_PICTURES = 0.12  # of the rooms
CARDS = 0.1  # of the hosts
KINDS = ("none", "scene", "card")  # of a room's pictures, by the number in the truth
_WIDTH, _HEIGHT = 256, 144
_QUALITY = 80
NONE, SCENE, CARD = range(len(KINDS))

Pixels = NDArray[np.float32]


def kinds_of_rooms(day: Day) -> NDArray[np.int64]:
    """The kind of pictures of each room of the day [R], as a number of KINDS."""
    shows_card = generator(day.config, "cards").random(day.config.authors) < CARDS
    has_none = day.generator("no pictures").random(len(day.rooms.ids)) < NO_PICTURES
    return np.where(has_none, NONE, np.where(shows_card[day.rooms.author], CARD, SCENE))


def frame_rows(day: Day) -> dict[str, np.ndarray | pa.Array]:
    """The columns of the landing table `frames`: room_id, at, path and bytes, in order of time."""
    rooms, kinds, rng = day.rooms, kinds_of_rooms(day), day.generator("frames")
    at = rooms.window * WINDOW_MS + rng.integers(WINDOW_MS, size=len(rooms.window))
    at = np.clip(at, rooms.start[rooms.room], rooms.end[rooms.room] - 1)
    rows = np.flatnonzero(kinds[rooms.room] != NONE)
    rows = rows[np.argsort(at[rows], kind="stable")]
    cards, author = kinds[rooms.room] == CARD, rooms.author[rooms.room]
    pictures = [_card(int(author[row])) if cards[row] else _scene(day, row) for row in rows.tolist()]
    return {
        "room_id": rooms.ids[rooms.room[rows]],
        "at": at[rows],
        "path": pa.nulls(len(rows), pa.string()),
        "bytes": pa.array(pictures, pa.binary()),
    }


def frame_truth(day: Day) -> dict[str, np.ndarray | pa.Array]:
    """The kind of pictures of each room, for evaluation alone."""
    return {"room_id": day.rooms.ids, "frames": pa.array(KINDS).take(pa.array(kinds_of_rooms(day)))}


def _scene(day: Day, row: int) -> bytes:
    rooms = day.rooms
    room, topic = int(rooms.room[row]), int(rooms.topic[row])
    rng = day.generator("scene", row)
    image = Image.fromarray(_wall(int(rooms.author[room]), topic, rng))
    for _ in range(int(rng.integers(0, 5))):  # clutter
        other = int(rng.integers(len(TOPICS)))
        _place(image, other, int(rng.integers(40)), float(rng.uniform(0.15, 0.3)), rng)
    members = list(range(FEW)) if day.members is None else day.members.members[room, topic].tolist()
    for member in members[: int(rng.integers(1, FEW + 1))]:
        _place(image, topic, int(member), float(rng.uniform(0.45, 0.95)), rng)
    _face(image, int(rooms.author[room]), rng)
    _overlay(image, rng)
    return _jpeg(image)


@cache
def _card(author: int) -> bytes:
    """The card of one host, the same for as long as the platform exists."""
    rng = np.random.default_rng([77, author])
    topic = int(rng.integers(len(TOPICS)))
    image = Image.fromarray(_wall(author, topic, rng))
    _place(image, topic, int(rng.integers(12)), 0.8, rng)
    draw = ImageDraw.Draw(image)
    draw.rectangle((24, 48, _WIDTH - 24, 96), fill=(15, 15, 25))
    draw.text((_WIDTH / 2, 72), "STARTING SOON", fill=(240, 240, 240), font=_font(), anchor="mm")
    return _jpeg(image)


def _wall(author: int, topic: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A blurred background: the host's own wall in the light of the genre, with noise."""
    hue = 2 * np.pi * (genre_hue(topic) + rng.normal(0, 0.06))
    light = 1 + 0.25 * np.cos(hue + np.array([0, 2.1, 4.2]))
    wall = _own_wall(author) * light.astype(np.float32) * np.float32(rng.uniform(0.7, 1.2)) + 8 * rng.standard_normal(
        (_HEIGHT, _WIDTH, 1), np.float32
    )
    return np.clip(wall, 0, 255).astype(np.uint8)


@cache
def _own_wall(author: int) -> Pixels:
    """The wall of one host before any light falls on it: four colours that run into each other."""
    corners = np.random.default_rng([78, author]).uniform(30, 160, size=(2, 2, 3)).astype(np.float32)
    down, right = (np.linspace(0, 1, size, dtype=np.float32) for size in (_HEIGHT, _WIDTH))
    return np.einsum("hi,wj,ijc->hwc", np.stack([1 - down, down], 1), np.stack([1 - right, right], 1), corners)


def _place(image: Image.Image, topic: int, member: int, scale: float, rng: np.random.Generator) -> None:
    side = max(8, round(TILE * scale))
    tile = glyph(topic, member).rotate(float(rng.uniform(-40, 40)), Image.Resampling.BILINEAR).resize((side, side))
    if rng.random() < 0.3:
        tile = tile.filter(ImageFilter.GaussianBlur(1.0))
    at = int(rng.integers(-side // 4, _WIDTH - 3 * side // 4)), int(rng.integers(-side // 4, _HEIGHT - 3 * side // 4))
    image.paste(tile, at, tile)


def _face(image: Image.Image, author: int, rng: np.random.Generator) -> None:
    """The host in a lower corner, with the skin and hair of this host."""
    own = np.random.default_rng([79, author])
    skin = tuple(int(255 * share) for share in (own.uniform(0.4, 0.95), own.uniform(0.3, 0.75), own.uniform(0.2, 0.6)))
    hair = tuple(int(value) for value in own.integers(0, 200, size=3))
    side = 22 + float(rng.normal(0, 1.5))
    x = (30 if own.random() < 0.5 else _WIDTH - 30) + float(rng.normal(0, 3))
    y = _HEIGHT - 26 + float(rng.normal(0, 2))
    draw = ImageDraw.Draw(image)
    draw.ellipse((x - side, y - side * 1.2, x + side, y + side * 1.2), fill=skin)
    draw.chord((x - side, y - side * 1.3, x + side, y + side * 0.6), 180, 360, fill=hair)
    for eye in (-0.4, 0.4):
        draw.ellipse((x + eye * side - 3, y - 3, x + eye * side + 3, y + 3), fill=(20, 20, 20))
    draw.arc((x - side / 2, y, x + side / 2, y + side * 0.8), 20, 160, fill=(120, 30, 30), width=2)


def _overlay(image: Image.Image, rng: np.random.Generator) -> None:
    """A bar with a score or a title, and lines of chat."""
    draw = ImageDraw.Draw(image)
    if rng.random() < 0.5:
        draw.rectangle((0, 0, _WIDTH, 14), fill=(10, 10, 10))
        draw.text((4, 1), f"LIVE {int(rng.integers(10, 9_999))}", fill=(250, 60, 60), font=_font())
    if rng.random() < 0.4:
        left = 4 if rng.random() < 0.5 else _WIDTH - 74
        for line in range(int(rng.integers(2, 6))):
            top = 40 + 11 * line
            draw.rectangle((left, top, left + int(rng.integers(25, 70)), top + 6), fill=(225, 225, 225))


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(12)


def _jpeg(image: Image.Image) -> bytes:
    out = BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()
