"""Twitch VOD chat archives → landing tables.

    CHANNEL/YYYY-MM-DD_HH-MM-SS_VODID/{vod.json, verbose_chat.json.gz}

How the tables come about, where the archive does not say it outright:

- rooms: room_id = VOD id, author = the channel (hashed name), ended_at = created_at + duration. Category and title are
  those a bot announced at the start ("is now live! Streaming GAME: TITLE"); without it the title is that of vod.json,
  which archivers may have fetched later, and there is no category.
- times: created_at + contentOffsetSeconds, both UTC; createdAt of messages can be minutes off and is not used.
- comments: everybody's messages; is_bot marks bots, which are no viewers.
- speech: the channel owner's own messages, for about as long as it takes to say them.
- gifts: bits, where the archive tells them (old generation); value = bits.
- plays: a viewer is known only while chatting, so their watch session is the span of their messages in a broadcast,
  at least 30 s. It follows that every play has a comment.
- impressions: the archive has none. For each play one list is inferred, shown a second before it began: the broadcast
  itself, and of every other channel known by then the latest broadcast, if it was live or had started within
  12 h. The list shares a request_id; there are no positions; surface is "inferred".
- users, authors: who was seen that day; Twitch tells nothing else about them. Names are not kept, and names in texts
  are masked.

A message that cannot be read is rejected alone. A chat that cannot be read as a whole, a truncated one too, is rejected
as one file, and its room has no viewers.
"""

import json
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from livealign import ids
from livealign.days import day_of, midnight
from livealign.errors import ArchiveError
from livealign.landing.run import LandingRun, Progress
from livealign.platforms.twitch.chat import Announcement, find_announcement, find_bots, name_masker
from livealign.platforms.twitch.messages import BadMessage, Message, read_messages
from livealign.platforms.twitch.viewers import Guide, Seen, land_viewers
from livealign.platforms.twitch.vods import CHAT, Vod, read_vods

SPEECH_MS_PER_CHARACTER, SPEECH_MIN_MS, SPEECH_MAX_MS = 60, 1_000, 15_000


def archive_days(archive: Path) -> list[date]:
    """All days on which anything was live, sorted; only the vod.json files are read.

    Raises:
        ArchiveError: there are no broadcasts.
    """
    vods, _ = read_vods(archive)
    return sorted({day for vod in vods for day in vod.days})


def land_days(archive: Path, run: LandingRun, days: Sequence[date], progress: Progress | None = None) -> None:
    """Land everything that happened on `days`: every broadcast that reaches into them is read.

    Raises:
        ArchiveError: there are no broadcasts.
    """
    vods, unfit = read_vods(archive)
    for bad in unfit:
        run.reject("rooms", f"{bad.folder}/vod.json", 0, bad.reason, bad.detail, bad.row, day=bad.day)
        run.reject("comments", f"{bad.folder}/{CHAT}", 0, "no_broadcast", "its vod.json does not fit", day=bad.day)
    due = [vod for vod in vods if not set(days).isdisjoint(vod.chat_days)]
    guide = Guide(vods)
    seen: Seen = set()
    for done, vod in enumerate(due):
        if progress:
            progress(done, len(due))
        _land_authors(vod, run, seen)
        _land_broadcast(archive, vod, run, guide, seen)
    if progress:
        progress(len(due), len(due))


def _land_broadcast(archive: Path, vod: Vod, run: LandingRun, guide: Guide, seen: Seen) -> None:
    messages, bad_messages = _read_chat(archive, vod, run)
    bots = find_bots(messages, vod.channel)
    mask = name_masker(messages)
    _reject_messages(vod, run, bad_messages, mask)
    _land_room(vod, run, find_announcement(messages, bots, vod.title), mask)
    speech, comments, is_bot, viewers = [], [], [], []
    for message in messages:
        own = message.login == vod.channel
        if own and message.line not in bots.own_lines:
            speech.append(message)
            continue
        comments.append(message)
        is_bot.append(own or message.login in bots.logins)
        if not is_bot[-1]:
            viewers.append(message)
    _land_speech(vod, run, speech, mask)
    _land_comments(vod, run, comments, is_bot, mask)
    land_viewers(vod, run, viewers, _users(viewers), guide, seen)


