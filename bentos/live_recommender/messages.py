"""Requests and answers of the live recommender as pydantic models, with every bound.

The OpenAPI document is made of these models. Requests for lists are in `list_requests.py`.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from livealign.events.models import MAX_NAME, MAX_TEXT, Id, SentEvent, Whole
from livealign.live.answers import (
    Fallback,
    SegmentText,
)

MAX_EVENTS = 1_000  # of one batch
MAX_SEGMENTS = 64  # of one call of /embed
MAX_CHAT = 100  # messages of one segment
MAX_ROOMS = 200  # of one page of /rooms
MAX_SEARCH = 100  # characters of a search of /rooms
MAX_USERS = 100  # of one page of /users

CodeNames = Annotated[list[str], Field(description="A name for each code; empty where no words tell it from its siblings.")]


class RecommendedRoom(BaseModel):
    """One recommended room."""

    room_id: int
    author_id: int
    title: str | None
    score: float = Field(description="The order of the list: the probability of a click, lowered if the room was shown lately.")
    scores: dict[str, float] = Field(description="Probability by task.")
    codes: list[int] = Field(description="Semantic codes of the room's newest coded window, coarse to fine.")
    code_names: CodeNames
    content_age_seconds: float | None = Field(description="Age of what the codes describe; null before the first window.")
    reason: str = Field(
        description="The deepest named level of a clear code path that the user's history shares, or what is new."
    )
    explored: bool = Field(description="Has a place that is reserved for rooms outside the ranked list.")
    propensity: float = Field(description="The probability, over the draws of the exploration, that this room is in the list.")


class RecommendResponse(BaseModel):
    """Rooms that are live, best first."""

    request_id: str = Field(description="To be sent with the events that follow from this list.")
    model_version: str = Field(description="Release id of the bundle that ranked.")
    at: datetime = Field(description="The time that the list was made for, UTC.")
    rooms: list[RecommendedRoom]
    fallbacks: list[Fallback] = Field(description="What the answer lacks; empty if it is complete.")
    logged: bool = Field(
        description="Whether the rooms are logged as impressions, which needs a key that may write and an event before."
    )


class UserList(RecommendResponse):
    """The list of one viewer of many."""

    user_id: int


class RecommendManyResponse(BaseModel):
    """One list for each viewer, in their order."""

    lists: list[UserList]


class EventBatch(BaseModel):
    """Events of the platform, at most 1,000 in any order."""

    model_config = ConfigDict(extra="forbid")

    events: Annotated[list[Annotated[SentEvent, Field(discriminator="kind")]], Field(max_length=MAX_EVENTS)]


class RejectedEvent(BaseModel):
    """An event that was rejected, and why."""

    place: int = Field(description="Position in the batch, from 0.")
    event_id: str | None
    reason: str = Field(description="A code to count by: invalid, in_future, too_late, …")
    detail: str


class IngestResponse(BaseModel):
    """The outcome of a batch; accepted, duplicate and rejected add up to its size.

    Accepted and duplicate events are on disk.
    """

    accepted: int
    late: int = Field(description="Of the accepted: their windows were closed, so they change no room.")
    duplicate: int
    rejected: int
    rejections: list[RejectedEvent]


class FrameResponse(BaseModel):
    """The outcome of a picture, which is on disk."""

    outcome: Literal["accepted", "duplicate"]


class Segment(BaseModel):
    """One segment of a broadcast, as text."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field("", max_length=MAX_NAME, examples=["Ranked climb"])
    category: str = Field("", max_length=MAX_NAME, examples=["Elden Ring"])
    speech: str = Field("", max_length=MAX_TEXT, examples=["one more try at the last boss"], description="The host's words.")
    chat: list[Annotated[str, Field(max_length=MAX_TEXT)]] = Field(
        default_factory=list,
        max_length=MAX_CHAT,
        examples=[["dodge left!", "so close"]],
        description="Viewers', in time order.",
    )
    minute: Annotated[int, Whole] = Field(
        0, strict=True, ge=0, le=1_000_000, examples=[42], description="Since the broadcast began."
    )
    author_id: Id | None = Field(None, examples=[900], description="Left out: an unknown author.")

    def text(self) -> SegmentText:
        """The segment as the library's type."""
        return SegmentText(self.title, self.category, self.speech, tuple(self.chat), self.minute, self.author_id)


class EmbedRequest(BaseModel):
    """Segments to embed."""

    model_config = ConfigDict(extra="forbid")

    segments: list[Segment] = Field(max_length=MAX_SEGMENTS)


class EmbeddedSegment(BaseModel):
    """The embedding, vector and codes of one segment."""

    embedding: list[float] = Field(description="From the tuned LLM and, behind it, from counted words.")
    vector: list[float] = Field(description="Aligned with the author, of unit length.")
    codes: list[int]
    code_names: CodeNames


class Window(BaseModel):
    """One encoded window of a room."""

    segment_id: int
    ended_at: datetime
    text: str = Field(description="The text that the LLM read: users' words, to be shown as text only.")
    codes: list[int]
    code_names: CodeNames
    counts: dict[str, float]


