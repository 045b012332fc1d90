"""chat-downloader's messages of YouTube and Twitch: a JSON list, or JSON Lines.

    {message_id, message_type, message, time_in_seconds, timestamp (microseconds), author {id, name, display_name,
     badges [{title, name}]}, money {amount, currency}, bits}

The file does not describe the broadcast. Its start is the median of timestamp - time_in_seconds; a file without both is
rejected. The room is what the file's name says: a YouTube id (alone or in brackets), a Twitch VOD's number, or else the
name. The channel is the author with the owner's badge; else the folder, else the name. Which site it is follows from
the authors' ids: UC… is YouTube, digits are Twitch.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from livealign.platforms.chat.broadcasts import OTHER, TWITCH, YOUTUBE, BadBroadcast, Broadcast, Chat, Found, room_id_of
from livealign.platforms.chat.json_text import peek, stream_array, stream_lines
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
from livealign.platforms.chat.money import amount_of
from livealign.platforms.chat.survey import Survey, survey

ENDINGS = (".json", ".jsonl", ".ndjson")
NO_MESSAGES = frozenset(
    (
        "viewer_engagement_message",
        "placeholder_item",
        "mode_change",
        "sponsorships_gift_redemption_announcement",
        "ticker_paid_message_item",
        "ticker_paid_sticker_item",
        "ticker_sponsor_item",
        "ban_user",
        "delete_message",
        "clear_chat",
        "room_state",
        "notice",
        "purchased_product_message",
    )
)
NO_ACTIONS = frozenset(("add_live_chat_ticker_item", "remove_chat_item", "remove_chat_item_by_author", "replace_chat_item"))
WITHOUT_PRICE = frozenset(
    ("membership_item", "sponsorships_gift_purchase_announcement", "subscription", "subscription_gift", "resubscription")
)

_YOUTUBE_ID = re.compile(r"(?:^|\[|[ _-])([\w-]{11})\]?$", re.ASCII)
_NUMBER = re.compile(r"(?<!\d)\d{3,19}(?!\d)")


def find(archive: Path, names: Sequence[str]) -> Found:
    """Every list of messages that begins as chat-downloader's do."""
    found = Found()
    for name in names:
        plain = name.removesuffix(".gz")
        if not plain.endswith(ENDINGS) or not _looks_right(peek(archive / name)):
            continue
        found.names.add(name)
        try:
            found.broadcasts.append(_read_broadcast(archive, name))
        except BadValueError as problem:
            found.bad.append(BadBroadcast(name, problem.reason, problem.detail, None, None, (name,)))
    return found


def _looks_right(text: str) -> bool:
    about = '"message_type"' in text or '"message_id"' in text or ('"author"' in text and '"message"' in text)
    return about and ('"time_in_seconds"' in text or '"timestamp"' in text) and text.startswith(("[", "{"))


def _read_broadcast(archive: Path, name: str) -> Broadcast:
    surveyed = survey(archive / name, _stream, _look)
    if surveyed.problem is not None:
        raise BadValueError("unreadable_file", surveyed.problem)
    if surveyed.started_at is None:
        raise BadValueError("missing_value", "no message has both time_in_seconds and timestamp, so the start is unknown")
    path = PurePosixPath(name)
    stem = path.name.removesuffix(".gz").rpartition(".")[0]
    site = surveyed.facts.get("site", OTHER)
    owner = surveyed.facts.get("owner", "")
    return Broadcast(
        site=site,
        channel=owner or (path.parent.name or stem).lower(),
        owner=owner or path.parent.name.lower(),
        file=name,
        room_id=room_id_of(site, _room_key(site, stem, name)),
        title=None,
        category=None,
        started_at=surveyed.started_at,
        duration=surveyed.last_offset,
        chats=(Chat(name, _read),),
    )


def _room_key(site: str, stem: str, name: str) -> str:
    if site == YOUTUBE and (found := _YOUTUBE_ID.search(stem)):
        return found[1]
    if site == TWITCH and (numbers := _NUMBER.findall(stem)) and (numbers[0] == stem or len(numbers[-1]) >= 7):
        return numbers[-1]
    return f"{PurePosixPath(name).parent.name}/{stem}"


