"""Write the text of a 30-second window, the same for training and serving.

    title | category | minute N | host: … | chat: … | before: …

The tokenizer cuts at the token budget, so the words that show the subject come first: the host's, then the viewers' (newest
first, repeats folded). The rest of the budget goes to earlier windows. A window without words repeats the room's last words,
with their age.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from livealign.config import SegmentConfig

CHARACTERS_PER_TOKEN = 4.5  # of English chat under SmolLM2's tokenizer; the budget in characters is only the first, fast cut
MINUTE_STEPS = (0, 1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240)  # coarse: few minutes change the text

_CHARACTER_RUN = re.compile(r"(.)\1{3,}")
_WORD_RUN = re.compile(r"\b(\S+)(?: \1){2,}(?!\S)", re.IGNORECASE)
_WORD = re.compile(r"\w")
_SPACES = re.compile(r"[\s|\x00-\x1f\x7f-\x9f\ud800-\udfff]+")  # with control characters and lone surrogates
# What has no ink: tags, variation selectors, zero-width and joining marks, fillers of several scripts, the blank of Braille.
_NO_INK = (
    r"\U000e0000-\U000e0fff\ufe00-\ufe0f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\u034f\u2800\u00ad\u061c\u115f\u1160"
    r"\u17b4\u17b5\u180b-\u180f\u3164\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a"
)
_INVISIBLE = re.compile(f"[{_NO_INK}]+")
_PADDING = re.compile(f"^[\\s{_NO_INK}]+|[\\s{_NO_INK}]+$")
_DIRECTION_MARKS = dict.fromkeys([0x200E, 0x200F, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])


class WindowText(NamedTuple):
    """The words of one window of a room.

    `chat` holds viewers' messages in time order, without bots.
    """

    window: int  # floor(epoch seconds / 30)
    age: int  # windows since the room began
    title: str = ""
    category: str = ""
    speech: str = ""
    chat: tuple[str, ...] = ()

    @property
    def is_silent(self) -> bool:
        return not self.chat and not self.speech


def segment_texts(segments: pa.Table, config: SegmentConfig) -> pa.Table:
    """Texts of the `segments` mart: a table (segment_id int64, text string).

    The mart's rows may have any order; the result is sorted by room and window.
    """
    rooms, window_texts, ids = sorted_window_texts(segments)
    following = with_earlier(zip(rooms.tolist(), window_texts, strict=True), config)
    texts = [compose_text(window_text, earlier, config) for window_text, earlier in following]
    return pa.table({"segment_id": pa.array(ids), "text": pa.array(texts, pa.string())})


def sorted_window_texts(segments: pa.Table) -> tuple[np.ndarray, list[WindowText], np.ndarray]:
    """The `segments` mart sorted by room and window.

    Returns:
        (room ids int64 [n], windows, segment ids int64 [n]).
    """
    ordered = segments.sort_by([("room_id", "ascending"), ("window", "ascending")])
    columns = (
        ordered[name].to_pylist() for name in ("window", "segment_index", "title", "category", "speech_text", "chat_text")
    )
    window_texts = [
        WindowText(window, age, title or "", category or "", speech or "", tuple(chat.split("\n")) if chat else ())
        for window, age, title, category, speech, chat in zip(*columns, strict=True)
    ]
    return ordered["room_id"].to_numpy(), window_texts, ordered["segment_id"].to_numpy()


def with_earlier(
    window_texts: Iterable[tuple[int, WindowText]], config: SegmentConfig
) -> Iterator[tuple[WindowText, tuple[WindowText, ...]]]:
    """Each window with its room's earlier windows that have words, newest first.

    Args:
        window_texts: (room, window) pairs, sorted by room and window.
    """
    room: int | None = None
    earlier: tuple[WindowText, ...] = ()
    for room_id, window_text in window_texts:
        if room_id != room:
            room, earlier = room_id, ()
        yield window_text, earlier
        earlier = remember(earlier, window_text, config)


def remember(earlier: tuple[WindowText, ...], window_text: WindowText, config: SegmentConfig) -> tuple[WindowText, ...]:
    """The room's latest windows with words, newest first, including this one.

    `compose_text` reads them for the next window.
    """
    return earlier if window_text.is_silent else (window_text, *earlier)[: max(1, config.context_windows)]


def compose_text(window_text: WindowText, earlier: Sequence[WindowText], config: SegmentConfig) -> str:
    """The text of one window.

    What people wrote is only text: separators in it are neutralised, and it is never parsed.

    Args:
        earlier: the room's windows with words before this one, newest first.
    """
    budget = min(config.max_characters, int(config.token_budget * CHARACTERS_PER_TOKEN))
    parts = [
        _head(window_text.title, budget // 5),
        _head(window_text.category, budget // 10),
        f"minute {_coarse(window_text.age, config)}",
    ]
    state, context = window_text, [past for past in earlier if window_text.window - past.window <= config.context_windows]
    if window_text.is_silent and earlier:
        state, context = earlier[0], list(earlier[1:])
        parts.append(f"quiet for {_coarse(window_text.window - state.window, config)} min")
    parts = [part for part in parts if part]
    left = budget - sum(len(part) + 3 for part in parts)
    for said in _said(state, left):
        parts.append(said)
        left -= len(said) + 3
    for step, past in enumerate(context, start=1):
        if left < 24:  # a few letters would only be noise
            break
        share = min(left, budget >> step) - 8
        before = _tail(one_line(past.speech, 4 * share), share) or _head(_fold_messages(past.chat, share), share)
        parts.append(f"before: {before}")
        left -= len(before) + 11
    return " | ".join(parts)


def _said(window_text: WindowText, budget: int) -> list[str]:
    """["host: …", "chat: …"] within `budget` characters; each side may use the characters that the other leaves."""
    if budget < 12:
        return []
    speech, chat = one_line(window_text.speech, 4 * budget), _fold_messages(window_text.chat, budget)
    host_share = budget - 6 if not chat else max(budget * 6 // 10, budget - len(chat) - 15)
    host = _tail(speech, host_share)
    chat = _head(chat, budget - 6 - (len(host) + 9 if host else 0))
    return [label + text for label, text in (("host: ", host), ("chat: ", chat)) if text]


def _fold_messages(messages: Sequence[str], budget: int) -> str:
    """Newest messages first, equal ones as `text x12`, emotes without a word last, only as many as fit."""
    counts: dict[str, int] = {}
    newest: dict[str, str] = {}
    length = 0
    for message in reversed(messages):
        text = one_line(message, budget)
        key = visible_text(text).casefold()
        if key in counts:
            counts[key] += 1
        elif key and length < budget:
            text = text if text.isascii() else _unpadded(text)
            counts[key], newest[key] = 1, text
            length += len(text) + 3 if _WORD.search(text) else 0
    by_words = sorted(counts, key=lambda key: not _WORD.search(key))  # a stable sort: the rest stays newest first
    return " / ".join(newest[key] if counts[key] == 1 else f"{newest[key]} x{counts[key]}" for key in by_words)


def visible_text(text: str) -> str:
    """The text that a reader sees, without characters that have no ink.

    Senders add such characters so that a platform does not recognise a repeated message.
    """
    return text if text.isascii() else _SPACES.sub(" ", _INVISIBLE.sub("", text)).strip()


def _unpadded(text: str) -> str:
    """The text without what has no ink around it; inside, and behind an emoji, it joins and colours."""
    found = _PADDING.sub("", text)
    emoji = text[len(found) + text.find(found) :][:1] if found else ""
    return found + emoji if emoji == "\ufe0f" and not found[-1].isalnum() else found


def one_line(text: str, limit: int) -> str:
    """One line of the last `limit` characters of a text.

    NFKC, without control characters, direction marks and separators; repeats are folded.
    """
    if not text:
        return ""
    text = text[-limit:]
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_DIRECTION_MARKS)
    text = _SPACES.sub(" ", text).strip()
    return _WORD_RUN.sub(_folded, _CHARACTER_RUN.sub(r"\1\1\1", text))


def _folded(match: re.Match[str]) -> str:
    word = match.group(1)
    return f"{word} x{(len(match.group(0)) + 1) // (len(word) + 1)}"


def _head(text: str, limit: int) -> str:
    """The first words that fit."""
    if "|" in text or "\n" in text or not text.isascii():
        text = one_line(text, 4 * limit)
    if len(text) <= limit:
        return text
    if limit <= 0:
        return ""
    cut = text.rfind(" ", 0, limit + 1)
    return text[: cut if cut > limit // 2 else limit].rstrip()


def _tail(text: str, limit: int) -> str:
    """The last words that fit: the host's latest words matter more than the first of the window."""
    if len(text) <= limit:
        return text
    if limit <= 0:
        return ""
    start = len(text) - limit
    cut = text.find(" ", start)
    return text[cut + 1 if 0 <= cut < start + limit // 2 else start :].lstrip()


def _coarse(windows: int, config: SegmentConfig) -> int:
    """Minutes in `windows`, rounded down to a step, so that windows without news have the same text."""
    minutes = windows * config.window_seconds // 60
    return max((step for step in MINUTE_STEPS if step <= minutes), default=0)
