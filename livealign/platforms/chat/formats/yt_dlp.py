"""yt-dlp's YouTube live chat: NAME.live_chat.json (JSON Lines) beside NAME.info.json.

Times are the start of the broadcast plus videoOffsetTimeMsec. The start is release_timestamp; without it what the
messages' own clock says (the median of timestampUsec - videoOffsetTimeMsec); without that the upload's timestamp. A day
alone (upload_date) places nothing. Super chats and stickers are gifts with their amount in the currency paid in; new
and given memberships are gifts without a price. Chapters are written by the channel, often after the broadcast; they
are kept as changes of the title. What the player shows beside messages (tickers, banners, polls) is no message.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from livealign.platforms.chat.broadcasts import (
    YOUTUBE,
    BadBroadcast,
    Broadcast,
    Change,
    Chat,
    Found,
    checked_duration,
    checked_title,
    room_id_of,
    time_ms,
)
from livealign.platforms.chat.formats.youtube_items import OFFSET, message_of, read_items
from livealign.platforms.chat.json_text import read_object
from livealign.platforms.chat.messages import BadValueError, Reading, is_number, listed, read_elements
from livealign.platforms.chat.survey import Survey, survey

CHAT_ENDINGS = (".live_chat.json", ".live_chat.json.gz")
INFO_ENDING = ".info.json"
MAX_INFO_BYTES = 64 << 20  # with every format's address in it


def find(archive: Path, names: Sequence[str]) -> Found:
    """Every live chat, and every info of a broadcast whose chat is missing."""
    found, files = Found(), set(names)
    stems: dict[str, str] = {}
    for name in names:
        for ending in CHAT_ENDINGS:
            if name.endswith(ending):
                stems.setdefault(name.removesuffix(ending), name)
    for name in names:
        stem = name.removesuffix(INFO_ENDING)
        if name.endswith(INFO_ENDING) and stem not in stems and _was_live(archive / name):
            stems[stem] = stem + CHAT_ENDINGS[0]
    for stem, chat in sorted(stems.items()):
        info = stem + INFO_ENDING if stem + INFO_ENDING in files else None
        found.names.update({chat, info or chat})
        try:
            found.broadcasts.append(_read_broadcast(archive, stem, chat, info))
        except BadValueError as problem:
            found.bad.append(BadBroadcast(info or chat, problem.reason, problem.detail, None, None, (chat,)))
    return found


def _was_live(path: Path) -> bool:
    try:
        info = read_object(path, MAX_INFO_BYTES)
    except (ValueError, OSError):
        return False
    return isinstance(info, dict) and bool(info.get("was_live") or info.get("live_status") in ("was_live", "post_live"))


def _read_broadcast(archive: Path, stem: str, chat: str, info_file: str | None) -> Broadcast:
    info = _read_info(archive / info_file) if info_file else {}
    key = str(info.get("id") or _id_in(stem))
    channel = str(info.get("channel_id") or info.get("uploader_id") or info.get("channel") or info.get("uploader") or "")
    surveyed = Survey()
    if info.get("release_timestamp") is None or info.get("duration") is None:
        surveyed = _survey(archive / chat)
    channel = channel or surveyed.facts.get("owner") or stem.rpartition("/")[0].rpartition("/")[2] or key
    started_at = _start(info, surveyed)
    duration = info.get("duration")
    categories = listed(info, "categories")
    title = checked_title(info.get("title") or info.get("fulltitle"))
    return Broadcast(
        site=YOUTUBE,
        channel=channel,
        owner=channel,
        file=info_file or chat,
        room_id=room_id_of(YOUTUBE, key),
        title=title,
        category=checked_title(categories[0], "categories") if categories else None,
        started_at=started_at,
        duration=surveyed.last_offset if duration is None else checked_duration(duration),
        chats=(Chat(chat, _read),),
        changes=_chapters(info, started_at, title),
    )


def _read_info(path: Path) -> dict[str, Any]:
    try:
        info = read_object(path, MAX_INFO_BYTES)
    except (ValueError, OSError) as error:
        raise BadValueError("unreadable_file", f"the info is no JSON: {str(error)[:200]}") from error
    if not isinstance(info, dict):
        raise BadValueError("wrong_type", "the info holds no object")
    return info


def _survey(path: Path) -> Survey:
    try:
        return survey(path, read_items, _look)
    except FileNotFoundError:
        return Survey()


def _start(info: Mapping[str, Any], surveyed: Survey) -> int:
    if info.get("release_timestamp") is not None:
        return time_ms(info["release_timestamp"], "release_timestamp")
    if surveyed.started_at is not None:
        return surveyed.started_at
    if info.get("timestamp") is not None:
        return time_ms(info["timestamp"], "timestamp")
    raise BadValueError("missing_value", "neither the info (release_timestamp, timestamp) nor a message says when it began")


def _chapters(info: Mapping[str, Any], started_at: int, title: str | None) -> tuple[Change, ...]:
    changes, latest = [], title
    for chapter in listed(info, "chapters"):
        if not isinstance(chapter, dict) or not is_number(chapter.get("start_time")) or chapter["start_time"] < 0:
            continue
        name = checked_title(chapter.get("title"), "chapters")
        if name and name != latest:
            changes.append(Change(started_at + round(chapter["start_time"] * 1_000), title=name))
            latest = name
    return tuple(changes)


def _id_in(stem: str) -> str:
    """The video's id, which yt-dlp writes into brackets at the end of the name; else the whole name."""
    name = stem.rpartition("/")[2]
    opened = name.rfind("[")
    return name[opened + 1 : -1] if name.endswith("]") and len(name) - opened == 13 else name


def _look(found: Survey, item: Any) -> None:
    if not isinstance(item, dict) or not isinstance(item.get("renderer"), dict):
        return
    stamp = item["renderer"].get("timestampUsec")
    usable = isinstance(stamp, str | int) and str(stamp).isascii() and str(stamp).isdigit() and len(str(stamp)) < 18
    found.add(item.get(OFFSET), int(stamp) / 1_000 if usable else None)
    try:
        message = message_of(0, item, None)
    except BadValueError:
        return
    if message is not None and message.owner:
        found.facts.setdefault("owner", message.user)


def _read(path: Path, broadcast: Broadcast, chat: Chat) -> Reading:
    duration = broadcast.duration
    return read_elements(
        read_items(path), lambda line, item: message_of(line, item, duration), duration, lambda row: row.get(OFFSET)
    )
