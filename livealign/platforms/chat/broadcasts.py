"""One broadcast of a chat archive: what is known of it, and the files of its messages.

Ids: Twitch gives numbers, which stay what they are (people are hashed where a secret key is set). Every other id is a
hash of the site's name and the site's id, so that sites never collide.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from livealign import ids
from livealign.days import day_of, day_range
from livealign.platforms.chat.messages import (
    AFTER_END_SECONDS,
    MAX_DURATION_SECONDS,
    BadValueError,
    Message,
    Reading,
    is_number,
)

TWITCH, YOUTUBE, BILIBILI, OTHER = "twitch", "youtube", "bilibili", "chat"


@dataclass(frozen=True)
class Change:
    """A title or category that a broadcast had from a moment on; null is unchanged."""

    at: int  # ms
    title: str | None = None
    category: str | None = None


@dataclass(frozen=True)
class Chat:
    """A file with messages of a broadcast, or some lines of it, and how it is read.

    `read(path, broadcast, chat)` raises ArchiveError for a file that cannot be read as a whole, or FileNotFoundError.
    """

    file: str  # relative to the archive
    read: Callable[[Path, "Broadcast", "Chat"], Reading]
    counts_from: int | None = None  # ms, the moment that offsets of the file count from; None: the broadcast's start
    first_line: int = 1
    last_line: int | None = None


@dataclass(frozen=True)
class Broadcast:
    """One broadcast; times are milliseconds since 1970, UTC."""

    site: str
    channel: str  # what the site knows its owner by
    owner: str  # login of the owner in the chat; empty where it is not known
    file: str  # that describes the broadcast, relative to the archive
    room_id: int
    title: str | None
    category: str | None
    started_at: int
    duration: float | None  # seconds; None where it is unknown
    chats: tuple[Chat, ...]
    changes: tuple[Change, ...] = ()
    unknown_fields: tuple[str, ...] = ()
    used: tuple[str, ...] = ()  # further files that were read for it or that say the same again
    author_id: int = field(init=False)

    def __post_init__(self) -> None:
        author_id = ids.person_id(f"{self.site}_channel", f"@{self.channel}", ids.secret_key())  # names may be digits
        object.__setattr__(self, "author_id", author_id)

    @property
    def ended_at(self) -> int | None:
        return None if self.duration is None else self.started_at + round(self.duration * 1_000)

    @property
    def last_known(self) -> int:
        """The end, or the start where the end is not known."""
        return self.started_at if self.ended_at is None else self.ended_at

    def times_ms(self, messages: Sequence[Message]) -> npt.NDArray[np.int64]:
        """The times at which the messages were sent, epoch milliseconds [n]."""
        return self.started_at + np.array([round(message.offset * 1_000) for message in messages], np.int64)

    @property
    def days(self) -> list[date]:
        """The days on which it was live."""
        return day_range(day_of(self.started_at), day_of(self.last_known))

    @property
    def chat_days(self) -> list[date]:
        """The days in which its messages may lie: some come after the end."""
        return day_range(day_of(self.started_at), day_of(self.last_known + AFTER_END_SECONDS * 1_000))


@dataclass(frozen=True)
class BadBroadcast:
    """A broadcast that does not fit, with its files and the day in a file's name."""

    file: str
    reason: str
    detail: str
    row: Mapping[str, Any] | None = None
    day: date | None = None
    chats: tuple[str, ...] = ()


@dataclass
class Found:
    """The finds of one format in an archive; `names` are all files that it read or knows."""

    broadcasts: list[Broadcast] = field(default_factory=list)
    bad: list[BadBroadcast] = field(default_factory=list)
    names: set[str] = field(default_factory=set)


def room_id_of(site: str, key: str) -> int:
    """The id of a room: the number that Twitch gives, else a hash."""
    if site == TWITCH and key.isascii() and key.isdigit() and len(key) <= 19 and int(key) <= ids.MAX_ID:
        return int(key)
    return ids.hashed_id(f"{site}_room", key)


def user_ids(site: str, users: Sequence[str]) -> npt.NDArray[np.int64]:
    """[n] the ids of chatters; each distinct one is hashed once."""
    secret = ids.secret_key()
    if site == TWITCH:
        known = {user: ids.person_id("twitch_user", user, secret) for user in set(users)}
    else:
        known = {user: ids.hashed_id(f"{site}_user", user, secret or ids.DEFAULT_KEY) for user in set(users)}
    return np.array([known[user] for user in users], np.int64)


def time_ms(value: Any, name: str, zone: timezone = UTC) -> int:
    """A time in milliseconds, from ISO text or from Unix seconds, milli- or microseconds.

    Raises:
        BadValueError: it is no time, or lies before 2000 or in the future.
    """
    if isinstance(value, str) and value.isascii() and value.replace(".", "", 1).isdigit() and len(value) >= 9:
        value = float(value)
    if is_number(value):
        seconds = value / (1_000_000 if value >= 1e14 else 1_000 if value >= 1e11 else 1)
        parsed = datetime.fromtimestamp(min(max(seconds, 0), 2e10), UTC)
    else:
        try:
            parsed = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise BadValueError("wrong_type", f"{name} is not a time") from None
        try:
            parsed = parsed.replace(tzinfo=zone) if parsed.tzinfo is None else parsed.astimezone(UTC)
        except OverflowError:
            raise BadValueError("wrong_type", f"{name} is not a time") from None
    if parsed.year < 2000:
        raise BadValueError("time_before_2000", f"{name} is before 2000-01-01")
    if parsed > datetime.now(UTC):
        raise BadValueError("time_in_future", f"{name} is in the future")
    return round(parsed.timestamp() * 1_000)


def checked_duration(value: Any) -> float:
    """A duration in seconds.

    Raises:
        BadValueError: it is no number, negative, or longer than any broadcast.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadValueError("wrong_type", "duration is not a number of seconds")
    if value < 0:
        raise BadValueError("negative_duration", "duration is negative")
    if value > MAX_DURATION_SECONDS:
        raise BadValueError("too_long", f"duration is over {MAX_DURATION_SECONDS} s (is it in seconds?)")
    return value


def checked_title(value: Any, name: str = "title") -> str | None:
    """A title or category, or null.

    Raises:
        BadValueError: it is no text, or no UTF-8.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadValueError("wrong_type", f"{name} is not text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadValueError("invalid_utf8", f"{name} is not valid UTF-8") from None
    return value
