"""Messages of a Twitch chat archive: `verbose_chat.json.gz` read as a stream, both generations brought into one form.

old: message {body, bitsSpent, fragments [{text, emote}], userBadges [{_id, version}]}, contentId
new: message {fragments [{text, emote}], userBadges [{setID, version}]}, no body; commenter may be null
"""

import codecs
import gzip
import json
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from livealign.errors import ArchiveError

MAX_CHAT_BYTES = 1 << 30  # of one chat after decompression
MAX_ELEMENT_CHARACTERS = 1 << 26  # of one message
AFTER_END_SECONDS = 3_600  # how long after the end of a broadcast a message may still come
KNOWN_FIELDS = frozenset({"id", "createdAt", "contentId", "contentOffsetSeconds", "commenter", "message"})

_CHUNK = 1 << 20
_SEPARATORS = re.compile(r"[\s,]*")


class Message(NamedTuple):
    """One good message."""

    line: int  # 1 is the first message of the file
    id: str
    offset: float  # seconds since the start of the broadcast
    user: str  # the platform's id of the chatter
    login: str
    name: str  # as displayed
    text: str
    bits: int  # cheered with the message; 0 where the archive does not say
    bot_badge: bool


class BadMessage(NamedTuple):
    """One message that does not fit, and why."""

    line: int
    reason: str
    detail: str
    offset: float | None  # where it could be read
    row: dict[str, Any]  # without the chatter's names


def read_messages(path: Path, duration: float) -> tuple[list[Message], list[BadMessage], list[str]]:
    """All messages of one chat; a bad one is set apart and loses no other.

    Args:
        path: the gzip file.
        duration: of the broadcast, seconds.

    Returns:
        Good messages, bad messages, and the names of fields that no known generation has.

    Raises:
        ArchiveError: the file as a whole cannot be read: truncated, no gzip, no JSON array, or too large. Nothing of it
            is used then, because a part of a chat would look like viewers who left.
        FileNotFoundError: there is no such file.
    """
    good: list[Message] = []
    bad: list[BadMessage] = []
    unknown: set[str] = set()
    for line, element in enumerate(stream_array(path), start=1):
        if isinstance(element, dict) and not element.keys() <= KNOWN_FIELDS:
            unknown.update(element.keys() - KNOWN_FIELDS)
        try:
            good.append(_message(line, element, duration))
        except _BadValueError as problem:
            row = {key: value for key, value in element.items() if key != "commenter"} if isinstance(element, dict) else {}
            offset = row.get("contentOffsetSeconds", -1)
            usable = _is_number(offset) and 0 <= offset <= duration + AFTER_END_SECONDS
            bad.append(BadMessage(line, problem.reason, problem.detail, offset if usable else None, row))
    return good, bad, sorted(unknown)


def stream_array(path: Path) -> Iterator[Any]:
    """The elements of a gzipped JSON array, one at a time; bytes that are not UTF-8 become lone surrogates.

    Raises:
        ArchiveError: see `read_messages`.
    """
    decoder = json.JSONDecoder(parse_int=_parse_int)
    chunks = _text_chunks(path)
    buffer = ""
    while not buffer and (more := next(chunks, None)) is not None:
        buffer = more.lstrip("\ufeff \t\r\n")
    if not buffer.startswith("["):
        raise ArchiveError(f"{path} is not a JSON list of messages; fetch it again")
    position = 1
    while True:
        separators = _SEPARATORS.match(buffer, position)
        position = separators.end() if separators else position
        if buffer.startswith("]", position):
            break
        try:
            element, end = decoder.raw_decode(buffer, position)
        except RecursionError:
            raise ArchiveError(f"{path} is nested too deeply for a chat; fetch it again") from None
        except ValueError:
            end = len(buffer)  # unfinished, or broken: then more text does not mend it
        if end < len(buffer):
            yield element
            position = end
            continue
        buffer, position = buffer[position:], 0
        more = _at_least(chunks, max(_CHUNK, len(buffer)))
        if not more or len(buffer) > MAX_ELEMENT_CHARACTERS:
            raise ArchiveError(f"{path} stops being a JSON list of messages near {buffer[:40]!r}; fetch it again")
        buffer += more
    if buffer[position + 1 :].strip() or "".join(chunks).strip():  # reads to the end, where gzip checks its checksum
        raise ArchiveError(f"{path} goes on after its list of messages; fetch it again")


