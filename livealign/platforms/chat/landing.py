"""Broadcasts and their chats → the landing tables, the same for every site and format.

How the tables come about, where an archive does not have them:

- rooms: title and category of the start. Where a bot announced them ("is now live! Streaming GAME: TITLE") these are
  taken, because archivers may have fetched the title later. ended_at is null where it is unknown.
- room_changes: later titles and categories with their time (chapters, recordings under another title).
- times: start of the broadcast plus the message's offset, both UTC.
- comments: everybody's messages; is_bot marks bots, which are no viewers.
- speech: the host's own messages, for about as long as it takes to say them.
- gifts: bits, super chats, gifts, guards and memberships; value is null where no price is given, and else in the unit
  that was paid in (bits, yuan, the currency of the super chat).
- plays: a viewer is known only while writing or giving, so their watch session is the span of their messages in a
  broadcast, at least 30 s.
- impressions: the archive has none. For each play one list is inferred, shown a second before it began
  (`livealign.platforms.chat.guide`). The list shares a request_id; there are no positions; surface is "inferred".
- frames: pictures that lie beside a broadcast (`livealign.platforms.chat.frames`).
- users, authors: who was seen that day; nothing else is known about them. Names are not kept, and names in texts are
  masked.

A message that cannot be read is rejected alone. A file that cannot be read as a whole, a truncated one too, is one
reject with line 0 and gives no viewers, because a part of a chat would look like viewers who left; its room stays.
"""

import json
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from livealign import ids
from livealign.days import day_of, midnight
from livealign.errors import ArchiveError
from livealign.landing.run import LandingRun, Progress
from livealign.platforms.chat.broadcasts import TWITCH, Broadcast, Chat, Found, user_ids
from livealign.platforms.chat.chatters import Announcement, find_announcement, find_bots, name_masker
from livealign.platforms.chat.frames import land_frames
from livealign.platforms.chat.guide import Guide
from livealign.platforms.chat.messages import BadMessage, Message
from livealign.platforms.chat.viewers import Seen, land_viewers

SPEECH_MS_PER_CHARACTER, SPEECH_MIN_MS, SPEECH_MAX_MS = 60, 1_000, 15_000

Mask = Callable[[str], str]


def land_broadcasts(
    archive: Path, found: Found, run: LandingRun, days: Sequence[date], progress: Progress | None = None
) -> None:
    """Land everything that happened on `days`: every broadcast that reaches into them is read."""
    for bad in found.bad:
        run.reject("rooms", bad.file, 0, bad.reason, bad.detail, bad.row, day=bad.day)
        for chat in bad.chats:
            run.reject("comments", chat, 0, "no_broadcast", f"its {Path(bad.file).name} does not fit", day=bad.day)
    for name in found.names:
        run.used(name)
    wanted = set(days)
    due = [broadcast for broadcast in found.broadcasts if not wanted.isdisjoint(broadcast.chat_days)]
    sites = {broadcast.site for broadcast in due}
    guides = {
        site: Guide((live for live in found.broadcasts if live.site == site), run.config.negatives_per_play) for site in sites
    }
    seen: Seen = set()
    for done, broadcast in enumerate(due):
        if progress:
            progress(done, len(due))
        _land_authors(broadcast, run, seen)
        _land_broadcast(archive, broadcast, run, guides[broadcast.site], seen)
    land_frames(archive, found.broadcasts, due, run)
    if progress:
        progress(len(due), len(due))


def _land_broadcast(archive: Path, broadcast: Broadcast, run: LandingRun, guide: Guide, seen: Seen) -> None:
    messages, bad_messages = _read_chats(archive, broadcast, run)
    owner = broadcast.owner or next((message.login for message in messages if message.owner), "")
    bots = find_bots(messages, owner)
    mask = name_masker(messages)
    _reject_messages(broadcast, run, bad_messages, mask)
    announced = find_announcement(messages, bots, broadcast.title) if broadcast.site == TWITCH else None
    _land_room(broadcast, run, announced, mask)
    own_answers = bots.own_lines if len(broadcast.chats) == 1 else frozenset()  # lines are of one file
    speech, comments, is_bot, viewers, gifts = [], [], [], [], []
    for message in messages:
        own = message.owner or (message.login == owner and owner != "")
        if message.gift is not None and not own:
            gifts.append(message)
        if own and message.line not in own_answers:
            if message.text:
                speech.append(message)
            continue
        bot = own or message.login in bots.logins
        if message.text:
            comments.append(message)
            is_bot.append(bot)
        if not bot and not message.anonymous:
            viewers.append(message)
    _land_speech(broadcast, run, speech, mask)
    _land_comments(broadcast, run, comments, is_bot, mask)
    _land_gifts(broadcast, run, gifts)
    users = user_ids(broadcast.site, [message.user for message in viewers])
    land_viewers(broadcast, run, viewers, users, guide, seen)


def _read_chats(archive: Path, broadcast: Broadcast, run: LandingRun) -> tuple[list[Message], list[BadMessage]]:
    """The messages of all files, good and bad; none of a file that is rejected as a whole."""
    good: list[Message] = []
    bad: list[BadMessage] = []
    for number, chat in enumerate(broadcast.chats):
        day = _day(broadcast, chat)
        try:
            reading = chat.read(archive / chat.file, broadcast, chat)
        except FileNotFoundError:
            detail = f"there is no chat beside {Path(broadcast.file).name}"
            run.reject("comments", chat.file, 0, "missing_file", detail, day=day)
            continue
        except ArchiveError as error:
            run.reject("comments", chat.file, 0, "unreadable_file", str(error), day=day)
            continue
        for name in reading.unknown_fields:
            run.reject("comments", chat.file, 0, "unknown_field", name, day=day)
        if number == 0:
            good, bad = reading.good, reading.bad
        else:
            good += [message._replace(chat=number) for message in reading.good]
            bad += [message._replace(chat=number) for message in reading.bad]
    return good, bad


