"""A small good archive of every platform, as bytes by path."""

import gzip
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import tests.planted.kuaishou_archives as make
from livealign.events.log import EventLog
from livealign.platforms.registry import land
from livealign.simulation.archive import FORMAT
from livealign.simulation.config import MANIFEST
from tests.planted.chat_archives import (
    FAN,
    START_MS,
    cd_message,
    danmaku,
    recorder_xml,
    write,
    write_every_format,
    write_yt,
    yt_line,
    yt_text,
)


@cache
def pristine(platform: str) -> dict[str, bytes]:
    """A small good archive as bytes by path."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ARCHIVES[platform](folder)
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _write_twitch(folder: Path) -> None:
    for number, channel in enumerate(("channel1", "channel2")):
        broadcast = folder / channel / f"2025-08-01_20-00-22_{number}"
        broadcast.mkdir(parents=True)
        vod = {"vod_id": str(number), "title": "t", "description": {}, "created_at": "2025-08-01T20:00:22Z", "duration": 600}
        (broadcast / "vod.json").write_text(json.dumps(vod))
        messages = [
            {
                "id": f"m{i}",
                "createdAt": "2025-08-01T20:00:30Z",
                "contentOffsetSeconds": 10 * i,
                "commenter": None if i == 3 else {"id": str(i % 3), "login": f"fan_{i % 3}", "displayName": "Fan"},
                "message": {"fragments": [{"text": f"hi {i}", "emote": None}], "userBadges": []},
            }
            for i in range(8)
        ]
        (broadcast / "verbose_chat.json.gz").write_bytes(gzip.compress(json.dumps(messages).encode()))


def _write_youtube(folder: Path) -> None:
    lines = [yt_line(1_000 * i, yt_text(i, 1_000 * i, f"line {i}", str(i % 3))) for i in range(6)]
    write_yt(folder, lines, {})
    rows = [json.dumps(cd_message(i, 5.0 + i, FAN + str(i % 3), f"line {i}")) for i in range(6)]
    write(folder / "stream [zyxwvutsrqp].jsonl", "\n".join(rows) + "\n")


def _write_bilibili(folder: Path) -> None:
    spoken = [danmaku(10.5 + i, f"line {i}", f"100{i % 3}", f"u{i % 3}") for i in range(6)]
    write(folder / "r" / "1.xml", recorder_xml(spoken))
    write(folder / "777" / "2025-09-22.txt", "".join(f"{START_MS + 1_000 * i}:88{i % 3}:line {i}\n" for i in range(6)))


def _write_simulator(folder: Path) -> None:
    """What landed from another platform has the columns of a simulated archive."""
    with tempfile.TemporaryDirectory() as name:
        make.write_m3(Path(name) / "a")
        land("kuailive_m3", Path(name) / "a", Path(name) / "l")
        for path in (Path(name) / "l").glob("*/dt=*/part-0.parquet"):
            if path.parent.parent.name not in ("ledger", "rejects"):
                target = folder / path.parent.name / f"{path.parent.parent.name}.parquet"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
    (folder / MANIFEST).write_text(json.dumps({"format": FORMAT}))


def _write_parquet(folder: Path) -> None:
    """The same rows as engines lay them out: a table in a folder of days, one in numbered files, one in a file."""
    _write_simulator(folder)
    (folder / MANIFEST).unlink()
    for number, path in enumerate(sorted(folder.glob("dt=*/*.parquet"))):
        name, day = path.stem, path.parent.name
        targets = {"plays": f"plays/{day}/part-0.snappy.parquet", "comments": f"comments_{number}.parquet"}
        if name in targets:
            (folder / targets[name]).parent.mkdir(parents=True, exist_ok=True)
            path.rename(folder / targets[name])


def _write_liverec(folder: Path) -> None:
    rows = [
        f"{user},{1000 + streamer},host{streamer},{10 * user + streamer},{10 * user + streamer + 2}"
        for user in range(6)
        for streamer in range(4)
    ]
    (folder / "100k.csv").write_text("\n".join(rows) + "\n")
    (folder / "liverec.json").write_text(json.dumps({"start": "2025-04-01T00:00:00Z"}))


def _write_served(folder: Path) -> None:
    """Two files of an event log: the second has the ends of what began in the first."""
    at = 1_749_470_000_000
    who = {"room_id": 10, "author_id": 1}
    for kinds in (("room_started", "impression", "play_started", "comment", "like"), ("speech", "play_ended", "room_ended")):
        with EventLog(folder) as log:
            for kind in kinds:
                event = {"kind": kind, "event_id": kind, "at": at, **who}
                event |= {} if kind in ("room_started", "room_ended", "speech") else {"user_id": 7}
                event |= {"text": "hi"} if kind in ("comment", "speech") else {}
                event |= {"ended_at": at + 1_000} if kind == "speech" else {}
                event |= {"play_id": "play_started"} if kind == "play_ended" else {}
                log.append([json.dumps(event).encode()])
                at += 20_000
    (folder / "lock").unlink()


# A small good archive of every platform; a new one needs this line alone.
ARCHIVES: dict[str, Callable[[Path], object]] = {
    "kuailive": make.write_kuailive,
    "kuailive_m3": make.write_m3,
    "twitch": _write_twitch,
    "youtube": _write_youtube,
    "bilibili": _write_bilibili,
    "chat": write_every_format,
    "simulator": _write_simulator,
    "served": _write_served,
    "parquet": _write_parquet,
    "liverec": _write_liverec,
}
