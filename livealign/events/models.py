"""One pydantic model per kind of event, with its bounds.

Ids are those of the landing contract (63 bits). `at` is the platform's own time: epoch milliseconds, or ISO 8601 text, in UTC
if it names no zone. Every event has an `event_id` of the sender's choice; an event with the same id is the same event.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator

from livealign.ids import MAX_ID, hashed_id

MAX_TEXT = 2_000  # characters of one comment or stretch of speech
MAX_NAME = 200  # characters of a title, category, language, surface, source
MAX_PICTURE = 300_000  # characters of a kept picture: noise, which nothing compresses, has the most
MINUTE_MS = 60_000
LONGEST_SPEECH_MS = 30 * MINUTE_MS


def _milliseconds(value: object) -> object:
    """Epoch milliseconds of ISO 8601 text; anything else is left for the type check."""
    if not isinstance(value, str):
        return value
    try:
        return milliseconds_of(value)
    except ValueError:
        raise ValueError("not a time: give epoch milliseconds or ISO 8601 text") from None


def milliseconds_of(text: str) -> int:
    """Epoch milliseconds of ISO 8601 text, which is UTC where it names no zone.

    Raises:
        ValueError: it is no such text.
    """
    time = datetime.fromisoformat(text)
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def _whole(value: object) -> object:
    """The integer of a JSON number such as 39.0; other values are left for the type check.

    Beyond 2^53 a float does not name one integer.
    """
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53 else value


Whole = BeforeValidator(_whole)
Id = Annotated[int, Whole, Field(strict=True, ge=0, le=MAX_ID)]
Key = Annotated[str, Field(strict=True, min_length=1, max_length=64)]
Name = Annotated[str, Field(strict=True, max_length=MAX_NAME)]
Text = Annotated[str, Field(strict=True, min_length=1, max_length=MAX_TEXT)]
Milliseconds = Annotated[int, Whole, BeforeValidator(_milliseconds), Field(strict=True, ge=0, le=MAX_ID)]
Count = Annotated[int, Whole, Field(strict=True, ge=1, le=1_000_000)]


class _Event(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    event_id: Key
    at: Milliseconds
    room_id: Id
    author_id: Id


class _Action(_Event):
    user_id: Id


class RoomStarted(_Event):
    """A broadcast begins at `at`.

    Sent again later, the title, category and language that it names count from `at` on.
    """

    kind: Literal["room_started"] = "room_started"
    title: Name | None = None
    category: Name | None = None
    language: Name | None = None


class RoomEnded(_Event):
    """A broadcast ends at `at`."""

    kind: Literal["room_ended"] = "room_ended"


class Speech(_Event):
    """The host's words from `at` to `ended_at`, transcribed."""

    kind: Literal["speech"] = "speech"
    ended_at: Milliseconds
    text: Text

    @model_validator(mode="after")
    def _ends_in_time(self) -> "Speech":
        if self.ended_at < self.at:
            raise ValueError("ended_at lies before at: speech ends after it begins")
        if self.ended_at > self.at + LONGEST_SPEECH_MS:
            raise ValueError(f"ended_at lies more than {LONGEST_SPEECH_MS // MINUTE_MS} minutes after at; send it in parts")
        return self


class Comment(_Action):
    """A viewer's message in the room's chat."""

    kind: Literal["comment"] = "comment"
    text: Text
    is_bot: Annotated[bool, Field(strict=True)] = False


class Like(_Action):
    """One or more likes at once."""

    kind: Literal["like"] = "like"
    count: Count = 1


class Gift(_Action):
    """One or more gifts at once; `value` is their price together, where it is known."""

    kind: Literal["gift"] = "gift"
    count: Count = 1
    value: Annotated[float, Field(strict=True, ge=0, le=1e9, allow_inf_nan=False)] | None = None


class Share(_Action):
    """The room was shared."""

    kind: Literal["share"] = "share"


class Follow(_Action):
    """The author was followed from this room."""

    kind: Literal["follow"] = "follow"


class PlayStarted(_Action):
    """A user enters a room; `request_id` names the list it was chosen from."""

    kind: Literal["play_started"] = "play_started"
    request_id: Key | None = None
    source: Name | None = None


class PlayEnded(_Action):
    """A user leaves a room; `play_id` is the `event_id` with which they entered."""

    kind: Literal["play_ended"] = "play_ended"
    play_id: Key


