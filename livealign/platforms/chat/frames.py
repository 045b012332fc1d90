"""Pictures beside a broadcast, `frames/<seconds>.jpg` → landing table `frames`.

Also .jpeg, .png and .webp. What is rejected here, beside what `livealign.landing.pictures` rejects:

    no_offset            the name is no number of seconds
    outside_broadcast    before the start or after the end
    several_broadcasts   the folder describes several broadcasts, so it is not known whose the pictures are (line 0)
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa

from livealign.days import day_of
from livealign.landing.run import LandingRun
from livealign.platforms.chat.broadcasts import Broadcast
from livealign.platforms.picture_files import BATCH_PICTURES, read_picture

FOLDER = "frames"
ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


def land_frames(archive: Path, broadcasts: Sequence[Broadcast], due: Sequence[Broadcast], run: LandingRun) -> None:
    """Land the pictures of the broadcasts that are `due`, where their folder has any.

    Args:
        broadcasts: all of the archive.
    """
    in_folder = Counter(PurePosixPath(broadcast.file).parent for broadcast in broadcasts)
    for broadcast in due:
        parent = PurePosixPath(broadcast.file).parent
        folder = archive / parent / FOLDER
        if not folder.is_dir():
            continue
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path.is_file())
        if in_folder[parent] > 1:
            detail = f"{in_folder[parent]} broadcasts lie beside the pictures; give each broadcast a folder of its own"
            run.reject("frames", str(parent / FOLDER), 0, "several_broadcasts", detail, day=broadcast.days[0])
            for path in files:
                run.used(path.relative_to(archive).as_posix())
            continue
        for start in range(0, len(files), BATCH_PICTURES):
            _land_files(archive, broadcast, files[start : start + BATCH_PICTURES], run)


def _land_files(archive: Path, broadcast: Broadcast, files: Sequence[Path], run: LandingRun) -> None:
    wanted = set(run.days)
    for path in files:
        file = path.relative_to(archive).as_posix()
        run.used(file)
        offset = _offset(path.stem)
        if offset is None:
            detail = f"{path.name} is no number of seconds; name it after its time in the broadcast, as 90.jpg"
            run.reject("frames", file, 0, "no_offset", detail, day=broadcast.days[0])
            continue
        at = broadcast.started_at + round(offset * 1_000)
        if offset < 0 or (broadcast.ended_at is not None and at > broadcast.ended_at):
            run.reject(
                "frames", file, 0, "outside_broadcast", f"{path.name} is not within the broadcast", day=broadcast.days[0]
            )
            continue
        if day_of(at) in wanted:
            row = {"room_id": [broadcast.room_id], "at": [at], "path": [file], "bytes": [read_picture(path)]}
            run.add("frames", pa.table(row), file, file_day=day_of(at))


def _offset(stem: str) -> float | None:
    try:
        offset = float(stem)
    except ValueError:
        return None
    return offset if math.isfinite(offset) and abs(offset) < 1e9 else None
