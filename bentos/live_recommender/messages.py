"""What goes in and out of the live recommender, with every bound stated. The OpenAPI document is made of these models."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from livealign.events.models import MAX_NAME, MAX_TEXT, Event
from livealign.ids import MAX_ID
from livealign.live.answers import (
    MAX_K,
    CoreStatus,
    EmbeddedSegments,
    Fallback,
    RankedRoom,
    Recommendations,
    RoomState,
    SegmentText,
)
from livealign.live.state.coded_windows import CodedWindow

MAX_EVENTS = 1_000  # of one batch
MAX_EXCLUDED = 1_000
MAX_SEGMENTS = 64  # of one call of /embed
MAX_CHAT = 100  # messages of one segment
MAX_ROOMS = 200  # of one page of /rooms

Id = Annotated[int, Field(strict=True, ge=0, le=MAX_ID)]


class RecommendRequest(BaseModel):
    """Whom to recommend live rooms to, and how many."""

    model_config = ConfigDict(extra="forbid")

    user_id: Id = Field(examples=[17], description="The viewer; one never seen before is welcome.")
    k: int = Field(10, strict=True, ge=1, le=MAX_K, examples=[5], description="Rooms wanted at most.")
    exclude: list[Id] = Field(default_factory=list, max_length=MAX_EXCLUDED, description="Rooms not to be recommended.")
    surface: str | None = Field(None, max_length=64, examples=["home"], description="Where the list will be shown.")
    at: datetime | None = Field(
        None, description="The moment to recommend for, UTC where no zone is given; now if it is left out."
    )
    record: bool = Field(True, description="False logs no impressions: for whoever only looks.")
    content: bool = Field(
        True, description="False ranks by who is streaming alone, blind to what is on: for comparison, never logged."
    )

    @field_validator("at")
    @classmethod
    def _in_a_plausible_century(cls, at: datetime | None) -> datetime | None:
        if at is None:
            return None
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
        if not 2000 <= at.year < 2200:
            raise ValueError("must lie between the years 2000 and 2200")
        return at.astimezone(UTC)

    def at_milliseconds(self) -> int | None:
        """`at` as epoch milliseconds."""
        return None if self.at is None else round(self.at.timestamp() * 1000)


class RecommendedRoom(BaseModel):
    """One recommended room."""

    room_id: int
    author_id: int
    title: str | None
    score: float = Field(
        description="What the list is ordered by: the probability of a click, lower where it was shown lately."
    )
    scores: dict[str, float] = Field(description="Probability by task.")
    codes: list[int] = Field(description="Semantic codes of the room's present moment, coarse to fine.")
    code_names: list[str] = Field(description="A name for each code.")
    content_age_seconds: float | None = Field(description="Age of what the codes describe; null before the first window.")
    reason: str
    explored: bool = Field(description="Takes a place kept for rooms that would not have been on the list.")


class RecommendResponse(BaseModel):
    """Rooms that are live, best first."""

    request_id: str = Field(description="Name it in the events that come of this list.")
    model_version: str = Field(description="Release id of the bundle that ranked.")
    at: datetime = Field(description="The moment that the list was made for, UTC.")
    rooms: list[RecommendedRoom]
    fallbacks: list[Fallback] = Field(description="What the answer had to do without; empty when nothing.")
    logged: bool = Field(description="Whether the rooms are in the event log as impressions: with a key that may write.")


class EventBatch(BaseModel):
    """What happened on the platform, at most 1,000 events in any order."""

    model_config = ConfigDict(extra="forbid")

    events: Annotated[list[Annotated[Event, Field(discriminator="kind")]], Field(max_length=MAX_EVENTS)]


class RejectedEvent(BaseModel):
    """An event that was not taken."""

    place: int = Field(description="In the batch, from 0.")
    event_id: str | None
    reason: str = Field(description="A code to count by: invalid, in_future, too_late, …")
    detail: str


class IngestResponse(BaseModel):
    """What became of a batch; the three counts add up to its size. What is accepted or duplicate is on disk."""

    accepted: int
    duplicate: int
    rejected: int
    rejections: list[RejectedEvent]


class Segment(BaseModel):
    """One moment of a broadcast, as text."""

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
    minute: int = Field(0, strict=True, ge=0, le=1_000_000, examples=[42], description="Since the broadcast began.")
    author_id: Id | None = Field(None, examples=[900], description="Left out: an unknown author.")

    def text(self) -> SegmentText:
        """As the library takes it."""
        return SegmentText(self.title, self.category, self.speech, tuple(self.chat), self.minute, self.author_id)


class EmbeddedSegment(BaseModel):
    """What the models make of one segment."""

    embedding: list[float] = Field(description="Of the tuned LLM.")
    vector: list[float] = Field(description="Aligned with the author, of unit length.")
    codes: list[int]
    code_names: list[str]


class Window(BaseModel):
    """One window of a room, as it was encoded."""

    segment_id: int
    ended_at: datetime
    text: str = Field(description="What the LLM read: users' words, to be shown as text only.")
    codes: list[int]
    code_names: list[str]
    counts: dict[str, float]


class Room(BaseModel):
    """A broadcast as the service knows it."""

    room_id: int
    author_id: int
    title: str | None
    category: str | None
    language: str | None
    started_at: datetime
    ended_at: datetime | None
    codes: list[int]
    code_names: list[str]
    content_age_seconds: float | None
    viewers: int
    waiting: int = Field(description="Windows with news that are not encoded yet.")
    windows: list[Window] = Field(description="Newest first.")


class RoomPage(BaseModel):
    """Live rooms, those with most viewers first."""

    at: datetime
    total: int = Field(description="Rooms that are live.")
    rooms: list[Room]


class SimilarRoomItem(BaseModel):
    """A room that is about something alike now."""

    similarity: float = Field(description="Cosine of the aligned vectors, -1 to 1.")
    room: Room


class SimilarRooms(BaseModel):
    """What is like this moment of the room, most alike first."""

    room_id: int
    rooms: list[SimilarRoomItem]


class Version(BaseModel):
    """What is being served."""

    release_id: str
    livealign: str
    platform: str
    profile: str
    data_window: dict[str, str]
    codebook_version: str
    backbone: str
    encodes: bool = Field(description="False: the backbone is not on this machine, rooms keep the codes that they have.")


class Status(BaseModel):
    """How the service is."""

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
    events_per_second: float = Field(description="Accepted, over the last half minute.")
    lists_per_second: float = Field(description="Recommendations, over the last half minute.")


class Problem(BaseModel):
    """Why a request was refused."""

    error: str
    detail: list[dict[str, Any]] | None = Field(default=None, description="What is wrong with which field.")


Json = dict[str, Any]


def recommended_json(answer: Recommendations, logged: bool) -> Json:
    """A RecommendResponse, not validated again: the library's values are what the model says (a test compares them)."""
    return {
        "request_id": answer.request_id,
        "model_version": answer.model_version,
        "at": timestamp(answer.at),
        "rooms": [_ranked(room) for room in answer.rooms],
        "fallbacks": answer.fallbacks,
        "logged": logged,
    }


