"""All broadcasts of an archive, in whatever formats.

Each format takes the files that it knows by name or by a look into them.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from livealign.errors import ArchiveError
from livealign.platforms.chat.broadcasts import BadBroadcast, Broadcast, Found
from livealign.platforms.chat.formats import (
    bililive_recorder,
    chat_downloader,
    danmaku_lines,
    twitch_archiver,
    twitch_downloader,
    yt_dlp,
)

EXPECTED = (
    "CHANNEL/BROADCAST/ with vod.json and verbose_chat.json.gz in it (twitch-archiver), TwitchDownloader's chat JSON, "
    "NAME.live_chat.json with NAME.info.json (yt-dlp), chat-downloader's JSON or JSON Lines, BililiveRecorder's XML, or "
    "ROOM/DAY.txt with time_ms:user_id:text lines"
)


class Format(Protocol):
    """The interface of a format's module."""

    def find(self, archive: Path, names: Sequence[str]) -> Found:
        """Its broadcasts among files that no earlier format knows."""


FORMATS: tuple[Format, ...] = (
    twitch_archiver,
    yt_dlp,
    twitch_downloader,
    chat_downloader,
    bililive_recorder,
    danmaku_lines,
)


def find_broadcasts(archive: Path, label: str = "chat") -> Found:
    """All broadcasts by start, and those that do not fit.

    A room that is there twice (in two formats, or as a copy) is read once, as the format listed first has it; the other
    is a `duplicate_broadcast`, or its messages would be counted twice.

    Raises:
        ArchiveError: the archive is no folder, or has no broadcasts in any known format.
    """
    if not archive.is_dir():
        raise ArchiveError(f"{archive} is no folder; give the folder that holds one folder for each channel")
    whole = Found()
    names = _files(archive)
    for chat_format in FORMATS:
        found = chat_format.find(archive, [name for name in names if name not in whole.names])
        whole.names |= found.names
        whole.broadcasts += found.broadcasts
        whole.bad += found.bad
    if not whole.broadcasts and not whole.bad:
        raise ArchiveError(f"{archive} holds no {label} broadcasts; expected {EXPECTED}")
    _leave_out_copies(whole)
    whole.broadcasts.sort(key=lambda broadcast: (broadcast.started_at, broadcast.file))
    return whole


def _leave_out_copies(whole: Found) -> None:
    first: dict[tuple[str, int], Broadcast] = {}
    for broadcast in whole.broadcasts:
        earlier = first.setdefault((broadcast.site, broadcast.room_id), broadcast)
        if earlier is not broadcast:
            detail = f"{earlier.file} has the same room {broadcast.room_id}"
            chats = tuple(chat.file for chat in broadcast.chats)
            day = broadcast.days[0]
            whole.bad.append(BadBroadcast(broadcast.file, "duplicate_broadcast", detail, None, day, chats))
    whole.broadcasts = list(first.values())


def _files(archive: Path) -> list[str]:
    """All files below the archive, relative and sorted; hidden ones are left out."""
    names = []
    for folder, folders, files in os.walk(archive):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = Path(folder).relative_to(archive).as_posix()
        names += [name if inside == "." else f"{inside}/{name}" for name in files if not name.startswith(".")]
    return sorted(names)
