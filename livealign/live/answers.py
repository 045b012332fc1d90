"""Everything the live core returns, as plain values.

Cheap to import: this module needs no model.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from livealign.evaluation.tallies import Arm
from livealign.events.parsing import Rejection
from livealign.live.state.coded_windows import CodedWindow
from livealign.ranking.contexts import UNKNOWN, Context

MAX_K = 100
Fallback = Literal[
    "unknown_user",  # not seen in training: ranked by what is on now
    "no_history",  # the user has no known engagement
    "no_live_rooms",  # no room is live at that time: the list is empty
    "all_excluded",  # every live room was excluded: the list is empty
    "author_only",  # a room of the list has no encoded window yet: ranked by its author alone
    "old_content",  # a room of the list waits for the LLM: its content is of an earlier window
    "no_refresh",  # the backbone is missing: rooms keep their codes
]


Role = Literal["both", "reader", "ranker"]
ROLES: tuple[Role, ...] = get_args(Role)


class Said(NamedTuple):
    """The last words of a room's newest closed window that has any.

    Users' text, to be shown as text only.
    """

    ended_at: int  # epoch milliseconds: end of the window
    speech: str  # the host's
    chat: list[str]  # viewers' different messages, newest first


class RoomState(NamedTuple):
    """One room now."""

    room_id: int
    author_id: int
    title: str | None
    category: str | None
    language: str | None
    started_at: int  # epoch milliseconds
    ended_at: int | None
    hidden: bool  # by an operator: in no list and no page
    codes: list[int]
    code_names: list[str]
    code_certainty: list[float]  # by level: 0 at the border to the next code, 1 at the code's centre
    said: Said | None
    content_age_seconds: float | None  # None before the first encoded window: the codes are the author's alone
    viewers: int  # at the end of the last window
    waiting: int  # closed windows that are not encoded yet
    windows: tuple[CodedWindow, ...]  # the last ones, newest first; `rooms()` gives the newest alone
    frame: str | None  # name of the newest picture, which changes with it


class UserState(NamedTuple):
    """One user with a history."""

    user_id: int
    engagements: int  # in the history
    newest_at: int  # epoch milliseconds: of the last engagement
    entered: list[str]  # names of the first codes that were entered most, most often first


class SimilarUser(NamedTuple):
    """A user whose taste is similar."""

    user: UserState
    similarity: float  # cosine of the user vectors, -1 to 1


class SimilarRoom(NamedTuple):
    """A room whose present content is similar."""

    room: RoomState
    similarity: float  # cosine of the aligned vectors, -1 to 1


class Explanation(NamedTuple):
    """The reasons for a room's rank for a user."""

    room_id: int
    user_id: int
    at: int  # epoch milliseconds
    scores: dict[str, float]  # probability by task
    rank: int | None  # 1 = first, before diversity and exploration; None: not live, filtered out, or not near enough
    of_rooms: int  # that were ranked
    reason: str  # as in a list
    times_shown: int  # lately, without an entry; each lowers the rank
    log_odds: float  # of a click
    shares: dict[str, float]  # log-odds that content, counts and history add, each with all else known


class EmbeddedSegments(NamedTuple):
    """Vectors and codes of n segments from outside the state."""

    embeddings: NDArray[np.float32]  # [n, Σ sources] content: of the tuned LLM, and of counted words behind it
    vectors: NDArray[np.float32]  # [n, dim] of unit length, aligned with the author if given
    codes: NDArray[np.int64]  # [n, levels]
    code_names: list[list[str]]


class SegmentText(NamedTuple):
    """One segment to embed, as text."""

    title: str = ""
    category: str = ""
    speech: str = ""
    chat: tuple[str, ...] = ()  # in time order
    minute: int = 0  # since the broadcast began
    author_id: int | None = None  # None: an unknown author


class TickReport(NamedTuple):
    """The counts and times of one refresh."""

    at: int  # epoch milliseconds
    rooms_with_news: int  # with a window that closed since they were last encoded
    encoded: int  # of these rooms, in this tick
    deferred: int  # of these rooms, left for later: they keep their last codes
    distinct_texts: int  # texts that went through the LLM
    windows_waiting: int  # not encoded after the tick, all rooms together
    windows_dropped: int  # replaced by a newer window of their room before they were encoded
    seconds: float  # of the whole tick
    encode_seconds: float  # of these, in the LLM
    batch_sizes: tuple[int, ...]  # texts in each pass of the LLM
    staleness_seconds: NDArray[np.float32]  # [live rooms with content] age of the window that their codes describe
    degraded: bool  # rooms were deferred, or the LLM failed
    error: str | None  # why the LLM failed, if it did


class CoreVersion(NamedTuple):
    """The release in service."""

    release_id: str
    livealign: str
    platform: str
    profile: str
    data_window: Mapping[str, str]
    codebook_version: str
    backbone: str
    encodes: bool  # False: the backbone is not on this machine, and rooms keep their codes


