"""The start and length of a chat by its own messages, from one pass over the file."""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from livealign.errors import ArchiveError
from livealign.landing.times import YEAR_2000_MS
from livealign.platforms.chat.messages import MAX_DURATION_SECONDS, is_number

FAR_SECONDS = 12 * 3_600  # a single message so long after the others has a wrong offset
_SAMPLES = 10_001  # of clock readings; a median needs no more


@dataclass
class Survey:
    """The facts of a pass over a chat: starts by its clock, the last offset, and others."""

    starts: list[float] = field(default_factory=list)  # ms, one for each message with both
    last_offset: float | None = None  # seconds
    _far: float | None = None  # an offset long after all others, which another message must confirm
    facts: dict[str, str] = field(default_factory=dict)
    problem: str | None = None  # why the file cannot be read as a whole

    def add(self, offset: Any, at: Any) -> None:
        """Take in one message's offset (seconds) and time (ms); either may be missing or wrong."""
        if not is_number(offset) or not 0 <= offset <= MAX_DURATION_SECONDS:
            return
        if self.last_offset is None or offset <= self.last_offset + FAR_SECONDS:
            self.last_offset = max(offset, self.last_offset or 0)
        elif self._far is not None and offset >= self._far - FAR_SECONDS:
            self.last_offset, self._far = max(offset, self._far), None
        else:
            self._far = offset
        if is_number(at) and at >= YEAR_2000_MS and len(self.starts) < _SAMPLES:
            self.starts.append(at - offset * 1_000)

    @property
    def started_at(self) -> int | None:
        """The start in milliseconds: the median by message, because single messages may be late."""
        return round(statistics.median(self.starts)) if self.starts else None


Look = Callable[[Survey, Any], None]
Stream = Callable[[Path], Iterable[tuple[int, Any]]]


def survey(path: Path, stream: Stream, look: Look) -> Survey:
    """One pass over a file; a process passes over each file once.

    `stream` reads the file and `look` notes the facts of each element.
    """
    state = path.stat()
    return _survey(path, state.st_mtime_ns, state.st_size, state.st_ino, stream, look)


@lru_cache(maxsize=65_536)
def _survey(path: Path, changed: int, size: int, number: int, stream: Stream, look: Look) -> Survey:
    found = Survey()
    try:
        for _, element in stream(path):
            look(found, element)
    except ArchiveError as error:
        found.problem = str(error)
    return found
