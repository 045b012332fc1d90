"""Chat, speech and actions of windows that are still open.

They are gathered event by event and read when the window is over. Texts and counts are those of the mart `segments` (dbt:
int_window_texts, int_window_actions). A message belongs to the window of its time. An utterance belongs to the window in which
it ends, because it is not known in full earlier.
"""

import unicodedata
from dataclasses import dataclass, field
from typing import NamedTuple

from livealign.llm.segment_text import WindowText

TEXT_CHARACTERS = 2_000  # the last ones of a window's chat, and of its speech (dbt: segment_text_characters)


class Utterance(NamedTuple):
    """One message or stretch of speech; sorted by time, then by the id under which it lands."""

    at: int  # epoch milliseconds: time of sending, or start of the speech
    order: int
    text: str


class LiveFrame(NamedTuple):
    """A picture of a room; sorted by time."""

    at: int  # epoch milliseconds
    name: str  # SHA-256 of its pixels
    picture: str  # as in its event (`livealign.live.frames`)
    look: str = ""  # as in its event


def newest(*frames: LiveFrame | None) -> LiveFrame | None:
    """The newest of the pictures that are there."""
    return max((frame for frame in frames if frame is not None), default=None)


@dataclass(slots=True)
class OpenWindow:
    """The messages, speech, counts and picture of one window of a room so far."""

    chat: list[Utterance] = field(default_factory=list)
    speech: list[Utterance] = field(default_factory=list)
    commenters: set[int] = field(default_factory=set)
    n_comments: int = 0
    n_likes: int = 0
    n_gifts: int = 0
    frame: LiveFrame | None = None  # the newest

    def comment(self, at: int, order: int, user_id: int, text: str, is_bot: bool) -> None:
        """Add a message; a bot's message makes a window, but is not part of its text or counts."""
        if is_bot:
            return
        self.n_comments += 1
        self.commenters.add(user_id)
        if not is_blank(text):
            self.chat.append(Utterance(at, order, text))

    def show(self, frame: LiveFrame) -> None:
        """Take a picture; the newest one counts."""
        self.frame = newest(self.frame, frame)

    def chat_text(self) -> str:
        """The messages in order, one a line, cut to the last TEXT_CHARACTERS characters."""
        return _last_of(sorted(self.chat), "\n")

    def speech_text(self) -> str:
        """The speech in order, cut to the last TEXT_CHARACTERS characters."""
        return _last_of(sorted(self.speech), " ")


def text_of(window: int, age: int, title: str | None, category: str | None, happened: OpenWindow | None) -> WindowText:
    """A window as `segment_text.compose_text` reads it; `happened` is None for a silent window."""
    chat = happened.chat_text() if happened else ""
    speech = happened.speech_text() if happened else ""
    return WindowText(window, age, title or "", category or "", speech, tuple(chat.split("\n")) if chat else ())


def is_blank(text: str) -> bool:
    """Whether a text is empty after trimming spaces (Unicode category Zs), as DuckDB trims."""
    return all(unicodedata.category(character) == "Zs" for character in text)


def _last_of(utterances: list[Utterance], separator: str) -> str:
    texts, length = [], 0
    for utterance in reversed(utterances):  # texts before the last TEXT_CHARACTERS are not joined at all
        texts.append(utterance.text[-TEXT_CHARACTERS:])
        length += len(texts[-1]) + 1
        if length > TEXT_CHARACTERS:
            break
    return separator.join(reversed(texts))[-TEXT_CHARACTERS:]