class CoreStatus(NamedTuple):
    """The health of the core."""

    release_id: str
    ready: bool
    degraded: bool
    problems: tuple[str, ...]  # for a person to look into; empty if there are none
    live_rooms: int
    rooms: int
    users: int
    windows_waiting: int
    last_tick_at: int | None  # epoch milliseconds
    last_tick_seconds: float | None
    staleness_p50_seconds: float | None
    staleness_p99_seconds: float | None
    log_behind_records: int  # impressions that are not in the log yet
    from_snapshot: bool  # no event has come yet: rooms and time are those of the release's snapshot
    role: Role = "both"
    readers: int | None = None  # alive that share the rooms; None: this process reads every room itself
    rooms_owned: int | None = None  # that this process reads
    vectors_age_seconds: float | None = None  # since windows of other readers came; None before the first


class SharedStatus(NamedTuple):
    """The part of this process in the reading that several processes share."""

    role: Role
    readers: int  # alive
    rooms_owned: int  # by this process, at its last tick
    vectors_age_seconds: float | None  # since windows of other readers came; None before the first


class SharedReport(NamedTuple):
    """The counts of one step of publishing and following vectors, over all releases."""

    readers: int  # alive; these two are of the champion
    rooms_owned: int  # by this process, at its last tick
    published: int  # windows
    followed: int  # windows
    delays_seconds: tuple[float, ...]  # of the followed windows: from their end until now
    problems: tuple[str, ...]


class ShadowComparison(NamedTuple):
    """The list of a challenger in the shadow beside the one that was shown."""

    release_id: str
    request_id: str
    rooms: tuple[int, ...]  # of the challenger's list
    overlap: float  # share of the rooms that both lists have
    rank_correlation: float | None  # Kendall's tau of the orders of the rooms shown; None with fewer than two


class ShadowSummary(NamedTuple):
    """The comparisons of one challenger so far."""

    lists: int
    left_out: int  # because lists came faster than they could be compared
    overlap: float | None  # mean; None before the first comparison
    rank_correlation: float | None  # mean over `ranked`; None without any
    ranked: int


NOT_COMPARED = ShadowSummary(0, 0, None, None, 0)


Stage = Literal["user", "candidates", "rank", "compose"]
Outcome = Literal["accepted", "duplicate", "rejected", "late"]


class Observer(Protocol):
    """Receives everything worth counting.

    Called from several threads, without locks held. It must not raise: the core does not catch its exceptions.
    """

    def events(self, outcomes: Mapping[tuple[str, Outcome], int]) -> None:
        """Counts of one batch of events, by (kind, outcome).

        Duplicates, rejected items and, of the accepted, those that came after their windows were closed ("late") are counted
        under the kind "any".
        """

    def rejected(self, rejections: Sequence[Rejection]) -> None:
        """The rejected items of a batch; only called if there are any."""

    def recommended(self, seconds: Mapping[str, float], fallbacks: Sequence[str]) -> None:
        """One list was made: seconds by `Stage`, and its fallbacks."""

    def ticked(self, report: TickReport) -> None:
        """One refresh has ended."""

    def took_over(self, release_id: str, seconds: float) -> None:
        """Another release is in service."""

    def challenged(self, releases: Sequence[str]) -> None:
        """Other challengers are in service, or none."""

    def shadowed(self, comparison: ShadowComparison) -> None:
        """The list of a challenger in the shadow was compared."""

    def shared(self, report: SharedReport) -> None:
        """Vectors were published and followed, where processes share the reading.

        Called several times a second.
        """

    def failed(self, what: str, detail: str) -> None:
        """An error that the core survives.

        Args:
            what: encode, log, takeover, challenger, challengers, checkpoint, backbone or vectors; refresh, journal, champion,
                shadow or vectors for an unexpected error in the thread of that name.
        """


class SilentObserver:
    """An observer that does nothing."""

    def events(self, outcomes: Mapping[tuple[str, Outcome], int]) -> None: ...
    def rejected(self, rejections: Sequence[Rejection]) -> None: ...
    def recommended(self, seconds: Mapping[str, float], fallbacks: Sequence[str]) -> None: ...
    def ticked(self, report: TickReport) -> None: ...
    def took_over(self, release_id: str, seconds: float) -> None: ...
    def challenged(self, releases: Sequence[str]) -> None: ...
    def shadowed(self, comparison: ShadowComparison) -> None: ...
    def shared(self, report: SharedReport) -> None: ...
    def failed(self, what: str, detail: str) -> None: ...


class RankedRoom(NamedTuple):
    """One room of a list."""

    room_id: int
    author_id: int
    title: str | None
    score: float  # the list is ordered by it: the probability of a click, lowered if the room was shown lately
    scores: dict[str, float]  # probability by task
    codes: list[int]  # of the room's present content, coarse to fine
    code_names: list[str]
    content_age_seconds: float | None  # age of the window that the codes describe; None before the first
    reason: str
    explored: bool = False  # takes a place reserved for rooms outside of the list
    propensity: float = 1.0  # the probability, over the draws of the exploration, that this room is in the list


class Recommendations(NamedTuple):
    """Rooms that are live, best first."""

    request_id: str
    model_version: str  # release id
    at: int  # epoch milliseconds, the time that the list is for
    rooms: tuple[RankedRoom, ...]
    fallbacks: tuple[Fallback, ...]
    surface: str | None = None
    seconds: dict[str, float] | None = None  # by `Stage`
    arm: Arm | None = None  # of the experiment that the list belongs to
    context: Context = UNKNOWN  # of the viewer, as it was given
    recorded: bool = False  # remembered as shown, and logged with the next `flush`