class ImpressionShown(_Action):
    """A room was shown to a user in the list `request_id`."""

    kind: Literal["impression"] = "impression"
    request_id: Key | None = None
    position: Annotated[int, Whole, Field(strict=True, ge=0, le=100_000)] | None = None
    surface: Name | None = None
    score: Annotated[float, Field(strict=True, allow_inf_nan=False)] | None = None
    model_version: Name | None = None


class NotInterested(_Action):
    """A user does not want to see this room; it is not recommended to them again."""

    kind: Literal["not_interested"] = "not_interested"


class AuthorBlocked(_Action):
    """A user does not want to see any room of this author."""

    kind: Literal["author_blocked"] = "author_blocked"
    room_id: Id = 0  # where it happened, if in a room


class AuthorUnblocked(_Action):
    """A user takes a block back."""

    kind: Literal["author_unblocked"] = "author_unblocked"
    room_id: Id = 0


class RoomHidden(_Event):
    """An operator takes a room out of all lists, pages and similar rooms."""

    kind: Literal["room_hidden"] = "room_hidden"


class RoomUnhidden(_Event):
    """An operator takes the hiding of a room back."""

    kind: Literal["room_unhidden"] = "room_unhidden"


class Frame(_Event):
    """A picture of the room at `at`, decoded by the service; it is never part of a batch."""

    kind: Literal["frame"] = "frame"
    name: Annotated[str, Field(strict=True, pattern="^[0-9a-f]{64}$")]  # SHA-256 of its pixels
    picture: Annotated[str, Field(strict=True, min_length=1, max_length=MAX_PICTURE)]  # WebP, base64
    look: Annotated[str, Field(strict=True, pattern="^([A-Za-z0-9+/]{342}==)?$")] = ""  # of its fields, base64; "": not known


SentEvent = (
    RoomStarted
    | RoomEnded
    | Speech
    | Comment
    | Like
    | Gift
    | Share
    | Follow
    | PlayStarted
    | PlayEnded
    | ImpressionShown
    | NotInterested
    | AuthorBlocked
    | AuthorUnblocked
    | RoomHidden
    | RoomUnhidden
)
Event = SentEvent | Frame
ROOMLESS = (AuthorBlocked, AuthorUnblocked)  # events that need no known room


class UserDeleted(BaseModel):
    """The tombstone of a user, whose events until `at` are not used any more.

    It counts for the service and for landing. It is made by the service, never taken from senders, and holds a hash of the
    user's id (`deleted_key`), not the id.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["user_deleted"] = "user_deleted"
    event_id: Key
    at: Milliseconds
    user_key: Id


class ListShown(BaseModel):
    """A list that the service showed, with what is needed to read it off-policy.

    It is made by the service, never taken from senders, and lies before the impressions of its rooms.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["list_shown"] = "list_shown"
    event_id: Key
    at: Milliseconds
    user_id: Id
    request_id: Key
    release: Name
    experiment: Name | None = None  # None: the champion serves alone
    challenger: bool = False
    share: Annotated[float, Field(gt=0, le=1)] = 1.0  # the probability that the user is served by this release
    language: Name | None = None  # of the viewer, as the request's context gave it, case-folded; the hour is that of `at`
    country: Name | None = None
    rooms: tuple[Id, ...]
    propensities: tuple[Annotated[float, Field(gt=0, le=1)], ...]  # that each room is in the list, over the draws


Record = Event | UserDeleted | ListShown
_Kind = Annotated[Event | UserDeleted | ListShown, Field(discriminator="kind")]
_RECORD: TypeAdapter[Record] = TypeAdapter(_Kind)


def deleted_key(user_id: int) -> int:
    """The hash of a user's id that a tombstone holds."""
    return hashed_id("deleted user", str(user_id))


def record_of(event: Record) -> bytes:
    """The event as one line of JSON (UTF-8, no line break), which `event_of` reads."""
    return event.__pydantic_serializer__.to_json(event, exclude_none=True)


def event_of(record: bytes) -> Record:
    """The event, shown list or tombstone of a record.

    Raises:
        ValueError: the record is not an event.
    """
    return _RECORD.validate_json(record)


def is_of_user(record: bytes, user_id: int) -> bool:
    """Whether a record is an event of the user."""
    return str(user_id).encode() in record and getattr(event_of(record), "user_id", None) == user_id
