"""Broadcasts of a Twitch archive: the folders and their vod.json files."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from livealign import ids
from livealign.days import day_of, day_range
from livealign.errors import ArchiveError
from livealign.platforms.twitch.messages import AFTER_END_SECONDS, Message

CHAT = "verbose_chat.json.gz"
MAX_VOD_BYTES = 1 << 20
MAX_DURATION_SECONDS = 14 * 86_400  # Twitch cuts broadcasts at two days
VOD_FIELDS = frozenset({"vod_id", "stream_id", "title", "description", "created_at", "published_at", "duration"})

_FOLDER_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})_")


@dataclass(frozen=True)
class Vod:
    """One broadcast; times are milliseconds since 1970, UTC."""

    folder: str  # CHANNEL/YYYY-MM-DD_HH-MM-SS_VODID
    channel: str  # login of its owner
    room_id: int
    author_id: int
    title: str | None
    started_at: int
    duration: float  # seconds
    unknown_fields: tuple[str, ...]

    @property
    def ended_at(self) -> int:
        return self.started_at + round(self.duration * 1_000)

    @property
    def chat(self) -> str:
        """The chat, relative to the archive."""
        return f"{self.folder}/{CHAT}"

    def moments(self, messages: Sequence[Message]) -> npt.NDArray[np.int64]:
        """[n] when the messages were sent."""
        return self.started_at + np.array([round(message.offset * 1_000) for message in messages], np.int64)

    @property
    def days(self) -> list[date]:
        """The days on which it was live."""
        return day_range(day_of(self.started_at), day_of(self.ended_at))

    @property
    def chat_days(self) -> list[date]:
        """The days in which its messages may lie: some come after the end."""
        return day_range(day_of(self.started_at), day_of(self.ended_at + AFTER_END_SECONDS * 1_000))


@dataclass(frozen=True)
class BadVod:
    """A broadcast whose vod.json does not fit, and the day that its folder's name tells."""

    folder: str
    reason: str
    detail: str
    row: Mapping[str, Any] | None
    day: date | None


class _BadVodError(Exception):
    def __init__(self, reason: str, detail: str, row: Mapping[str, Any] | None = None) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail, self.row = reason, detail, row


def read_vods(archive: Path) -> tuple[list[Vod], list[BadVod]]:
    """All broadcasts of an archive by start, and those that do not fit.

    Raises:
        ArchiveError: the archive is no folder, or has no broadcasts in this layout.
    """
    if not archive.is_dir():
        raise ArchiveError(f"{archive} is no folder; give the folder that holds one folder for each channel")
    folders = {path.parent for name in ("vod.json", CHAT) for path in archive.glob(f"*/*/{name}")}
    if not folders:
        raise ArchiveError(
            f"{archive} holds no Twitch broadcasts; expected CHANNEL/YYYY-MM-DD_HH-MM-SS_VODID/ with vod.json and {CHAT} in it"
        )
    vods, bad = [], []
    for folder in sorted(folders):
        name = folder.relative_to(archive).as_posix()
        try:
            vods.append(_read_vod(folder, name))
        except _BadVodError as problem:
            bad.append(BadVod(name, problem.reason, problem.detail, problem.row, _folder_day(folder.name)))
    return sorted(vods, key=lambda vod: (vod.started_at, vod.folder)), bad


def _read_vod(folder: Path, name: str) -> Vod:
    path = folder / "vod.json"
    if not path.is_file():
        raise _BadVodError("missing_file", "there is no vod.json")
    if path.stat().st_size > MAX_VOD_BYTES:
        raise _BadVodError("unreadable_file", f"vod.json is larger than {MAX_VOD_BYTES} bytes")
    try:
        vod = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise _BadVodError("unreadable_file", f"vod.json is no JSON: {str(error)[:200]}") from error
    if not isinstance(vod, dict):
        raise _BadVodError("wrong_type", "vod.json holds no object")
    try:
        return _check_vod(vod, name)
    except _BadVodError as problem:
        raise _BadVodError(problem.reason, problem.detail, vod) from None


def _check_vod(vod: dict[str, Any], name: str) -> Vod:
    for field in ("vod_id", "created_at", "duration"):
        if vod.get(field) is None:
            raise _BadVodError("missing_value", f"there is no {field}")
    room_id, duration, title = str(vod["vod_id"]), vod["duration"], vod.get("title")
    if not (room_id.isascii() and room_id.isdigit()) or len(room_id) > 19 or int(room_id) > ids.MAX_ID:
        raise _BadVodError("wrong_type", "vod_id is not a number of 63 bits")
    if isinstance(duration, bool) or not isinstance(duration, int | float) or not math.isfinite(duration):
        raise _BadVodError("wrong_type", "duration is not a number of seconds")
    if duration < 0:
        raise _BadVodError("negative_duration", "duration is negative")
    if duration > MAX_DURATION_SECONDS:
        raise _BadVodError("too_long", f"duration is over {MAX_DURATION_SECONDS} s (is it in seconds?)")
    if title is not None and not isinstance(title, str):
        raise _BadVodError("wrong_type", "title is not text")
    if title is not None and not _is_utf8(title):
        raise _BadVodError("invalid_utf8", "title is not valid UTF-8")
    channel = name.split("/")[0].lower()
    return Vod(
        folder=name,
        channel=channel,
        room_id=int(room_id),
        author_id=ids.person_id("twitch_channel", f"@{channel}", ids.secret_key()),  # never a number: names may be digits
        title=title,
        started_at=_milliseconds(vod["created_at"]),
        duration=duration,
        unknown_fields=tuple(sorted(vod.keys() - VOD_FIELDS)),
    )


def _milliseconds(created_at: Any) -> int:
    """`2021-02-12T04:22:38Z` and `2025-12-22 18:01:58` are both seen, and both UTC."""
    try:
        moment = datetime.fromisoformat(created_at)
    except (TypeError, ValueError):
        raise _BadVodError("wrong_type", "created_at is not a time") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if moment.year < 2000:
        raise _BadVodError("time_before_2000", "created_at is before 2000-01-01")
    if moment > datetime.now(UTC):
        raise _BadVodError("time_in_future", "created_at is in the future")
    return round(moment.timestamp() * 1_000)


def _folder_day(name: str) -> date | None:
    found = _FOLDER_DAY.match(name)
    try:
        return date.fromisoformat(found[1]) if found else None
    except ValueError:
        return None


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
