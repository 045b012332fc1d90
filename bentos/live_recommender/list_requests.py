"""Requests for lists as pydantic models: for whom, of which rooms, and how many."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from livealign.events.models import MAX_NAME, Id, Name, Whole
from livealign.live.answers import MAX_K
from livealign.live.selection import RoomFilter
from livealign.ranking.contexts import Context

MAX_EXCLUDED = 1_000  # ids of rooms or authors
MAX_USERS = 100  # of one call of /recommend/many
MAX_FILTER = 100  # categories, languages or words of a filter

_YEARS = "must lie between the years 2000 and 2200"

Word = Annotated[str, Field(strict=True, min_length=2, max_length=MAX_NAME)]


class Filter(BaseModel):
    """Conditions on the rooms of a list; upper and lower case are the same."""

    model_config = ConfigDict(extra="forbid")

    categories: list[Name] = Field(default_factory=list, max_length=MAX_FILTER, description="Rooms of these only.")
    languages: list[Name] = Field(
        default_factory=list, max_length=MAX_FILTER, description="Rooms of these only, and rooms whose language is not known."
    )
    authors: list[Id] = Field(default_factory=list, max_length=MAX_EXCLUDED, description="Rooms of these only.")
    blocked_authors: list[Id] = Field(default_factory=list, max_length=MAX_EXCLUDED, description="No rooms of these.")
    blocked_words: list[Word] = Field(
        default_factory=list, max_length=MAX_FILTER, description="No rooms with these in title or category."
    )

    def wanted(self) -> RoomFilter:
        """The filter as the library's type."""
        return RoomFilter(*(frozenset(values) for _, values in self))


class UserContext(BaseModel):
    """What the app knows of a viewer; it counts for one who has entered nothing yet."""

    model_config = ConfigDict(extra="forbid")

    language: Name = Field(default="", examples=["en"], description="As the rooms name theirs, in any case; empty: not known.")
    country: Name = Field(
        default="", examples=["Chile"], description="As the profiles of viewers name theirs; empty: not known."
    )

    @field_validator("language", "country")
    @classmethod
    def _folded(cls, name: str) -> str:
        """Some letters become two where case is folded, and the log bounds what it keeps."""
        if len(folded := name.casefold()) > MAX_NAME:
            raise ValueError(f"must have at most {MAX_NAME} characters in lower case")
        return folded

    def known(self) -> Context:
        """The context as the library's type."""
        return Context(language=self.language, country=self.country)


class _Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid")

    k: Annotated[int, Whole] = Field(10, strict=True, ge=1, le=MAX_K, examples=[5], description="Rooms wanted at most.")
    exclude: list[Id] = Field(default_factory=list, max_length=MAX_EXCLUDED, description="Rooms not to be recommended.")
    among: list[Id] | None = Field(
        None, max_length=MAX_EXCLUDED, description="The only rooms to rank, e.g. of another retriever; null ranks all."
    )
    filter: Filter = Field(default_factory=Filter)
    context: UserContext = Field(default_factory=UserContext)
    surface: str | None = Field(None, max_length=64, examples=["home"], description="Where the list will be shown.")
    at: datetime | None = Field(None, description="The time to recommend for, UTC if it has no zone; now if it is left out.")
    record: bool = Field(
        True, strict=True, description="False logs no impressions, for a client that shows the list to no viewer."
    )
    content: bool = Field(
        True, strict=True, description="False ranks without content, by the author alone: for comparison, never logged."
    )

    @field_validator("at")
    @classmethod
    def _in_a_plausible_century(cls, at: datetime | None) -> datetime | None:
        if at is None:
            return None
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
        try:
            at = at.astimezone(UTC)
        except OverflowError:
            raise ValueError(_YEARS) from None
        if not 2000 <= at.year < 2200:
            raise ValueError(_YEARS)
        return at

    def at_milliseconds(self) -> int | None:
        """`at` as epoch milliseconds."""
        return None if self.at is None else round(self.at.timestamp() * 1000)


class RecommendRequest(_Wanted):
    """A viewer to recommend live rooms to, and the number of rooms."""

    user_id: Id = Field(examples=[17], description="The viewer, also one never seen before.")


class RecommendManyRequest(_Wanted):
    """Viewers to recommend live rooms to, each a list of their own."""

    user_ids: list[Id] = Field(min_length=1, max_length=MAX_USERS, examples=[[17, 18]], description="The viewers.")
