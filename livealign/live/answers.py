"""What the live core answers and tells: plain values, no model behind them, cheap to import for whoever serves them."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from livealign.events.models import Rejection

MAX_K = 100
Fallback = Literal[
    "unknown_user",  # not seen in training: ranked for anyone, by what is on now
    "no_history",  # nothing known of what the user engaged with
    "no_live_rooms",  # nobody is live at that moment: the list is empty
    "all_excluded",  # every live room was excluded: the list is empty
    "author_only",  # a room of the list has no encoded window yet: its author alone was ranked
    "old_content",  # a room of the list waits for the LLM: what is said of it is of an earlier window
    "no_refresh",  # the backbone is not there: rooms keep the codes that they had
]


class CodedWindow(NamedTuple):
    """One window of a room, as it was encoded."""

    segment_id: int
    ended_at: int  # epoch milliseconds
    text: str  # what the LLM read; user text, to be shown as text only
    codes: list[int]  # coarse to fine
    code_names: list[str]
    counts: dict[str, float]  # by `dataset_features.WINDOW_COUNTS`; what is unknown is left out


class RoomState(NamedTuple):
    """A broadcast as the core knows it now."""

    room_id: int
    author_id: int
    title: str | None
    category: str | None
    language: str | None
    started_at: int  # epoch milliseconds
    ended_at: int | None
    codes: list[int]
    code_names: list[str]
    content_age_seconds: float | None  # None before the first window: the codes are those of the author alone
    viewers: int  # at the end of the last window
    waiting: int  # windows with news that are not encoded yet
    windows: tuple[CodedWindow, ...]  # the last ones, newest first; `rooms()` gives the newest alone


class SimilarRoom(NamedTuple):
    """A room that is about something alike now."""

    room: RoomState
    similarity: float  # cosine of the aligned vectors, -1 to 1


class EmbeddedSegments(NamedTuple):
    """n segments that are no part of the state."""

    embeddings: NDArray[np.float32]  # [n, hidden] of the tuned LLM
    vectors: NDArray[np.float32]  # [n, dim] aligned with the author where one is given, of unit length
    codes: NDArray[np.int64]  # [n, levels]
    code_names: list[list[str]]


class SegmentText(NamedTuple):
    """One moment to embed."""

    title: str = ""
    category: str = ""
    speech: str = ""
    chat: tuple[str, ...] = ()  # in time order
    minute: int = 0  # since the broadcast began
    author_id: int | None = None  # None: an unknown author


class TickReport(NamedTuple):
    """What one refresh did."""

    at: int  # epoch milliseconds
    rooms_with_news: int  # had a window that ended since they were encoded
    encoded: int  # of them, in this tick
    deferred: int  # of them, left for later: they keep their last codes
    distinct_texts: int  # that went through the LLM
    windows_waiting: int  # not encoded after the tick, all rooms together
    windows_dropped: int  # came too late, or gave way to newer ones of their room
    seconds: float  # of the whole tick
    encode_seconds: float  # of it in the LLM
    batch_sizes: tuple[int, ...]  # texts in each pass of the LLM
    staleness_seconds: NDArray[np.float32]  # [live rooms with content] age of what their codes describe
    degraded: bool  # rooms were deferred, or the LLM failed
    error: str | None  # why the LLM failed


class CoreVersion(NamedTuple):
    """The release in service."""

    release_id: str
    livealign: str
    platform: str
    profile: str
    data_window: Mapping[str, str]
    codebook_version: str
    backbone: str
    encodes: bool  # False: the backbone is not on this machine, so that rooms keep the codes that they have


class CoreStatus(NamedTuple):
    """How the core is."""

    release_id: str
    ready: bool
    degraded: bool
    problems: tuple[str, ...]  # what a person should look into, empty when nothing
    live_rooms: int
    rooms: int
    users: int
    windows_waiting: int
    last_tick_at: int | None  # epoch milliseconds
    last_tick_seconds: float | None
    staleness_p50_seconds: float | None
    staleness_p99_seconds: float | None
    log_behind_records: int  # impressions that are not in the log yet


Stage = Literal["user", "candidates", "rank", "compose"]
Outcome = Literal["accepted", "duplicate", "rejected"]


class Observer(Protocol):
    """Told of everything worth counting. Called from several threads, outside of locks; what it raises is the core's end."""

    def events(self, outcomes: Mapping[tuple[str, Outcome], int]) -> None:
        """One batch: number of events by (kind, outcome); a rejected item of no known kind is of kind `unknown`."""

    def rejected(self, rejections: Sequence[Rejection]) -> None:
        """The items of a batch that were not taken; only called where there are any."""

    def recommended(self, seconds: Mapping[str, float], fallbacks: Sequence[str]) -> None:
        """One list was made: seconds by `Stage`, and what it had to do without."""

    def ticked(self, report: TickReport) -> None:
        """One refresh is over."""

    def took_over(self, release_id: str, seconds: float) -> None:
        """Another release is in service."""

    def failed(self, what: str, detail: str) -> None:
        """Something went wrong that the core survives: encode, log, takeover, checkpoint, backbone; refresh, journal or
        champion for what nobody foresaw in these threads."""


class SilentObserver:
    """Listens to nothing."""

    def events(self, outcomes: Mapping[tuple[str, Outcome], int]) -> None: ...
    def rejected(self, rejections: Sequence[Rejection]) -> None: ...
    def recommended(self, seconds: Mapping[str, float], fallbacks: Sequence[str]) -> None: ...
    def ticked(self, report: TickReport) -> None: ...
    def took_over(self, release_id: str, seconds: float) -> None: ...
    def failed(self, what: str, detail: str) -> None: ...


class RankedRoom(NamedTuple):
    """One room of a list."""

    room_id: int
    author_id: int
    title: str | None
    score: float  # what the list is ordered by: the probability of a click, lowered where the room was shown lately
    scores: dict[str, float]  # probability by task
    codes: list[int]  # of the room's present moment, coarse to fine
    code_names: list[str]
    content_age_seconds: float | None  # age of what the codes describe; None before the first window has ended
    reason: str
    explored: bool = False  # takes a place that is kept for rooms that would not have been on the list


class Recommendations(NamedTuple):
    """Rooms that are live, best first."""

    request_id: str
    model_version: str  # release id
    at: int  # epoch milliseconds, the moment recommended for
    rooms: tuple[RankedRoom, ...]
    fallbacks: tuple[Fallback, ...]
    surface: str | None = None
    seconds: dict[str, float] | None = None  # by stage (`live_answers.Stage`)
