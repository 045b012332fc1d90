"""Danmaku lines of Bilibili's VTuber archives: ROOM/DAY.txt with `time_ms:user_id:text`.

The files do not give the times of broadcasts. Rule: a room's messages belong to one broadcast until a gap of `GAP_MS`;
 it begins with its first message and ends with its last, and may cross midnight into the next file. A single
line whose time is far from both its neighbours begins none. Lines `TIME…ONLINE…` (viewers online) are no messages.
There are no titles and no names, so bots are known by what they do alone.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from livealign.errors import ArchiveError
from livealign.landing.times import YEAR_2000_MS
from livealign.platforms.chat.broadcasts import BILIBILI, BadBroadcast, Broadcast, Chat, Found, room_id_of
from livealign.platforms.chat.json_text import peek, text_lines
from livealign.platforms.chat.messages import (
    BadValueError,
    Message,
    Reading,
    checked_offset,
    checked_text,
    numbered,
    read_elements,
)

GAP_MS = 1_800_000

_LINE = re.compile(r"(\d{9,17}):(\d{1,20}):(.*)", re.DOTALL)
_ONLINE = re.compile(r"TIME.{0,40}ONLINE\d*\s*")
_KNOWN = re.compile(r"^(?:\d{9,17}:\d{1,20}:|TIME.{0,40}ONLINE)", re.MULTILINE)

Ints = npt.NDArray[np.int64]


def find(archive: Path, names: Sequence[str]) -> Found:
    """Every file of danmaku lines, its room's broadcasts divided at gaps."""
    found = Found()
    rooms: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        room = PurePosixPath(name).parent.name or archive.resolve().name
        if name.removesuffix(".gz").endswith(".txt") and _KNOWN.search(peek(archive / name)):
            rooms[room].append(name)
            found.names.add(name)
    for room, files in rooms.items():
        readable = []
        for name in sorted(files, key=lambda file: PurePosixPath(file).name):
            times, lines, problem = _scan(archive, name)
            if problem or not len(times):
                reason, detail = ("unreadable_file", problem) if problem else ("missing_value", "no line has a time")
                found.bad.append(BadBroadcast(name, reason, detail, None, None, (name,)))
            else:
                readable.append((name, times, lines))
        found.broadcasts += _divide(room, readable)
    return found


def _scan(archive: Path, name: str) -> tuple[Ints, Ints, str]:
    state = (archive / name).stat()
    return _scanned(archive / name, state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(maxsize=256)
def _scanned(path: Path, changed: int, size: int, number: int) -> tuple[Ints, Ints, str]:
    """Times and lines of the messages of one file, or why it cannot be read."""
    latest = round(datetime.now(UTC).timestamp() * 1_000)
    times, lines = [], []
    try:
        for line, text in text_lines(path):
            found = _LINE.match(text)
            if found and YEAR_2000_MS <= int(found[1]) <= latest:
                times.append(int(found[1]))
                lines.append(line)
    except ArchiveError as error:
        return np.array([], np.int64), np.array([], np.int64), str(error)
    return np.array(times, np.int64), np.array(lines, np.int64), ""


def _divide(room: str, files: Sequence[tuple[str, Ints, Ints]]) -> list[Broadcast]:
    """The broadcasts of one room, each with the lines of each file that are its own."""
    if not files:
        return []
    times = np.concatenate([times for _, times, _ in files])
    lines = np.concatenate([lines for _, _, lines in files])
    file = np.repeat(np.arange(len(files)), [len(times) for _, times, _ in files])
    steady = times.copy()
    if len(times) > 2:
        steady[1:-1] = np.median(np.stack([times[:-2], times[1:-1], times[2:]]), axis=0).astype(np.int64)
    begins = np.flatnonzero(np.diff(steady, prepend=steady[0] - GAP_MS) >= GAP_MS)
    broadcasts = []
    for begin, end in pairwise([*begins, len(times)]):
        started_at, ended_at = int(steady[begin:end].min()), int(steady[begin:end].max())
        chats = []
        for which in np.unique(file[begin:end]):
            own = begin + np.flatnonzero(file[begin:end] == which)
            first = own[0] == 0 or file[own[0] - 1] != which
            last = own[-1] == len(times) - 1 or file[own[-1] + 1] != which
            chats.append(
                Chat(
                    files[which][0],
                    _read,
                    None,
                    1 if first else int(lines[own[0]]),
                    None if last else int(lines[own[-1] + 1]) - 1,
                )
            )
        broadcasts.append(
            Broadcast(
                site=BILIBILI,
                channel=room,
                owner="",
                file=chats[0].file,
                room_id=room_id_of(BILIBILI, f"{room}:{started_at}"),
                title=None,
                category=None,
                started_at=started_at,
                duration=(ended_at - started_at) / 1_000,
                chats=tuple(chats),
            )
        )
    return broadcasts


def _read(path: Path, broadcast: Broadcast, chat: Chat) -> Reading:
    seen: Counter[str] = Counter()

    def translate(line: int, text: str) -> Message | None:
        message = _message(line, text, broadcast)
        if message is None:
            return None
        seen[message.id] += 1
        return numbered(message, seen[message.id])

    return read_elements(_own_lines(path, chat), translate, broadcast.duration)


def _own_lines(path: Path, chat: Chat) -> Iterator[tuple[int, str]]:
    for line, text in text_lines(path):
        if chat.last_line is not None and line > chat.last_line:
            return
        if line >= chat.first_line:
            yield line, text


def _message(line: int, text: str, broadcast: Broadcast) -> Message | None:
    if _ONLINE.fullmatch(text):
        return None
    found = _LINE.match(text)
    if found is None:
        raise BadValueError("wrong_type", "the line is not time_ms:user_id:text")
    sent, user, words = int(found[1]), found[2], found[3]
    if sent < YEAR_2000_MS:
        raise BadValueError("time_before_2000", "the time is before 2000-01-01 (is it in milliseconds?)")
    offset = checked_offset((sent - broadcast.started_at) / 1_000, "the time", broadcast.duration)
    return Message(
        line=line,
        id=f"{broadcast.room_id}:{sent}:{user}:{words}",
        offset=offset,
        user=user,
        login=user,
        name="",
        text=checked_text(words),
    )
