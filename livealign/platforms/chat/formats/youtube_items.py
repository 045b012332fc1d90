"""Items of a YouTube live chat as its replay sends them, and the messages that they are."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from livealign.platforms.chat.json_text import BrokenLine, stream_lines
from livealign.platforms.chat.messages import (
    BadValueError,
    Gift,
    Message,
    checked_offset,
    checked_text,
    field,
    is_number,
    listed,
)
from livealign.platforms.chat.money import amount_of

OFFSET = "offset_seconds"
PAID = frozenset({"liveChatPaidMessageRenderer", "liveChatPaidStickerRenderer"})
JOINED, GIVEN = "liveChatMembershipItemRenderer", "liveChatSponsorshipsGiftPurchaseAnnouncementRenderer"
MESSAGES = PAID | {"liveChatTextMessageRenderer", JOINED, GIVEN}
NO_MESSAGES = frozenset(
    (
        "liveChatViewerEngagementMessageRenderer",
        "liveChatPlaceholderItemRenderer",
        "liveChatModeChangeMessageRenderer",
        "liveChatSponsorshipsGiftRedemptionAnnouncementRenderer",
        "liveChatAutoModMessageRenderer",
        "liveChatBannerRenderer",
        "liveChatProductItemRenderer",
        "liveChatPurchasedProductMessageRenderer",
    )
)

_COUNT = re.compile(r"\d+")


def read_items(path: Path) -> Iterator[tuple[int, Any]]:
    """(line, item) of every item that a chat added: {kind, offset_seconds, renderer}.

    Broken lines are yielded as they are.

    Raises:
        ArchiveError: the file as a whole cannot be read.
        FileNotFoundError: there is no such file.
    """
    for line, value in stream_lines(path):
        replay = value.get("replayChatItemAction") if isinstance(value, dict) else None
        if replay is None and not (isinstance(value, dict) and "addChatItemAction" in value):
            yield line, value
            continue
        actions = replay.get("actions") if isinstance(replay, dict) else [value]
        offset = _offset(replay.get("videoOffsetTimeMsec") if isinstance(replay, dict) else value.get("videoOffsetTimeMsec"))
        for action in actions if isinstance(actions, list) else [actions]:
            if isinstance(action, dict) and "addChatItemAction" not in action:
                continue
            added = action["addChatItemAction"] if isinstance(action, dict) else None
            item = added.get("item") if isinstance(added, dict) else None
            if not isinstance(item, dict) or len(item) != 1:
                yield line, {"kind": None, OFFSET: offset, "renderer": item}
                continue
            [(kind, renderer)] = item.items()
            yield line, {"kind": kind, OFFSET: offset, "renderer": renderer}


def message_of(line: int, item: Any, duration: float | None) -> Message | None:
    """The message of an item; None where it is not a viewer's message.

    Raises:
        BadValueError: it does not fit.
    """
    if isinstance(item, BrokenLine) or not isinstance(item, dict) or "renderer" not in item:
        raise BadValueError("wrong_type", "the line is no action of a live chat")
    if item["kind"] in NO_MESSAGES:
        return None
    if item["kind"] not in MESSAGES:
        raise BadValueError("unknown_kind", f"{str(item['kind'])[:80]} is no known kind of item")
    renderer = field(item, "renderer", dict)
    if item[OFFSET] is None:
        raise BadValueError("missing_value", "there is no videoOffsetTimeMsec")
    offset = checked_offset(item[OFFSET], "videoOffsetTimeMsec", duration)
    if _plain(renderer.get("timestampText")).startswith(("-", "−")):
        raise BadValueError("before_start", "it was sent before the broadcast began")
    if renderer.get("authorExternalChannelId") is None:
        raise BadValueError("no_commenter", "the archive does not say who wrote it")
    user = field(renderer, "authorExternalChannelId", str)
    shown = renderer
    if item["kind"] == GIVEN:
        shown = field(field(renderer, "header", dict), "liveChatSponsorshipsHeaderRenderer", dict)
    text, gift = _contents(item["kind"], shown)
    owner = "OWNER" in _badges(shown)
    return Message(
        line=line,
        id=str(field(renderer, "id", str)),
        offset=offset,
        user=user,
        login=user,
        name=_plain(shown.get("authorName")),
        text=checked_text(text, required=gift is None),
        gift=gift,
        owner=owner,
    )


def _contents(kind: str, renderer: Mapping[str, Any]) -> tuple[str, Gift | None]:
    text = _plain(renderer.get("message"))
    if kind in PAID:
        paid = _plain(renderer.get("purchaseAmountText"))
        if not paid:
            raise BadValueError("missing_value", "there is no purchaseAmountText")
        value = amount_of(paid)
        if value is None:
            raise BadValueError("wrong_type", f"purchaseAmountText {paid[:40]!r} is no amount of money")
        return text, Gift(1, value)
    if kind == JOINED:
        news = " ".join(filter(None, (_plain(renderer.get("headerPrimaryText")), _plain(renderer.get("headerSubtext")))))
        is_milestone = bool(renderer.get("headerPrimaryText")) or bool(text)
        return text or news, None if is_milestone else Gift(1, None)
    if kind == GIVEN:
        news = _plain(renderer.get("primaryText"))
        count = _COUNT.search(news)
        return "", Gift(min(max(int(count[0][:6]), 1), 2**31 - 1) if count else 1, None)
    return text, None


def _plain(value: Any) -> str:
    """The text of {simpleText} or {runs}; an emoji is its character, or its name between colons."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return ""
    if isinstance(value.get("simpleText"), str):
        return value["simpleText"]
    parts = []
    for run in listed(value, "runs"):
        if not isinstance(run, dict):
            raise BadValueError("wrong_type", "a run is no object")
        emoji = run.get("emoji")
        if isinstance(run.get("text"), str):
            parts.append(run["text"])
        elif isinstance(emoji, dict):
            shortcuts = emoji.get("shortcuts")
            named = shortcuts[0] if isinstance(shortcuts, list) and shortcuts else ""
            parts.append(str(named if emoji.get("isCustomEmoji") else emoji.get("emojiId") or named))
        else:
            raise BadValueError("wrong_type", "a run has neither text nor emoji")
    return "".join(parts)


def _badges(renderer: Mapping[str, Any]) -> set[str]:
    kinds = set()
    for badge in listed(renderer, "authorBadges"):
        inside = badge.get("liveChatAuthorBadgeRenderer") if isinstance(badge, dict) else None
        icon = inside.get("icon") if isinstance(inside, dict) else None
        if isinstance(icon, dict):
            kinds.add(str(icon.get("iconType")))
    return kinds


def _offset(value: Any) -> float | None:
    """Seconds; YouTube writes milliseconds as text."""
    if isinstance(value, str) and value.lstrip("-").isascii() and value.lstrip("-").isdigit() and len(value) < 16:
        return int(value) / 1_000
    return value / 1_000 if is_number(value) else None
