"""TwitchDownloader's chat JSON: one file with streamer, video, chapters and comments.

The chapters give the game as it changes.

    {FileInfo, streamer {name, login, id}, video {title, id, created_at, start, end, length, game,
     chapters [{startMilliseconds, gameDisplayName, description, _type}]}, comments [{_id, content_offset_seconds,
     commenter {_id, name, display_name}, message {body, bits_spent, fragments, user_badges [{_id}]}}], embeddedData}

Older versions have neither the video's id nor its start: then they come from the comments (content_id, created_at).
Emotes are words of the body; embedded pictures are passed over.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from livealign.errors import ArchiveError
from livealign.platforms.chat.broadcasts import (
    TWITCH,
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
from livealign.platforms.chat.formats.twitch_archiver import text_of
from livealign.platforms.chat.json_text import JsonText, peek
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
from livealign.platforms.chat.survey import Survey, survey

NAME = "a TwitchDownloader chat"
HEAD = ("streamer", "video")
COMMENT_FIELDS = frozenset(
    (
        *("_id", "created_at", "updated_at", "channel_id", "content_type", "content_id", "content_offset_seconds"),
        *("commenter", "source", "state", "message", "more_replies"),
    )
)


def find(archive: Path, names: Sequence[str]) -> Found:
    """Every JSON file that begins as TwitchDownloader's do."""
    found = Found()
    for name in names:
        if not name.endswith((".json", ".json.gz")) or not _looks_right(peek(archive / name)):
            continue
        found.names.add(name)
        try:
            found.broadcasts.append(_read_head(archive, name))
        except BadValueError as problem:
            found.bad.append(BadBroadcast(name, problem.reason, problem.detail, None, None, (name,)))
        except ArchiveError as error:
            found.bad.append(BadBroadcast(name, "unreadable_file", str(error), None, None, (name,)))
    return found


def _looks_right(text: str) -> bool:
    return text.startswith("{") and '"streamer"' in text and ('"comments"' in text or '"video"' in text)


def _read_head(archive: Path, name: str) -> Broadcast:
    head: dict[str, Any] = {}
    text = JsonText(archive / name, NAME)
    for key in text.keys():  # noqa: SIM118 - a reader's method, no dictionary's
        if key in HEAD:
            head[key] = text.value()
        else:
            text.skip()
        if len(head) == len(HEAD):
            break
    streamer, video = (field(head, key, dict) for key in HEAD)
    channel = str(streamer.get("login") or streamer.get("name") or "").strip().lower()
    if not channel:
        raise BadValueError("missing_value", "there is no streamer.name")
    number, created_at = video.get("id") or head.get("id"), video.get("created_at")
    length = next((value for value in (video.get("length"), video.get("end")) if is_number(value) and value), None)
    surveyed = Survey()
    if not number or not _is_known(created_at) or length is None:
        surveyed = survey(archive / name, _comments, _look)
    room = str(number or surveyed.facts.get("content_id") or "")
    started_at = time_ms(created_at, "video.created_at") if _is_known(created_at) else surveyed.started_at
    if not room:
        raise BadValueError("missing_value", "there is no video.id")
    if started_at is None:
        raise BadValueError("missing_value", "there is no video.created_at")
    category, changes = _chapters(video, started_at)
    return Broadcast(
        site=TWITCH,
        channel=channel,
        owner=channel,
        file=name,
        room_id=room_id_of(TWITCH, room),
        title=checked_title(video.get("title"), "video.title"),
        category=category,
        started_at=started_at,
        duration=surveyed.last_offset if length is None else checked_duration(length),
        chats=(Chat(name, _read),),
        changes=changes,
    )


def _chapters(video: Mapping[str, Any], started_at: int) -> tuple[str | None, tuple[Change, ...]]:
    """The category at the start, and the others with the moment that each began."""
    games: list[tuple[int, str]] = []
    for chapter in listed(video, "chapters"):
        if not isinstance(chapter, dict) or not is_number(chapter.get("startMilliseconds")):
            continue
        game = checked_title(chapter.get("gameDisplayName") or chapter.get("description"), "video.chapters")
        if game:
            games.append((int(chapter["startMilliseconds"]), game))
    if not games:
        return checked_title(video.get("game"), "video.game") or None, ()
    games.sort()
    latest = games[0][1]
    changes = []
    for start, game in games[1:]:
        if game != latest:
            changes.append(Change(started_at + start, category=game))
        latest = game
    return games[0][1], tuple(changes)


def _comments(path: Path) -> Iterator[tuple[int, Any]]:
    text = JsonText(path, NAME)
    for key in text.keys():  # noqa: SIM118
        if key == "comments":
            yield from enumerate(text.elements(), start=1)
        else:
            text.skip()
    text.end()


def _look(found: Survey, comment: Any) -> None:
    if not isinstance(comment, dict):
        return
    if isinstance(comment.get("content_id"), str | int) and comment["content_id"]:
        found.facts.setdefault("content_id", str(comment["content_id"]))
    try:
        at = time_ms(comment.get("created_at"), "created_at")
    except BadValueError:
        return
    found.add(comment.get("content_offset_seconds"), at)


def _read(path: Path, broadcast: Broadcast, chat: Chat) -> Reading:
    duration = broadcast.duration
    return read_elements(
        _comments(path),
        lambda line, element: _message(line, element, duration),
        duration,
        lambda row: row.get("content_offset_seconds"),
        COMMENT_FIELDS,
    )


def _message(line: int, element: Any, duration: float | None) -> Message:
    if not isinstance(element, dict):
        raise BadValueError("wrong_type", "the message is not an object")
    offset = field(element, "content_offset_seconds", int, float)
    offset = checked_offset(offset, "content_offset_seconds", duration)
    if element.get("commenter") is None:
        raise BadValueError("no_commenter", "the archive does not say who wrote it")
    commenter = field(element, "commenter", dict)
    content = field(element, "message", dict)
    bits = content.get("bits_spent") or 0
    if not is_number(bits) or bits < 0:
        raise BadValueError("wrong_type", "message.bits_spent is not a number of bits")
    badges = listed(content, "user_badges")
    return Message(
        line=line,
        id=str(field(element, "_id", str, int)),
        offset=offset,
        user=str(field(commenter, "_id", str, int)),
        login=str(commenter.get("name") or "").lower(),
        name=str(commenter.get("display_name") or ""),
        text=checked_text(text_of(content)),
        gift=Gift(1, float(bits)) if bits else None,
        bot_badge=any(isinstance(badge, dict) and badge.get("_id") == "bot-badge" for badge in badges),
    )


def _is_known(created_at: Any) -> bool:
    return created_at is not None and not str(created_at).startswith("0001-")