def _stream(path: Path) -> Iterator[tuple[int, Any]]:
    if peek(path).startswith("["):
        yield from enumerate(stream_array(path), start=1)
    else:
        yield from stream_lines(path)


def _look(found: Survey, element: Any) -> None:
    if not isinstance(element, dict):
        return
    stamp = element.get("timestamp")
    found.add(element.get("time_in_seconds"), stamp / 1_000 if is_number(stamp) else None)
    author = element.get("author")
    if not isinstance(author, dict):
        return
    user = str(author.get("id") or "")
    if "site" not in found.facts and user:
        found.facts["site"] = YOUTUBE if user.startswith("UC") and len(user) == 24 else TWITCH if user.isdigit() else OTHER
    if "owner" not in found.facts and user and _is_owner(author):
        found.facts["owner"] = _login(author, user)


def _is_owner(author: Mapping[str, Any]) -> bool:
    badges = author.get("badges")
    named = [badge for badge in badges if isinstance(badge, dict)] if isinstance(badges, list) else []
    words = {str(badge.get(key)).lower() for badge in named for key in ("title", "name", "icon_name")}
    return not words.isdisjoint({"owner", "broadcaster"}) or author.get("is_broadcaster") is True


def _login(author: Mapping[str, Any], user: str) -> str:
    """Twitch names are logins; elsewhere names may be shared and the id stands for the person."""
    return str(author.get("name") or user).lower() if user.isdigit() else user


def _read(path: Path, broadcast: Broadcast, chat: Chat) -> Reading:
    return read_elements(
        _stream(path),
        lambda line, element: _message(line, element, broadcast),
        broadcast.duration,
        lambda row: row.get("time_in_seconds"),
    )


def _message(line: int, element: Any, broadcast: Broadcast) -> Message | None:
    if not isinstance(element, dict):
        raise BadValueError("wrong_type", "the message is not an object")
    kind = element.get("message_type")
    if kind in NO_MESSAGES or element.get("action_type") in NO_ACTIONS:
        return None
    offset, stamp = element.get("time_in_seconds"), element.get("timestamp")
    if offset is None and is_number(stamp):
        offset = (stamp / 1_000 - broadcast.started_at) / 1_000
    if offset is None:
        raise BadValueError("missing_value", "there is neither time_in_seconds nor timestamp")
    if isinstance(offset, bool) or not isinstance(offset, int | float):
        raise BadValueError("wrong_type", f"time_in_seconds is {type(offset).__name__}, not a number")
    offset = checked_offset(offset, "time_in_seconds", broadcast.duration)
    if element.get("author") is None:
        raise BadValueError("no_commenter", "the archive does not say who wrote it")
    author = field(element, "author", dict)
    if author.get("id") is None:
        raise BadValueError("no_commenter", "the archive does not say who wrote it")
    user = str(field(author, "id", str, int))
    gift = _gift(element, kind)
    text = element.get("message")
    if text is None and gift is not None:
        text = ""
    if not isinstance(text, str):
        raise BadValueError("missing_value" if text is None else "wrong_type", "message is not text")
    badges = listed(author, "badges")
    return Message(
        line=line,
        id=str(field(element, "message_id", str, int)),
        offset=offset,
        user=user,
        login=_login(author, user),
        name=str(author.get("display_name") or author.get("name") or ""),
        text=checked_text(text, required=gift is None),
        gift=gift,
        bot_badge=any(isinstance(badge, dict) and badge.get("name") == "bot-badge" for badge in badges),
        owner=broadcast.site != TWITCH and _is_owner(author),
    )


def _gift(element: Mapping[str, Any], kind: Any) -> Gift | None:
    money, bits = element.get("money"), element.get("bits")
    if money is not None:
        amount = field(element, "money", dict).get("amount")
        value = amount if is_number(amount) else amount_of(str(money.get("text") or amount or ""))
        if value is None or value < 0:
            raise BadValueError("wrong_type", "money.amount is no amount of money")
        return Gift(1, float(value))
    if bits:
        if not is_number(bits) or bits < 0:
            raise BadValueError("wrong_type", "bits is not a number of bits")
        return Gift(1, float(bits))
    return Gift(1, None) if kind in WITHOUT_PRICE and not (kind == "membership_item" and element.get("message")) else None
