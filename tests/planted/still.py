"""Images of rooms: a card that never changes, a chess board, a camera that moves."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

_SIZE = (640, 360)
_BOARD = 320  # pixels of its side
_MOVES = (((6, 4), (4, 4)), ((1, 4), (3, 4)), ((7, 6), (5, 5)))  # (row, column) from and to


def card(seed: int) -> Image.Image:
    """A card with a title on a blurred background."""
    corners = np.random.default_rng([1, seed]).integers(30, 200, size=(2, 2, 3), dtype=np.uint8)
    image = Image.fromarray(corners).resize(_SIZE, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    draw.rectangle((60, 120, 580, 240), fill=(15, 15, 25))
    draw.text((320, 180), "STARTING SOON", fill=(240, 240, 240), anchor="mm", font_size=48)
    return image


def board(played: int) -> Image.Image:
    """A chess board after so many moves, of 3."""
    image = Image.new("RGB", _SIZE, (60, 50, 45))
    draw, side = ImageDraw.Draw(image), _BOARD / 8
    left, top = (_SIZE[0] - _BOARD) / 2 + 7, (_SIZE[1] - _BOARD) / 2 + 3  # on no field's edge
    pieces = {(row, column): row < 4 for row in (0, 1, 6, 7) for column in range(8)}
    for start, end in _MOVES[:played]:
        pieces[end] = pieces.pop(start)
    for row in range(8):
        for column in range(8):
            x, y = left + column * side, top + row * side
            draw.rectangle((x, y, x + side, y + side), fill=(240, 217, 181) if (row + column) % 2 == 0 else (181, 136, 99))
            if (row, column) in pieces:
                colour = (20, 20, 20) if pieces[row, column] else (250, 250, 250)
                draw.ellipse((x + 0.2 * side, y + 0.2 * side, x + 0.8 * side, y + 0.8 * side), fill=colour)
    return image


def camera(step: int) -> Image.Image:
    """A still scene before a camera that pans a little with each step."""
    rough = Image.fromarray(np.random.default_rng(5).integers(0, 256, size=(60, 100, 3), dtype=np.uint8))
    scene = rough.resize((1_000, 600), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(4))
    return scene.crop((8 * step, 100, 8 * step + _SIZE[0], 100 + _SIZE[1]))
