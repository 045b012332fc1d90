"""What a recommendation is: plain values, no model behind them, so that whoever answers requests can import them cheaply."""

from typing import Literal, NamedTuple

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
