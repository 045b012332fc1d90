"""Small Twitch archives, byte-faithful to what archivers write, quirks included."""

import gzip
import json
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any


def twitch_user(login: str) -> dict[str, Any]:
    """A commenter; the id is a string of digits, the same for the same login."""
    return {"id": str(uuid.uuid5(uuid.NAMESPACE_DNS, login).int % 10**9), "login": login, "displayName": login.capitalize()}


def old_message(offset: float, login: str, text: str, bits: int = 0, badges: Sequence[str] = ()) -> dict[str, Any]:
    """A message of the older generation: contentId, body, bitsSpent; no empty badges."""
    message: dict[str, Any] = {"body": text, "bitsSpent": bits, "fragments": _fragments(text, "old")}
    if badges:
        message["userBadges"] = [{"_id": name, "version": "1"} for name in badges]
    return {
        "id": _message_id(offset, login, text),
        "createdAt": "2025-08-01T20:00:34.469Z",  # minutes off in old archives, and never used
        "contentOffsetSeconds": offset,
        "contentId": "2528468909",
        "commenter": twitch_user(login),
        "message": message,
    }


def new_message(offset: float, login: str | None, text: str, badges: Sequence[str] = ()) -> dict[str, Any]:
    """A message of the newer generation: no body, perhaps no commenter, empty badges."""
    message: dict[str, Any] = {"fragments": _fragments(text, "new")}
    if badges:
        message["userBadges"] = [{"setID": name, "version": "1"} for name in badges] + [{}]
    return {
        "id": _message_id(offset, str(login), text),
        "createdAt": "2025-09-22T19:53:45.225Z",
        "contentOffsetSeconds": offset,
        "commenter": None if login is None else twitch_user(login),
        "message": message,
    }


def write_broadcast(
    archive: Path,
    channel: str,
    started_at: datetime,
    messages: Sequence[Any],
    vod_id: int = 1,
    duration: float = 3_600,
    title: str = "a title",
    generation: str = "old",
) -> Path:
    """Write one broadcast's folder and return it."""
    folder = archive / channel / f"{started_at:%Y-%m-%d_%H-%M-%S}_{vod_id}"
    folder.mkdir(parents=True)
    vod: dict[str, Any]
    if generation == "old":
        created_at = f"{started_at:%Y-%m-%dT%H:%M:%SZ}"
        vod = {"vod_id": str(vod_id), "title": title, "description": {}, "created_at": created_at, "duration": duration}
    else:
        created_at = f"{started_at:%Y-%m-%d %H:%M:%S}"
        vod = {"vod_id": vod_id, "stream_id": 0, "title": title, "description": None, "created_at": created_at}
        vod |= {"published_at": created_at, "duration": duration}
    (folder / "vod.json").write_text(json.dumps(vod))
    write_chat(folder, json.dumps(list(messages)).encode())
    return folder


def write_chat(folder: Path, content: bytes) -> None:
    """Write the chat with these bytes; the same bytes give the same file."""
    (folder / "verbose_chat.json.gz").write_bytes(gzip.compress(content, mtime=0))


def small_twitch_archive(archive: Path) -> None:
    """Two channels on one evening, both generations, one broadcast over midnight."""
    evening = datetime(2025, 12, 22, 22, 0, 0)
    streamelements = "alice is now live! Streaming Silent Hill: Homecoming: spooky night: part 2"
    write_broadcast(
        archive,
        "alice",
        evening,
        [
            old_message(5, "streamelements", streamelements),
            old_message(10, "alice", "welcome everybody"),
            old_message(20, "bob_1", "hi @Alice how are you", bits=100),
            old_message(30.5, "carol", "first", badges=["subscriber"]),
            old_message(500, "bob_1", "lol"),
            old_message(9_000, "carol", "good night bob_1"),
        ],
        vod_id=101,
        duration=10_000,
        title="spooky night: part 3 (changed later)",
    )
    write_broadcast(
        archive,
        "dave",
        evening + timedelta(minutes=10),
        [
            new_message(3, "dave", "hello there", badges=["broadcaster"]),
            new_message(60, "erin", "hey dave"),
            new_message(61, None, "I have no account"),
            new_message(62, "erin", ""),
            new_message(63, "helper", "type !discord", badges=["bot-badge"]),
        ],
        vod_id=102,
        duration=1_800,
        generation="new",
    )


def _fragments(text: str, generation: str) -> list[dict[str, Any]]:
    """Words and, as archivers do, emotes apart from them; an empty message has none."""
    fragments: list[dict[str, Any]] = []
    for word in text.split(" ") if text else []:
        if fragments:
            fragments.append({"text": " ", "emote": None})
        emote = {"old": {"emoticon_id": "25"}, "new": {"id": "25;0;4", "emoteID": "25", "from": 0}}[generation]
        fragments.append({"text": word, "emote": emote if word == "Kappa" else None})
    return fragments


def _message_id(offset: float, login: str, text: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{offset}/{login}/{text}"))