def _reject_messages(broadcast: Broadcast, run: LandingRun, messages: Sequence[BadMessage], mask: Mask) -> None:
    for bad in messages:
        day = day_of(broadcast.started_at + round((bad.offset or 0) * 1_000))
        row = {name: mask(value) if isinstance(value, str) else value for name, value in bad.row.items()}
        if "message" in row:
            row["message"] = mask(json.dumps(row["message"], ensure_ascii=False))
        run.reject("comments", broadcast.chats[bad.chat].file, bad.line, bad.reason, bad.detail, row, day=day)


def _land_room(broadcast: Broadcast, run: LandingRun, announced: Announcement | None, mask: Mask) -> None:
    title = announced.title if announced else broadcast.title
    room = {
        "room_id": broadcast.room_id,
        "author_id": broadcast.author_id,
        "title": None if title is None else mask(title),
        "category": (announced.category if announced else None) or broadcast.category,
        "started_at": broadcast.started_at,
        "ended_at": broadcast.ended_at,
    }
    day = day_of(broadcast.started_at)
    for name in broadcast.unknown_fields:
        run.reject("rooms", broadcast.file, 0, "unknown_field", name, day=day)
    run.add("rooms", pa.Table.from_pylist([room]), broadcast.file, file_day=day)
    changes = [
        {
            "room_id": broadcast.room_id,
            "changed_at": change.at,
            "title": None if change.title is None else mask(change.title),
            "category": change.category,
        }
        for change in broadcast.changes
    ]
    if changes:
        run.add("room_changes", pa.Table.from_pylist(changes), broadcast.file, file_day=day)


def _land_authors(broadcast: Broadcast, run: LandingRun, seen: Seen) -> None:
    """The channel, once for each day on which it was live."""
    for day in broadcast.days:
        if ("authors", day, broadcast.author_id) not in seen:
            seen.add(("authors", day, broadcast.author_id))
            author = {"author_id": broadcast.author_id, "observed_at": max(broadcast.started_at, midnight(day))}
            run.add("authors", pa.Table.from_pylist([author]), broadcast.file, file_day=day)


def _land_speech(broadcast: Broadcast, run: LandingRun, own: Sequence[Message], mask: Mask) -> None:
    texts = [mask(message.text) for message in own]
    spoken_ms = np.clip([len(text) * SPEECH_MS_PER_CHARACTER for text in texts], SPEECH_MIN_MS, SPEECH_MAX_MS)
    started_at = broadcast.times_ms(own)
    ended_at = started_at + spoken_ms.astype(np.int64)
    speech_ids = _message_ids(broadcast, own)
    _add(run, "speech", broadcast, own, speech_id=speech_ids, started_at=started_at, ended_at=ended_at, text=texts)


def _land_comments(broadcast: Broadcast, run: LandingRun, messages: Sequence[Message], is_bot: list[bool], mask: Mask) -> None:
    _add(
        run,
        "comments",
        broadcast,
        messages,
        comment_id=_message_ids(broadcast, messages),
        user_id=user_ids(broadcast.site, [message.user for message in messages]),
        sent_at=broadcast.times_ms(messages),
        text=[mask(message.text) for message in messages],
        is_bot=pa.array(is_bot, pa.bool_()),
    )


def _land_gifts(broadcast: Broadcast, run: LandingRun, messages: Sequence[Message]) -> None:
    """Gifts; one that came with words is a comment as well."""
    gifts = [message.gift for message in messages if message.gift is not None]
    if gifts:
        _add(
            run,
            "gifts",
            broadcast,
            messages,
            action_id=_message_ids(broadcast, messages),
            user_id=user_ids(broadcast.site, [message.user for message in messages]),
            at=broadcast.times_ms(messages),
            count=np.array([gift.pieces for gift in gifts], np.int64),
            value=pa.array([gift.value for gift in gifts], pa.float64()),
        )


def _add(run: LandingRun, name: str, broadcast: Broadcast, messages: Sequence[Message], **columns: Any) -> None:
    """Rows of the broadcast's chats, one a message."""
    columns["room_id"] = np.full(len(messages), broadcast.room_id)
    columns["author_id"] = np.full(len(messages), broadcast.author_id)
    rows = pa.table(columns)
    lines = np.array([message.line for message in messages], np.int64)
    chats = np.array([message.chat for message in messages], np.int64)
    for number, chat in enumerate(broadcast.chats):
        own = np.flatnonzero(chats == number)
        if len(own):
            run.add(name, rows.take(own), chat.file, lines=lines[own], file_day=_day(broadcast, chat))


def _day(broadcast: Broadcast, chat: Chat) -> date:
    return day_of(broadcast.started_at if chat.counts_from is None else chat.counts_from)


def _message_ids(broadcast: Broadcast, messages: Sequence[Message]) -> Any:
    return ids.hashed_ids(f"{broadcast.site}_message", [message.id for message in messages])
