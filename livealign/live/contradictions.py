"""Rejections of events that do not fit their room."""

from collections.abc import Sequence

from livealign.events.models import RoomEnded, RoomStarted
from livealign.events.parsing import PlacedEvent, Rejection
from livealign.live.state.state import LiveState


def contradictions(state: LiveState, events: Sequence[PlacedEvent], passed: set[int]) -> list[Rejection]:
    """Rejections of events that do not fit their room.

    The room is as the state or an earlier start of the batch knows it.
    """
    rooms: dict[int, tuple[int, int]] = {}  # author and start
    for placed in sorted(events, key=lambda placed: placed.event.at):
        if isinstance(placed.event, RoomStarted) and placed.event.room_id not in state.rooms:
            rooms.setdefault(placed.event.room_id, (placed.event.author_id, placed.event.at))
    rejected = []
    for place, event in events:
        room = state.rooms.get(event.room_id)
        author, started_at = rooms.get(event.room_id, (-1, 0)) if room is None else (room.author_id, room.started_at)
        if place in passed:
            continue
        if event.author_id != author:
            detail = "author_id is not the author of the room, as its room_started says"
            rejected.append(Rejection(place, event.event_id, "other_author", detail))
        elif isinstance(event, RoomEnded) and event.at < started_at:
            detail = f"at lies {started_at - event.at} ms before the start of the room"
            rejected.append(Rejection(place, event.event_id, "ends_before_start", detail))
    return rejected
