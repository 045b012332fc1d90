"""What goes in and out of the live recommender, with every bound stated."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from livealign.recommendations import MAX_K, Fallback, Recommendations

Id = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]


class RecommendRequest(BaseModel):
    """Whom to recommend live rooms to, and how many."""

    model_config = ConfigDict(extra="forbid")

    user_id: Id = Field(examples=[17], description="The viewer; one never seen before is welcome.")
    k: int = Field(10, ge=1, le=MAX_K, examples=[5], description="Rooms wanted at most.")
    exclude: list[Id] = Field(default_factory=list, max_length=1_000, description="Rooms not to be recommended.")
    surface: str | None = Field(None, max_length=64, description="Where the list will be shown.")
    at: datetime | None = Field(
        None, description="The moment to recommend for, UTC where no zone is given; now if it is left out."
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


class RankedRoom(BaseModel):
    """One recommended room."""

    room_id: int
    author_id: int
    title: str | None
    score: float = Field(description="What the list is ordered by: the probability of a click.")
    scores: dict[str, float] = Field(description="Probability by task.")
    codes: list[int] = Field(description="Semantic codes of the room's present moment, coarse to fine.")
    code_names: list[str] = Field(description="A name for each code.")
    content_age_seconds: float | None = Field(description="Age of what the codes describe; null before the first window.")
    reason: str


class RecommendResponse(BaseModel):
    """Rooms that are live, best first."""

    request_id: str = Field(description="Log impressions of this list under it.")
    model_version: str = Field(description="Release id of the bundle that ranked.")
    at: datetime = Field(description="The moment that the list was made for, UTC.")
    rooms: list[RankedRoom]
    fallbacks: list[Fallback] = Field(description="What the answer had to do without; empty when nothing.")

    @classmethod
    def of(cls, answer: Recommendations) -> "RecommendResponse":
        return cls(
            request_id=answer.request_id,
            model_version=answer.model_version,
            at=datetime.fromtimestamp(answer.at / 1000, UTC),
            rooms=[RankedRoom(**room._asdict()) for room in answer.rooms],
            fallbacks=list(answer.fallbacks),
        )


class Version(BaseModel):
    """What is being served."""

    release_id: str
    livealign: str
    platform: str
    data_window: dict[str, str]
    profile: str
    codebook_version: str