def room_json(room: RoomState) -> Json:
    """A Room."""
    return {
        **room._asdict(),
        "started_at": timestamp(room.started_at),
        "ended_at": None if room.ended_at is None else timestamp(room.ended_at),
        "windows": [_window(window) for window in room.windows],
    }


def status_json(status: CoreStatus, events_per_second: float, lists_per_second: float) -> Json:
    """A Status."""
    return {
        **status._asdict(),
        "last_tick_at": None if status.last_tick_at is None else timestamp(status.last_tick_at),
        "events_per_second": events_per_second,
        "lists_per_second": lists_per_second,
    }


def embedded(found: EmbeddedSegments) -> list[EmbeddedSegment]:
    """One EmbeddedSegment for each row."""
    rows = zip(found.embeddings.tolist(), found.vectors.tolist(), found.codes.tolist(), found.code_names, strict=True)
    return [EmbeddedSegment(embedding=one, vector=vector, codes=codes, code_names=names) for one, vector, codes, names in rows]


def timestamp(milliseconds: int) -> datetime:
    """Epoch milliseconds as a time in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _ranked(room: RankedRoom) -> Json:
    return room._asdict()


def _window(window: CodedWindow) -> Json:
    return {**window._asdict(), "ended_at": timestamp(window.ended_at)}
