"""Chat messages in one form for every format, and the checks that all formats share.

A format hands out elements (line, value) and translates each alone: one that does not fit becomes a `BadMessage` and
loses no other. A file that is cut short is rejected as a whole, because a part of a chat would look like viewers who
left.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeGuard

from livealign.platforms.chat.json_text import BrokenLine

AFTER_END_SECONDS = 3_600  # how long after the end of a broadcast a message may still come
MAX_DURATION_SECONDS = 14 * 86_400  # no broadcast is longer
PEOPLE = frozenset({"commenter", "author", "user", "uid"})  # keys whose values name people; rejects do not keep them


class Gift(NamedTuple):
    """The gift of a message; value null where the archive does not say the price."""

    pieces: int
    value: float | None  # of all of them together, in the platform's unit: bits, yuan, or the currency that was paid in


class Message(NamedTuple):
    """One good message."""

    line: int  # 1 is the first message (or line) of the file
    id: str
    offset: float  # seconds since the start of the broadcast
    user: str  # the platform's id of the chatter
    login: str  # what the platform knows chatters apart by: a login, or the id again
    name: str  # as displayed
    text: str  # empty for a gift without words
    gift: Gift | None = None
    bot_badge: bool = False
    owner: bool = False  # the platform marks it as the host's own
    anonymous: bool = False  # several people may share this user
    chat: int = 0  # which of the broadcast's files it is from


class BadMessage(NamedTuple):
    """One message that does not fit, and why."""

    line: int
    reason: str
    detail: str
    offset: float | None  # where it could be read
    row: dict[str, Any]  # without the chatter's names
    chat: int = 0


class Reading(NamedTuple):
    """The messages of one file, good and bad, and the names of its unknown fields."""

    good: list[Message]
    bad: list[BadMessage]
    unknown_fields: list[str]


class BadValueError(Exception):
    """A value of a message or of a broadcast does not fit."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def read_elements(
    elements: Iterable[tuple[int, Any]],
    translate: Callable[[int, Any], Message | None],
    duration: float | None,
    offset_of: Callable[[Mapping[str, Any]], Any] = lambda element: None,
    known_fields: frozenset[str] | None = None,
) -> Reading:
    """Translate every element of one file; a bad one is set apart.

    Args:
        elements: (line, value), as the file has them.
        translate: a value to its message, None where it is not a message; raises BadValueError.
        duration: of the broadcast in seconds; a bad message's offset beyond it is not believed.
        offset_of: the offset in seconds that a bad element has, whatever its type.
        known_fields: of an element; others are returned as unknown.
    """
    good: list[Message] = []
    bad: list[BadMessage] = []
    unknown: set[str] = set()
    latest = (duration or 0) + AFTER_END_SECONDS
    for line, element in elements:
        if known_fields is not None and isinstance(element, dict) and not element.keys() <= known_fields:
            unknown.update(element.keys() - known_fields)
        try:
            if isinstance(element, BrokenLine):
                raise BadValueError("broken_json", "the line holds no JSON")
            message = translate(line, element)
        except BadValueError as problem:
            row = {key: value for key, value in element.items() if key not in PEOPLE} if isinstance(element, dict) else {}
            offset = offset_of(row) if row else None
            usable = is_number(offset) and 0 <= offset <= latest
            bad.append(BadMessage(line, problem.reason, problem.detail, offset if usable else None, row))
            continue
        if message is not None:
            good.append(message)
    return Reading(good, bad, sorted(unknown))


def numbered(message: Message, nth: int) -> Message:
    """The message with its place among equal ones in its id, where it is not the first."""
    return message if nth == 1 else message._replace(id=f"{message.id}#{nth}")


def checked_offset(offset: Any, name: str, duration: float | None) -> float:
    """The offset of a message, which must lie within its broadcast or shortly after it.

    Raises:
        BadValueError: it is no finite number, negative, or too late.
    """
    if not is_number(offset):
        raise BadValueError("not_finite", f"{name} is not a finite number")
    if offset < 0:
        raise BadValueError("before_start", f"{name} is negative")
    latest = MAX_DURATION_SECONDS if duration is None else duration + AFTER_END_SECONDS
    if offset > latest:
        raise BadValueError("after_end", f"{name} is more than {AFTER_END_SECONDS} s after the end (is it in seconds?)")
    return offset


def checked_text(text: str, required: bool = True) -> str:
    """The text without white space around it.

    Raises:
        BadValueError: it is empty though `required`, or was no UTF-8 in the file.
    """
    text = text.strip()
    if not text and required:
        raise BadValueError("empty_text", "the message has no text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadValueError("invalid_utf8", "the text is not valid UTF-8") from None
    return text


def field(holder: Mapping[str, Any], name: str, *types: type) -> Any:
    """A required value of one of these types.

    Raises:
        BadValueError: it is missing or of another type.
    """
    value = holder.get(name)
    if value is None:
        raise BadValueError("missing_value", f"there is no {name}")
    if not isinstance(value, types) or isinstance(value, bool):
        raise BadValueError("wrong_type", f"{name} is {type(value).__name__}, not {types[0].__name__}")
    return value


def listed(holder: Mapping[str, Any], name: str) -> list[Any]:
    """A list that may be missing.

    Raises:
        BadValueError: it is something else.
    """
    value = holder.get(name) or []
    if not isinstance(value, list):
        raise BadValueError("wrong_type", f"{name} is not a list")
    return value


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
