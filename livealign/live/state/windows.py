"""A room's open windows: what was said and done in each, gathered event by event, read once the window is over.

The same texts and counts as the mart `segments` has (dbt: int_window_texts, int_window_actions). A message belongs to the
window of its time, an utterance to that in which it ends: before that nobody knows it whole.
"""

import unicodedata
from dataclasses import dataclass, field
from typing import NamedTuple

from livealign.llm.segment_text import WindowText

TEXT_CHARACTERS = 2_000  # the last ones of a window's chat, and of its speech (dbt: segment_text_characters)


class Said(NamedTuple):
    """One message or utterance; sorted by time, then by the id under which it lands."""

    at: int  # epoch milliseconds: sent, or begun
    order: int
    text: str


@dataclass(slots=True)
class OpenWindow:
    """What has happened in one window of a room so far."""

    chat: list[Said] = field(default_factory=list)
    speech: list[Said] = field(default_factory=list)
    commenters: set[int] = field(default_factory=set)
    n_comments: int = 0
    n_likes: int = 0
    n_gifts: int = 0

    def comment(self, at: int, order: int, user_id: int, text: str, is_bot: bool) -> None:
        """A message; what bots write makes a window, but is no part of its text."""
        if is_bot:
            return
        self.n_comments += 1
        self.commenters.add(user_id)
        if not is_blank(text):
            self.chat.append(Said(at, order, text))

    def chat_text(self) -> str:
        """The messages in order, one a line, the last TEXT_CHARACTERS of them."""
        return _last_of(sorted(self.chat), "\n")

    def speech_text(self) -> str:
        """The utterances in order, the last TEXT_CHARACTERS of them."""
        return _last_of(sorted(self.speech), " ")


def moment_of(window: int, age: int, title: str | None, category: str | None, happened: OpenWindow | None) -> WindowText:
    """The window as `segments.compose_text` reads it; `happened` None where nobody said or did anything."""
    chat = happened.chat_text() if happened else ""
    speech = happened.speech_text() if happened else ""
    return WindowText(window, age, title or "", category or "", speech, tuple(chat.split("\n")) if chat else ())


def is_blank(text: str) -> bool:
    """Whether nothing is left when spaces are trimmed: of the Unicode category Zs, as DuckDB's trim does."""
    return all(unicodedata.category(character) == "Zs" for character in text)


def _last_of(said: list[Said], separator: str) -> str:
    texts, length = [], 0
    for one in reversed(said):  # what lies before the last TEXT_CHARACTERS is not even joined
        texts.append(one.text[-TEXT_CHARACTERS:])
        length += len(texts[-1]) + 1
        if length > TEXT_CHARACTERS:
            break
    return separator.join(reversed(texts))[-TEXT_CHARACTERS:]