class _BadValueError(Exception):
    """A message does not fit."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def _message(line: int, element: Any, duration: float) -> Message:
    if not isinstance(element, dict):
        raise _BadValueError("wrong_type", "the message is not an object")
    offset = _field(element, "contentOffsetSeconds", int, float)
    if not _is_number(offset):
        raise _BadValueError("not_finite", "contentOffsetSeconds is not a finite number")
    if offset < 0:
        raise _BadValueError("before_start", "contentOffsetSeconds is negative")
    if offset > duration + AFTER_END_SECONDS:
        raise _BadValueError(
            "after_end", f"contentOffsetSeconds is more than {AFTER_END_SECONDS} s after the end (is it in seconds?)"
        )
    if element.get("commenter") is None:
        raise _BadValueError("no_commenter", "the archive does not say who wrote it")
    commenter = _field(element, "commenter", dict)
    content = _field(element, "message", dict)
    text = _text(content).strip()
    if not text:
        raise _BadValueError("empty_text", "the message has no text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _BadValueError("invalid_utf8", "the text is not valid UTF-8") from None
    bits = content.get("bitsSpent") or 0
    if not _is_number(bits):
        raise _BadValueError("wrong_type", "message.bitsSpent is not a number")
    badges = content.get("userBadges") or []
    if not isinstance(badges, list):
        raise _BadValueError("wrong_type", "message.userBadges is not a list")
    return Message(
        line=line,
        id=str(_field(element, "id", str, int)),
        offset=offset,
        user=str(_field(commenter, "id", str, int)),
        login=str(commenter.get("login") or "").lower(),
        name=str(commenter.get("displayName") or ""),
        text=text,
        bits=int(bits),
        bot_badge=any(isinstance(badge, dict) and "bot-badge" in (badge.get("_id"), badge.get("setID")) for badge in badges),
    )


def _text(content: dict[str, Any]) -> str:
    """The body where the archive has one, else its fragments joined."""
    if isinstance(content.get("body"), str):
        return content["body"]
    parts = []
    for fragment in _field(content, "fragments", list):
        if not isinstance(fragment, dict) or not isinstance(fragment.get("text"), str):
            raise _BadValueError("wrong_type", "a fragment has no text")
        parts.append(fragment["text"])
    return "".join(parts)


def _field(holder: dict[str, Any], name: str, *types: type) -> Any:
    value = holder.get(name)
    if value is None:
        raise _BadValueError("missing_value", f"there is no {name}")
    if not isinstance(value, types) or isinstance(value, bool):
        raise _BadValueError("wrong_type", f"{name} is {type(value).__name__}, not {types[0].__name__}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _parse_int(digits: str) -> int | float:
    """Numbers beyond 19 digits become floats: Python would refuse the longest ones and with them the file."""
    return int(digits) if len(digits) < 20 else float(digits)


def _at_least(chunks: Iterator[str], characters: int) -> str:
    parts: list[str] = []
    total = 0
    for part in chunks:
        parts.append(part)
        total += len(part)
        if total >= characters:
            break
    return "".join(parts)


def _text_chunks(path: Path) -> Iterator[str]:
    decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
    total = 0
    try:
        with gzip.open(path) as file:
            while chunk := file.read(_CHUNK):
                total += len(chunk)
                if total > MAX_CHAT_BYTES:
                    raise ArchiveError(
                        f"{path} is larger than {MAX_CHAT_BYTES:,} bytes when decompressed, which no chat is; "
                        "look at what it is and remove it from the archive"
                    )
                yield decode(chunk)
        yield decode(b"", True)
    except FileNotFoundError:
        raise
    except (EOFError, OSError, zlib.error) as error:
        raise ArchiveError(f"{path} cannot be decompressed ({error}); fetch it again") from error
