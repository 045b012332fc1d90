"""One live room, and the immutable view of all rooms that readers take."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.dataset.features import AUTHOR_COUNTS, WINDOW_COUNTS
from livealign.dataset.recent_content import RecentContent
from livealign.dataset.room_outcomes import OUTCOME_COUNTS
from livealign.live.state.coded_windows import CodedWindow, CodedWindows
from livealign.live.state.room_texts import RoomTexts
from livealign.live.state.windows import LiveFrame, newest
from livealign.llm.segment_text import WindowText

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

NEVER_ENDS = np.iinfo(np.int64).max
N_VIEWERS = WINDOW_COUNTS.index("n_viewers")


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A room's window that has ended and in which anything happened, ready for the LLM."""

    text: WindowText
    earlier: tuple[WindowText, ...]  # the room's earlier windows with words, newest first
    counts: tuple[float, ...]  # by WINDOW_COUNTS, NaN where unknown
    shown_before: bool  # the room was shown between its last encoded window and this one
    frame: LiveFrame | None = None  # the window's newest picture
    still: bool = False  # it shows what the room's last picture that counted shows (`livealign.frames.still`)

    @property
    def seen_frame(self) -> LiveFrame | None:
        """The picture that counts: None where it stands still."""
        return None if self.still else self.frame


class LlmInput(NamedTuple):
    """What the LLM reads of a window; equal inputs have equal vectors."""

    text: str
    picture: str = ""  # name of the picture read before the text, if any


@dataclass(slots=True)
class RoomContent:
    """The content of a room's last encoded window, and averages; belongs to one release."""

    text: str
    vector: Floats  # [Σ sources], of that window alone
    before: RecentContent | None  # the room's average without that window
    average: RecentContent  # the room's average with it
    picture: str = ""  # name of the picture that the LLM read with the text, if any

    @property
    def llm_input(self) -> LlmInput:
        """What the LLM read of the window."""
        return LlmInput(self.text, self.picture)


@dataclass(slots=True, eq=False)
class LiveRoom:
    """One broadcast; `row` is its row in the state's table."""

    room_id: int
    author_id: int
    texts: RoomTexts
    language: str | None
    started_at: int  # epoch milliseconds
    row: int
    heard_at: int  # epoch milliseconds of the latest event
    earlier: tuple[WindowText, ...] = ()
    shown_in: set[int] = field(default_factory=set)  # windows in which it was shown, since the last encoded one
    waiting: ClosedWindow | None = None  # the newest window, if not encoded yet
    encoded: ClosedWindow | None = None  # the newest encoded window
    content: RoomContent | None = None
    seen: RoomContent | None = None  # the same of its pictures, if they are a source; its text is the name of the last one
    frame: LiveFrame | None = None  # the newest picture, which the wall shows
    look: str = ""  # of the last picture that counted
    windows: deque[CodedWindow] = field(default_factory=deque)  # newest first

    def show(self, frame: LiveFrame) -> None:
        """Take a picture; the newest one stays."""
        self.frame = newest(self.frame, frame)

    def add_coded(self, window: CodedWindow, kept: int) -> None:
        """Add the newest encoded window; at most `kept` stay."""
        self.windows.appendleft(window)
        while len(self.windows) > kept:
            self.windows.pop()

    @property
    def title(self) -> str | None:
        """The latest title."""
        return self.texts.before(inf).title

    @property
    def category(self) -> str | None:
        """The latest category."""
        return self.texts.before(inf).category


class LiveView(NamedTuple):
    """All n rooms at one instant, in the order of `rooms`; immutable."""

    rooms: tuple[LiveRoom, ...]
    room_id: Ints  # [n]
    author_id: Ints  # [n]
    started_at: Ints  # [n]
    ended_at: Ints  # [n], NEVER_ENDS while live without a known end
    content_at: Ints  # [n] end of the window that the codes describe, 0 = none yet
    heard_at: Ints  # [n] latest event
    hidden: NDArray[np.bool_]  # [n] whether an operator has hidden it
    waiting: NDArray[np.bool_]  # [n] whether a newer window waits for the LLM
    coded_row: Ints  # [n] rows of `coded_windows`
    vectors: Floats  # [n, dim]
    codes: Ints  # [n, levels]
    counts: NDArray[np.float64]  # [n, WINDOW_COUNTS] of the window that the codes describe
    author_counts: NDArray[np.float64]  # [n, AUTHOR_COUNTS] of the days before
    outcomes: NDArray[np.float64]  # [n, OUTCOME_COUNTS] of today
    coded_windows: CodedWindows  # the table that `coded_row` points to
    window_ms: int
    quiet_ms: int  # a room without any event for so long is not live

    def live_at(self, at: int) -> Ints:
        """Rows of the rooms that are live at `at` (epoch milliseconds).

        A room that is silent for long, or hidden, is not.
        """
        live = (self.started_at <= at) & (at < self.ended_at) & (at - self.heard_at <= self.quiet_ms)
        return np.flatnonzero(live & ~self.hidden)

    def columns(self, rows: Ints) -> dict[str, NDArray[np.float64]]:
        """Feature columns [len(rows)] of these rooms that do not depend on the request."""
        counts, authors = self.counts[rows], self.author_counts[rows]
        columns = {name: counts[:, place] for place, name in enumerate(WINDOW_COUNTS)}
        columns |= {f"author_{name}": authors[:, place] for place, name in enumerate(AUTHOR_COUNTS)}
        return columns | dict(zip(OUTCOME_COUNTS, self.outcomes[rows].T, strict=True))


def named_counts(counts: tuple[float, ...]) -> dict[str, float]:
    """Counts in the order of WINDOW_COUNTS → by name; unknown (NaN) counts are left out."""
    return {name: value for name, value in zip(WINDOW_COUNTS, counts, strict=True) if value == value}


def ordered_counts(row: Mapping[str, float | None]) -> tuple[float, ...]:
    """Counts by name → in the order of WINDOW_COUNTS; NaN where unknown."""
    return tuple(np.nan if (value := row.get(name)) is None else float(value) for name in WINDOW_COUNTS)