class SaidWords(BaseModel):
    """The last words of a room: users' text, to be shown as text only."""

    ended_at: datetime
    speech: str = Field(description="The host's.")
    chat: list[str] = Field(description="Viewers' different messages, newest first.")


class Room(BaseModel):
    """The state of a broadcast in the service."""

    room_id: int
    author_id: int
    title: str | None
    category: str | None
    language: str | None
    started_at: datetime
    ended_at: datetime | None
    hidden: bool = Field(description="By an operator: in no list and no page.")
    codes: list[int]
    code_names: CodeNames
    code_certainty: list[float] = Field(description="By level: 0 at the border to the next code, 1 at the code's centre.")
    said: SaidWords | None = Field(description="Null before anything was said, and in rooms of the release's snapshot.")
    content_age_seconds: float | None
    viewers: int
    waiting: int = Field(description="Windows with new text that are not encoded yet.")
    windows: list[Window] = Field(description="Newest first.")
    frame: str | None = Field(description="Name of the newest picture, which GET /rooms/{room_id}/frame gives.")


class RoomPage(BaseModel):
    """Live rooms, those with most viewers first."""

    at: datetime
    total: int = Field(description="Rooms that are live and have the words of `search`.")
    from_snapshot: bool = Field(description="No event has come yet: rooms and `at` are those of the release's snapshot.")
    rooms: list[Room]


class KnownUser(BaseModel):
    """A user with a history."""

    user_id: int
    engagements: int = Field(description="In the history that the service keeps.")
    newest_at: datetime = Field(description="Of the last engagement.")
    entered: list[str] = Field(description="Names of the codes that the user entered most, most often first.")


class KnownUsers(BaseModel):
    """Users with a history, the latest active first."""

    users: list[KnownUser]


class SimilarUserItem(BaseModel):
    """A user with a similar taste, and how similar it is."""

    similarity: float = Field(description="Cosine of the vectors of the user tower, -1 to 1.")
    user: KnownUser


class SimilarUsers(BaseModel):
    """The users most similar to a user, most similar first."""

    user_id: int
    users: list[SimilarUserItem]


class SimilarRoomItem(BaseModel):
    """A room with similar content, and how similar it is."""

    similarity: float = Field(description="Cosine of the aligned vectors, -1 to 1.")
    room: Room


class SimilarRooms(BaseModel):
    """The live rooms most similar to a room, most similar first."""

    room_id: int
    rooms: list[SimilarRoomItem]


class Explanation(BaseModel):
    """The reasons for a room's rank for a user."""

    room_id: int
    user_id: int
    at: datetime
    scores: dict[str, float] = Field(description="Probability by task.")
    rank: int | None = Field(
        description="1 is first, before diversity and exploration; null if it is not live, filtered out or not near enough."
    )
    of_rooms: int = Field(description="Rooms that were ranked.")
    reason: str = Field(description="The sentence of the list.")
    times_shown: int = Field(description="Lately, without an entry; each lowers the rank.")
    log_odds: float = Field(description="Of a click.")
    shares: dict[str, float] = Field(
        description="Log-odds of a click that the room's content, its counts and the user's history add, all else known."
    )


class DeletedUser(BaseModel):
    """A user who was deleted."""

    user_id: int
    erased_records: int = Field(description="Records that were erased from the event log.")


class Version(BaseModel):
    """The release in service."""

    release_id: str
    livealign: str
    platform: str
    profile: str
    data_window: dict[str, str]
    codebook_version: str
    backbone: str
    encodes: bool = Field(description="False if the backbone is not on this machine: rooms keep their codes.")


class Status(BaseModel):
    """The health of the service."""

    release_id: str
    ready: bool
    degraded: bool = Field(description="The refresh cannot keep up or fails: some rooms keep older codes.")
    problems: list[str] = Field(description="What a person should look into.")
    live_rooms: int
    rooms: int
    users: int
    windows_waiting: int
    last_tick_at: datetime | None
    last_tick_seconds: float | None
    staleness_p50_seconds: float | None
    staleness_p99_seconds: float | None
    log_behind_records: int = Field(description="Impressions that are not in the log yet.")
    from_snapshot: bool = Field(description="No event has come yet: rooms and time are those of the release's snapshot.")
    role: Literal["both", "reader", "ranker"] = Field(
        description="A reader makes the vectors of rooms, a ranker has them from readers, and one that is both does both."
    )
    readers: int | None = Field(description="Alive that share the rooms; null: this process reads every room itself.")
    rooms_owned: int | None = Field(description="Rooms that this process reads, where several share them.")
    vectors_age_seconds: float | None = Field(description="Since vectors of other readers came; null before the first.")
    events_per_second: float = Field(description="Accepted, over the last half minute.")
    lists_per_second: float = Field(description="Recommendations, over the last half minute.")


class ErrorBody(BaseModel):
    """The reason for a refusal."""

    error: str
    detail: list[dict[str, Any]] | None = Field(default=None, description="The wrong fields and what is wrong with each.")
