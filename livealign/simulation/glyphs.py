"""Drawn objects that stand for the members of topics.

A topic has shapes and colours, a member its own arrangement of them.

So a member that was never seen resembles the others of its topic, as a new song is still music; topics share shapes and colours
with others, as real ones do.
"""

import colorsys
import math
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from livealign.simulation.topics import TOPICS

TILE = 96  # pixels of a drawn object's side
KINDS = ("disc", "ring", "square", "triangle", "star", "cross", "bars", "crescent", "hexagon", "dots")
_SALT = 9_001  # of the drawings: they are the same on every platform and seed

Colour = tuple[int, int, int, int]


@cache
def glyph(topic: int, member: int) -> Image.Image:
    """The object of one member: RGBA, TILE × TILE, transparent around it."""
    rng = np.random.default_rng([_SALT, topic, member])
    image = Image.new("RGBA", (TILE, TILE), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    kinds, hues = _kinds(topic), _hues(topic)
    for part in range(int(rng.integers(3, 6))):
        radius = TILE * float(rng.uniform(0.26, 0.36) if part == 0 else rng.uniform(0.08, 0.2))
        away = 0.0 if part == 0 else TILE * float(rng.uniform(0.1, 0.3))
        angle = float(rng.uniform(0, 2 * math.pi))
        centre = TILE / 2 + away * math.cos(angle), TILE / 2 + away * math.sin(angle)
        hue = hues[int(rng.integers(len(hues)))] + float(rng.normal(0, 0.02))
        colour = _colour(hue, float(rng.uniform(0.55, 0.95)), float(rng.uniform(0.55, 1.0)))
        _draw(draw, kinds[int(rng.integers(len(kinds)))], centre, radius, angle, colour)
    return image


def genre_hue(topic: int) -> float:
    """Hue of the light in which a topic is shown, the same for all topics of its genre."""
    genres = list(dict.fromkeys(known.genre for known in TOPICS))
    return genres.index(TOPICS[topic].genre) / len(genres)


def _kinds(topic: int) -> tuple[str, ...]:
    """Three kinds of shapes; each kind is in several topics."""
    rng = np.random.default_rng([_SALT, topic])
    return tuple(KINDS[kind] for kind in rng.permutation(len(KINDS))[:3])


def _hues(topic: int) -> tuple[float, ...]:
    rng = np.random.default_rng([_SALT, topic, 0, 0])
    return tuple(float(hue) for hue in rng.random(2))


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue), 255


def _draw(
    draw: ImageDraw.ImageDraw, kind: str, centre: tuple[float, float], radius: float, angle: float, colour: Colour
) -> None:
    x, y = centre
    box = (x - radius, y - radius, x + radius, y + radius)
    width = max(2, round(radius / 3))
    if kind == "disc":
        draw.ellipse(box, fill=colour)
    elif kind == "ring":
        draw.ellipse(box, outline=colour, width=width)
    elif kind == "crescent":
        draw.chord(box, math.degrees(angle), math.degrees(angle) + 200, fill=colour)
    elif kind == "cross":
        for turn in (0.0, math.pi / 2):
            dx, dy = radius * math.cos(angle + turn), radius * math.sin(angle + turn)
            draw.line((x - dx, y - dy, x + dx, y + dy), fill=colour, width=width)
    elif kind == "bars":
        for shift in (-0.8, 0.0, 0.8):
            draw.rectangle((x + (shift - 0.25) * radius, y - radius, x + (shift + 0.25) * radius, y + radius), fill=colour)
    elif kind == "dots":
        for number in range(5):
            turn = angle + number * 2 * math.pi / 5
            at, small = (x + radius * math.cos(turn), y + radius * math.sin(turn)), radius / 3.2
            draw.ellipse((at[0] - small, at[1] - small, at[0] + small, at[1] + small), fill=colour)
    else:
        corners = {"square": 4, "triangle": 3, "hexagon": 6, "star": 10}[kind]
        points = []
        for number in range(corners):
            reach = radius * (0.45 if kind == "star" and number % 2 else 1.0)
            turn = angle + number * 2 * math.pi / corners
            points.append((x + reach * math.cos(turn), y + reach * math.sin(turn)))
        draw.polygon(points, fill=colour)