def _read_chat(archive: Path, vod: Vod, run: LandingRun) -> tuple[list[Message], list[BadMessage]]:
    """The messages, good and bad; none where the file as a whole is rejected."""
    day = day_of(vod.started_at)
    try:
        good, bad, unknown_fields = read_messages(archive / vod.chat, vod.duration)
    except FileNotFoundError:
        run.reject("comments", vod.chat, 0, "missing_file", "there is no chat beside vod.json", day=day)
        return [], []
    except ArchiveError as error:
        run.reject("comments", vod.chat, 0, "unreadable_file", str(error), day=day)
        return [], []
    for name in unknown_fields:
        run.reject("comments", vod.chat, 0, "unknown_field", name, day=day)
    return good, bad


def _reject_messages(vod: Vod, run: LandingRun, messages: Sequence[BadMessage], mask: Callable[[str], str]) -> None:
    for bad in messages:
        day = day_of(vod.started_at + round((bad.offset or 0) * 1_000))
        row = {name: mask(value) if isinstance(value, str) else value for name, value in bad.row.items()}
        if "message" in row:
            row["message"] = mask(json.dumps(row["message"], ensure_ascii=False))
        run.reject("comments", vod.chat, bad.line, bad.reason, bad.detail, row, day=day)


def _land_room(vod: Vod, run: LandingRun, told: Announcement | None, mask: Callable[[str], str]) -> None:
    title = told.title if told else vod.title
    room = {
        "room_id": vod.room_id,
        "author_id": vod.author_id,
        "title": None if title is None else mask(title),
        "category": told.category if told else None,
        "started_at": vod.started_at,
        "ended_at": vod.ended_at,
    }
    file, day = f"{vod.folder}/vod.json", day_of(vod.started_at)
    for name in vod.unknown_fields:
        run.reject("rooms", file, 0, "unknown_field", name, day=day)
    run.add("rooms", pa.Table.from_pylist([room]), file, file_day=day)


def _land_authors(vod: Vod, run: LandingRun, seen: Seen) -> None:
    """The channel, once for each day on which it was live."""
    for day in vod.days:
        if ("authors", day, vod.author_id) not in seen:
            seen.add(("authors", day, vod.author_id))
            author = {"author_id": vod.author_id, "observed_at": max(vod.started_at, midnight(day))}
            run.add("authors", pa.Table.from_pylist([author]), f"{vod.folder}/vod.json", file_day=day)


def _land_speech(vod: Vod, run: LandingRun, own: Sequence[Message], mask: Callable[[str], str]) -> None:
    texts = [mask(message.text) for message in own]
    spoken_ms = np.clip([len(text) * SPEECH_MS_PER_CHARACTER for text in texts], SPEECH_MIN_MS, SPEECH_MAX_MS)
    started_at = vod.moments(own)
    ended_at = started_at + spoken_ms.astype(np.int64)
    _add(run, "speech", vod, own, speech_id=_message_ids(own), started_at=started_at, ended_at=ended_at, text=texts)


def _land_comments(
    vod: Vod, run: LandingRun, messages: Sequence[Message], is_bot: list[bool], mask: Callable[[str], str]
) -> None:
    """Comments, and the bits cheered with them as gifts."""
    texts = [mask(message.text) for message in messages]
    who, when = _users(messages), vod.moments(messages)
    comment_ids = _message_ids(messages)
    _add(
        run,
        "comments",
        vod,
        messages,
        comment_id=comment_ids,
        user_id=who,
        sent_at=when,
        text=texts,
        is_bot=pa.array(is_bot, pa.bool_()),
    )
    cheers = [message for message in messages if message.bits]
    if cheers:
        bits = [float(message.bits) for message in cheers]
        once = np.ones(len(cheers), np.int32)
        who, when = _users(cheers), vod.moments(cheers)
        _add(run, "gifts", vod, cheers, action_id=_message_ids(cheers), user_id=who, at=when, count=once, value=bits)


def _add(run: LandingRun, name: str, vod: Vod, messages: Sequence[Message], **columns: Any) -> None:
    """Rows of the broadcast's chat, one a message."""
    columns["room_id"] = np.full(len(messages), vod.room_id)
    columns["author_id"] = np.full(len(messages), vod.author_id)
    lines = [message.line for message in messages]
    run.add(name, pa.table(columns), vod.chat, lines=lines, file_day=day_of(vod.started_at))


def _users(messages: Sequence[Message]) -> npt.NDArray[np.int64]:
    secret = ids.secret_key()
    known = {user: ids.person_id("twitch_user", user, secret) for user in {message.user for message in messages}}
    return np.array([known[message.user] for message in messages], np.int64)


def _message_ids(messages: Sequence[Message]) -> npt.NDArray[np.int64]:
    return ids.hashed_ids("twitch_message", [message.id for message in messages])
