"""The pictures of a landing: decoded in bounds, kept once under the hash of their pixels.

    landing/pictures/dt=YYYY-MM-DD/<SHA-256 of the pixels>.webp      224 × 224 RGB, nothing else that the picture carried
    landing/frames/dt=YYYY-MM-DD/part-0.parquet                     path: the picture, from the landing folder; bytes: null

A row of `frames` whose picture cannot be kept is rejected with the reason of `livealign.frames.decode`, or with `no_picture`
where it has no bytes.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa

from livealign.frames.decode import FrameError, decode, picture_name, webp_of
from livealign.landing.rules import CheckedRows, RejectReason

TABLE = "frames"
FOLDER = "pictures"


def picture_path(day: date, name: str) -> str:
    """The path in the landing folder of the picture of this name and day."""
    return f"{FOLDER}/dt={day}/{name}.webp"


def keep_pictures(checked: CheckedRows, days: Mapping[int, date], staged: Path, root: Path) -> CheckedRows:
    """The verdict on rows of `frames`, with the picture of each good row kept.

    It is written below `staged` unless `root` has it.

    Args:
        days: the days that the run lands, by number since 1970; pictures of other days are not decoded.
        root: the landing folder. staged: a folder whose `pictures/` the run moves there at its end.
    """
    at = {field.name: place for place, field in enumerate(checked.rows.schema)}
    pictures = checked.rows.column("bytes")
    paths: list[str | None] = [None] * len(checked.rows)
    reasons, reason_index = list(checked.reasons), checked.reason_index.copy()
    places = {reason: place for place, reason in enumerate(reasons)}
    for row in np.flatnonzero(checked.reason_index < 0).tolist():
        day = days.get(int(checked.day[row]))
        if day is None:
            continue
        try:
            paths[row] = _kept(pictures[row].as_py(), day, staged, root)
        except FrameError as error:
            reason = RejectReason(error.reason, str(error))
            if reason not in places:
                places[reason] = len(reasons)
                reasons.append(reason)
            reason_index[row] = places[reason]
    rows = checked.rows.set_column(at["path"], "path", pa.array(paths, pa.string()))
    rows = rows.set_column(at["bytes"], "bytes", pa.nulls(len(rows), pa.binary()))
    return replace(checked, rows=rows, reasons=reasons, reason_index=reason_index)


def publish_pictures(staged: Path, root: Path) -> None:
    """Move the pictures of a run into the landing folder, where those of other runs stay."""
    for picture in sorted((staged / FOLDER).glob("dt=*/*.webp")):
        target = root / picture.relative_to(staged)
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.replace(target)


def _kept(data: bytes | None, day: date, staged: Path, root: Path) -> str:
    """The path of the picture, which lies in one of the folders when this returns."""
    if data is None:
        raise FrameError("no_picture", "bytes is null, and no file of the archive has the path")
    pixels = decode(data)
    path = picture_path(day, picture_name(pixels))
    if not (root / path).exists() and not (staged / path).exists():
        (staged / path).parent.mkdir(parents=True, exist_ok=True)
        (staged / path).write_bytes(webp_of(pixels))
    return path
