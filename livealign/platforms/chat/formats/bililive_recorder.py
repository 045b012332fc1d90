"""BililiveRecorder's danmaku XML: messages, gifts, super chats and guards of a recording.

    <i><BililiveRecorderRecordInfo roomid shortid name title areanameparent areanamechild start_time/>
    <d p="offset,mode,size,color,unix ms,pool,user,row" user="NAME">TEXT</d>
    <gift ts user uid giftname giftcount [price] [raw]/>  <sc ts user uid price time>TEXT</sc>
    <guard ts user uid level count [price]/></i>

Offsets count from start_time. Where that has no zone it is China's time; where it differs from the messages' own Unix
times by more than ten minutes those are right, for the header was written with a wrong clock or zone. Recordings of a
room that follow each other within ten minutes are one broadcast; a title or area that differs is a change. Values are
yuan: `price` of a super chat is, that of a gift is of one piece, in `raw` it is in thousandths. Where the recorder was
not logged in, Bilibili masks names and sends uid 0: such messages land, but no visit is inferred from them.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta, timezone
from pathlib import Path, PurePosixPath
from typing import Any

from livealign.platforms.chat.broadcasts import (
    BILIBILI,
    BadBroadcast,
    Broadcast,
    Change,
    Chat,
    Found,
    checked_title,
    room_id_of,
    time_ms,
)
from livealign.platforms.chat.danmaku_xml import Element, stream_xml
from livealign.platforms.chat.json_text import peek
from livealign.platforms.chat.messages import (
    BadValueError,
    Gift,
    Message,
    Reading,
    checked_offset,
    checked_text,
    is_number,
    numbered,
    read_elements,
)
from livealign.platforms.chat.survey import Survey, survey

JOIN_MS = 600_000  # between two recordings of one broadcast
WRONG_CLOCK_MS = 600_000
CHINA = timezone(timedelta(hours=8))
HEADER = "BililiveRecorderRecordInfo"
FACTS = ("roomid", "name", "title", "areanameparent", "areanamechild", "start_time")

_DIGITS = re.compile(r"\d{3,}")


@dataclass(frozen=True)
class _Recording:
    """One file: which room, when, and under which title."""

    file: str
    room: str
    name: str
    title: str | None
    category: str | None
    started_at: int
    last_offset: float | None  # seconds


def find(archive: Path, names: Sequence[str]) -> Found:
    """Every danmaku XML; recordings that follow each other are joined."""
    found = Found()
    rooms: defaultdict[str, list[_Recording]] = defaultdict(list)
    for name in names:
        if not name.removesuffix(".gz").endswith(".xml") or not _looks_right(peek(archive / name)):
            continue
        found.names.add(name)
        try:
            recording = _read_header(archive, name)
        except BadValueError as problem:
            found.bad.append(BadBroadcast(name, problem.reason, problem.detail, None, None, (name,)))
            continue
        rooms[recording.room].append(recording)
    for recordings in rooms.values():
        recordings.sort(key=lambda recording: (recording.started_at, recording.file))
        found.broadcasts += [_broadcast(joined) for joined in _joined(recordings)]
    return found


def _looks_right(text: str) -> bool:
    return HEADER in text or ("<i>" in text and "<d p=" in text)


def _read_header(archive: Path, name: str) -> _Recording:
    surveyed = survey(archive / name, stream_xml, _look)
    facts = surveyed.facts
    path = PurePosixPath(name)
    room = facts.get("roomid") or next(iter(_DIGITS.findall(path.name) or _DIGITS.findall(path.parent.name)), "")
    if not room:
        raise BadValueError("missing_value", f"neither {HEADER} nor the file's name says the room")
    by_messages = surveyed.started_at
    if facts.get("start_time"):
        started_at = time_ms(facts["start_time"], "start_time", CHINA)
        if by_messages is not None and abs(by_messages - started_at) > WRONG_CLOCK_MS:
            started_at = time_ms(by_messages, "the time of the messages")
    elif by_messages is not None:
        started_at = time_ms(by_messages, "the time of the messages")
    elif surveyed.problem is not None:
        raise BadValueError("unreadable_file", surveyed.problem)
    else:
        raise BadValueError("missing_value", f"neither {HEADER} nor a message says when it began")
    area = [facts[key] for key in ("areanamechild", "areanameparent") if facts.get(key)]
    return _Recording(
        file=name,
        room=room,
        name=facts.get("name", ""),
        title=checked_title(facts.get("title")) or None,
        category=checked_title(area[0], "areanamechild") if area else None,
        started_at=started_at,
        last_offset=None if surveyed.problem else surveyed.last_offset or 0,
    )


def _joined(recordings: Sequence[_Recording]) -> list[list[_Recording]]:
    groups: list[list[_Recording]] = []
    end: int | None = None
    for recording in recordings:
        if end is not None and groups[-1][-1].started_at < recording.started_at <= end + JOIN_MS:
            groups[-1].append(recording)
        else:
            groups.append([recording])
            end = recording.started_at
        end = max(end or 0, recording.started_at + round((recording.last_offset or 0) * 1_000))
    return groups


def _broadcast(recordings: Sequence[_Recording]) -> Broadcast:
    first = recordings[0]
    known = [r.started_at + round(r.last_offset * 1_000) for r in recordings if r.last_offset is not None]
    changes, title, category = [], first.title, first.category
    for later in recordings[1:]:
        new_title = later.title if later.title and later.title != title else None
        new_category = later.category if later.category and later.category != category else None
        if new_title or new_category:
            changes.append(Change(later.started_at, new_title, new_category))
        title, category = new_title or title, new_category or category
    return Broadcast(
        site=BILIBILI,
        channel=first.room,
        owner=first.name.lower(),
        file=first.file,
        room_id=room_id_of(BILIBILI, f"{first.room}:{first.started_at}"),
        title=first.title,
        category=first.category,
        started_at=first.started_at,
        duration=(max(known) - first.started_at) / 1_000 if known else None,
        chats=tuple(Chat(recording.file, _read, recording.started_at) for recording in recordings),
        changes=tuple(changes),
    )


def _look(found: Survey, element: Element) -> None:
    if element.tag == HEADER:
        found.facts.update({key: element.attributes[key] for key in FACTS if element.attributes.get(key)})
    elif element.tag == "d":
        place = element.attributes.get("p", "").split(",")
        sent = _number(place[4]) if len(place) > 4 else None
        if sent is not None:
            sent = sent if sent >= 1e11 else sent * 1_000
        found.add(_number(place[0]), sent)
    elif element.tag in ("gift", "sc", "guard"):
        found.add(_number(element.attributes.get("ts", "")), None)


def _read(path: Path, broadcast: Broadcast, chat: Chat) -> Reading:
    seen: Counter[str] = Counter()
    later = ((chat.counts_from or broadcast.started_at) - broadcast.started_at) / 1_000

    def translate(line: int, element: Element) -> Message | None:
        message = _message(line, element, broadcast, later)
        if message is None:
            return None
        seen[message.id] += 1  # the format has no ids: equal elements of one file are distinguished by their order
        return numbered(message, seen[message.id])

    elements = ((line, element) for line, element in stream_xml(path))
    reading = read_elements(elements, translate, broadcast.duration)
    bad = [problem._replace(row={}) for problem in reading.bad]
    return Reading(reading.good, bad, [])


def _message(line: int, element: Element, broadcast: Broadcast, later: float) -> Message | None:
    if element.tag not in ("d", "gift", "sc", "guard"):
        return None
    attributes = element.attributes
    place = attributes.get("p", "").split(",")
    if element.tag == "d" and len(place) < 7:
        raise BadValueError("wrong_type", "p has fewer than seven parts")
    within = _number(place[0] if element.tag == "d" else attributes.get("ts", ""))
    if within is None:
        raise BadValueError("wrong_type", "the offset is not a number of seconds")
    offset = checked_offset(within + later, "the offset", broadcast.duration)
    uid = place[6] if element.tag == "d" else attributes.get("uid", "")
    name = attributes.get("user", "")
    if uid in ("", "0") and not name:
        raise BadValueError("no_commenter", "the archive does not say who wrote it")
    anonymous = uid in ("", "0")
    if "\ufffd" in element.text:
        raise BadValueError("invalid_utf8", "the text is not valid UTF-8")
    gift = _gift(element)
    text = element.text if element.tag in ("d", "sc") else ""
    key = attributes.get("p") or f"{attributes.get('ts')}:{attributes.get('giftname', '')}{attributes.get('level', '')}"
    return Message(
        line=line,
        id=f"{broadcast.room_id}:{element.tag}:{later}:{key}:{uid}:{name if anonymous else ''}:{text}",
        offset=offset,
        user=f"name:{name}" if anonymous else uid,
        login=(name or uid).lower(),
        name=name,
        text=checked_text(text, required=gift is None),
        gift=gift,
        anonymous=anonymous and "***" in name,
    )


def _gift(element: Element) -> Gift | None:
    attributes = element.attributes
    if element.tag == "d":
        return None
    price = attributes.get("price")
    each = None if price in (None, "") else _number(price or "")
    if price not in (None, "") and (each is None or each < 0):
        raise BadValueError("wrong_type", "price is not a number of yuan")
    if element.tag == "sc":
        return Gift(1, each)
    written = attributes.get("giftcount" if element.tag == "gift" else "count") or "1"
    if not (written.isascii() and written.isdigit() and len(written) < 10):
        raise BadValueError("wrong_type", "the count is not a number")
    if int(written) < 1:
        raise BadValueError("not_positive", "count is below 1")
    each = _raw_price(attributes) if each is None else each
    return Gift(int(written), None if each is None else each * int(written))


def _raw_price(attributes: Mapping[str, str]) -> float | None:
    """Yuan of one piece by the message that Bilibili sent, where the recorder kept it; silver is no money."""
    try:
        raw: Any = json.loads(attributes.get("raw", "null"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(raw, dict) or not is_number(raw.get("price")) or raw["price"] < 0:
        return None
    return 0.0 if raw.get("coin_type") == "silver" else raw["price"] / 1_000


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if is_number(value) else None
