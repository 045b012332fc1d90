"""The files of the live wall: what a browser may ask for, and where it lies."""

from pathlib import Path

WALL = Path(__file__).parent / "wall"
PAGE = WALL / "wall.html"
_TYPES = {".css": "text/css", ".js": "text/javascript"}

WALL_FILES = {"/": (PAGE, "text/html")} | {
    f"/wall/{file.name}": (file, _TYPES[file.suffix]) for file in sorted(WALL.iterdir()) if file.suffix in _TYPES
}
"""Path → (file, media type)."""
