"""Items from outside as events, and a rejection with its reason for every other item."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, get_args

from pydantic import Field, TypeAdapter, ValidationError

from livealign.events.models import MINUTE_MS, Event, SentEvent
from livealign.field_errors import plain_error

_TaggedSent = Annotated[SentEvent, Field(discriminator="kind")]
_SENT: TypeAdapter[SentEvent] = TypeAdapter(_TaggedSent)
_FIELDS = {str(model.model_fields["kind"].default): frozenset(model.model_fields) for model in get_args(SentEvent)}
_BATCH: TypeAdapter[list[SentEvent]] = TypeAdapter(list[_TaggedSent])


class Rejection(NamedTuple):
    """The rejection of the item at `place` of a batch.

    `reason` is a code to count by, `detail` a message for the sender.
    """

    place: int
    event_id: str | None
    reason: str  # invalid | in_future | too_late | unknown_room | other_author | ends_before_start
    detail: str


@dataclass(frozen=True)
class TimeBounds:
    """The bounds of an event's time around the clock of the service."""

    future_ms: int = 5 * MINUTE_MS
    late_ms: int = 60 * MINUTE_MS


class PlacedEvent(NamedTuple):
    """An event and its place in the batch."""

    place: int
    event: Event


def parse_events(
    items: Sequence[object], now_ms: int, bounds: TimeBounds | None = None
) -> tuple[list[PlacedEvent], list[Rejection]]:
    """The events among `items`, in their order, and a rejection for every other item.

    Args:
        items: decoded JSON from outside; not trusted.
        now_ms: the service's clock, epoch milliseconds.
    """
    parsed, rejected = _parsed(items)
    events, untimely = in_bounds(parsed, now_ms, bounds or TimeBounds())
    return events, sorted([*rejected, *untimely])


def in_bounds(
    parsed: Sequence[tuple[int, Event]], now_ms: int, bounds: TimeBounds
) -> tuple[list[PlacedEvent], list[Rejection]]:
    """The events whose time lies near the clock, and a rejection for every other."""
    first, last = now_ms - bounds.late_ms, now_ms + bounds.future_ms
    events: list[PlacedEvent] = []
    rejected: list[Rejection] = []
    for index, event in parsed:
        if first <= event.at <= last:
            events.append(PlacedEvent(index, event))
        elif event.at > last:
            detail = f"at is {event.at - now_ms} ms ahead of the service's clock; at most {bounds.future_ms} are taken"
            rejected.append(Rejection(index, event.event_id, "in_future", detail))
        else:
            detail = f"at is {now_ms - event.at} ms old; at most {bounds.late_ms} are taken"
            rejected.append(Rejection(index, event.event_id, "too_late", detail))
    return events, rejected


def _parsed(items: Sequence[object]) -> tuple[list[tuple[int, SentEvent]], list[Rejection]]:
    """Parse all items at once; item by item if any of them is invalid."""
    try:
        return list(enumerate(_BATCH.validate_python(items))), []
    except ValidationError:
        parsed, rejected = [], []
    for index, item in enumerate(items):
        try:
            parsed.append((index, _SENT.validate_python(item)))
        except ValidationError as error:
            rejected.append(Rejection(index, _event_id(item), "invalid", _detail(error)))
    return parsed, rejected


def _event_id(item: Any) -> str | None:
    event_id = item.get("event_id") if isinstance(item, dict) else None
    return event_id if isinstance(event_id, str) and len(event_id) <= 64 else None


def _detail(error: ValidationError) -> str:
    """The first error, by field; never the value, which is a user's."""
    first = error.errors(include_url=False, include_input=False)[0]
    kind = str(first["loc"][0]) if first["loc"] else ""  # the first part of the place is the kind
    article = "an" if kind[:1] in "aeiou" else "a"
    return plain_error(first, f"{article} {kind}" if kind else "the event", _FIELDS.get(kind, ()), skip=1)
