"""Folders of twitch-archiver: vod.json beside the chat, in its older and newer form.

    CHANNEL/YYYY-MM-DD_HH-MM-SS_VODID/{vod.json, verbose_chat.json.gz}           older
    CHANNEL/'YYYY-MM-DD_HH-MM-SS - TITLE - VODID'/{vod.json, verbose_chat.json}  as it writes now; .gz where configured
    CHANNEL/'YYYY-MM-DD_HH-MM-SS - TITLE - STREAM_ONLY'/                         recorded live: vod_id is 0

    old messages: message {body, bitsSpent, fragments [{text, emote}], userBadges [{_id, version}]}, contentId
    new messages: message {fragments [{text, emote}], userBadges [{setID, version}]}, no body; commenter may be null

A broadcast without a VOD is known by its stream_id, and without that by channel and start. readable_chat.txt repeats
the chat for people and is not read.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any

from livealign import ids
from livealign.platforms.chat.broadcasts import (
    TWITCH,
    BadBroadcast,
    Broadcast,
    Chat,
    Found,
    checked_duration,
    checked_title,
    room_id_of,
    time_ms,
)
from livealign.platforms.chat.json_text import read_object, stream_array
from livealign.platforms.chat.messages import (
    BadValueError,
    Gift,
    Message,
    Reading,
    checked_offset,
    checked_text,
    field,
    is_number,
    listed,
    read_elements,
)

VOD = "vod.json"
CHATS = ("verbose_chat.json.gz", "verbose_chat.json")  # the first is read where both are there
READABLE = "readable_chat.txt"
MAX_VOD_BYTES = 1 << 20
VOD_FIELDS = frozenset(
    (
        *("vod_id", "stream_id", "title", "description", "created_at", "published_at", "duration"),
        *("thumbnail_url", "chat_archived", "video_archived", "chapters", "category", "muted_segments"),
    )
)
MESSAGE_FIELDS = frozenset(
    {"id", "createdAt", "contentId", "contentOffsetSeconds", "commenter", "message", "__typename", "updatedAt"}
)

_FOLDER_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})[_ ]")


def find(archive: Path, names: Sequence[str]) -> Found:
    """Every folder with a vod.json or a verbose chat in it."""
    found, files = Found(), set(names)
    folders = {PurePosixPath(name).parent for name in names if PurePosixPath(name).name in (VOD, *CHATS)}
    for folder in sorted(folders):
        if folder == PurePosixPath("."):
            continue
        present = [f"{folder}/{name}" for name in CHATS if f"{folder}/{name}" in files]
        chat = present[0] if present else f"{folder}/{CHATS[0]}"
        also = [name for name in (f"{folder}/{READABLE}",) if name in files]
        found.names.update([f"{folder}/{VOD}", chat, *also])
        try:
            found.broadcasts.append(_read_vod(archive, folder, chat, tuple(also)))
        except _BadVodError as bad:
            found.bad.append(
                BadBroadcast(f"{folder}/{VOD}", bad.reason, bad.detail, bad.row, _folder_day(folder.name), (chat,))
            )
    return found


def read_messages(path: Path, duration: float | None) -> Reading:
    """All messages of one chat; a bad one is set apart and loses no other.

    Raises:
        ArchiveError: the file as a whole cannot be read: truncated, no gzip, no JSON array, or too large.
        FileNotFoundError: there is no such file.
    """
    return read_elements(
        enumerate(stream_array(path), start=1),
        lambda line, element: _message(line, element, duration),
        duration,
        lambda row: row.get("contentOffsetSeconds"),
        MESSAGE_FIELDS,
    )


class _BadVodError(BadValueError):
    """A vod.json does not fit; `row` is what it holds."""

    def __init__(self, reason: str, detail: str, row: Mapping[str, Any] | None = None) -> None:
        super().__init__(reason, detail)
        self.row = row


def _read_vod(archive: Path, folder: PurePosixPath, chat: str, also: tuple[str, ...]) -> Broadcast:
    path = archive / folder / VOD
    if not path.is_file():
        raise _BadVodError("missing_file", "there is no vod.json")
    try:
        vod = read_object(path, MAX_VOD_BYTES)
    except (ValueError, OSError) as error:
        raise _BadVodError("unreadable_file", f"vod.json is no JSON: {str(error)[:200]}") from error
    if not isinstance(vod, dict):
        raise _BadVodError("wrong_type", "vod.json holds no object")
    try:
        return _check_vod(vod, archive, folder, chat, also)
    except BadValueError as problem:
        raise _BadVodError(problem.reason, problem.detail, vod) from None


def _check_vod(vod: Mapping[str, Any], archive: Path, folder: PurePosixPath, chat: str, also: tuple[str, ...]) -> Broadcast:
    for name in ("vod_id", "created_at", "duration"):
        if vod.get(name) is None:
            raise BadValueError("missing_value", f"there is no {name}")
    number = _number(vod["vod_id"], "vod_id")
    duration = checked_duration(vod["duration"])
    title = checked_title(vod.get("title"))
    channel = (folder.parent.name or archive.resolve().name).lower()
    started_at = time_ms(vod["created_at"], "created_at")
    if number == 0:
        number = _number(vod.get("stream_id") or 0, "stream_id")
    return Broadcast(
        site=TWITCH,
        channel=channel,
        owner=channel,
        file=f"{folder}/{VOD}",
        room_id=number or ids.hashed_id("twitch_room", f"{channel}:{started_at}"),
        title=title,
        category=None,
        started_at=started_at,
        duration=duration,
        chats=(Chat(chat, lambda path, broadcast, _: read_messages(path, broadcast.duration)),),
        unknown_fields=tuple(sorted(vod.keys() - VOD_FIELDS)),
        used=also,
    )


def _number(value: Any, name: str) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) > ids.MAX_ID:
        raise BadValueError("wrong_type", f"{name} is not a number of 63 bits")
    return room_id_of(TWITCH, text)


def _message(line: int, element: Any, duration: float | None) -> Message:
    if not isinstance(element, dict):
        raise BadValueError("wrong_type", "the message is not an object")
    offset = checked_offset(field(element, "contentOffsetSeconds", int, float), "contentOffsetSeconds", duration)
    if element.get("commenter") is None:
        raise BadValueError("no_commenter", "the archive does not say who wrote it")
    commenter = field(element, "commenter", dict)
    content = field(element, "message", dict)
    text = checked_text(text_of(content))
    bits = content.get("bitsSpent") or 0
    if not is_number(bits):
        raise BadValueError("wrong_type", "message.bitsSpent is not a number")
    badges = listed(content, "userBadges")
    return Message(
        line=line,
        id=str(field(element, "id", str, int)),
        offset=offset,
        user=str(field(commenter, "id", str, int)),
        login=str(commenter.get("login") or "").lower(),
        name=str(commenter.get("displayName") or ""),
        text=text,
        gift=Gift(1, float(int(bits))) if int(bits) else None,
        bot_badge=any(isinstance(badge, dict) and "bot-badge" in (badge.get("_id"), badge.get("setID")) for badge in badges),
    )


def text_of(content: Mapping[str, Any]) -> str:
    """The body where the archive has one, else its fragments joined.

    Raises:
        BadValueError: there is neither.
    """
    if isinstance(content.get("body"), str):
        return content["body"]
    parts = []
    for fragment in field(content, "fragments", list):
        if not isinstance(fragment, dict) or not isinstance(fragment.get("text"), str):
            raise BadValueError("wrong_type", "a fragment has no text")
        parts.append(fragment["text"])
    return "".join(parts)


def _folder_day(name: str) -> date | None:
    found = _FOLDER_DAY.match(name)
    try:
        return date.fromisoformat(found[1]) if found else None
    except ValueError:
        return None
