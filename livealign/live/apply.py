"""An event of the log → a change of the live state. The same for an event that has just come and for one that is read again."""

from collections.abc import Callable

import numpy as np

from livealign.events.models import (
    Comment,
    Event,
    Gift,
    ImpressionShown,
    Like,
    PlayEnded,
    PlayStarted,
    RoomEnded,
    RoomStarted,
    Speech,
)
from livealign.ids import hashed_id
from livealign.live.state.state import LiveState
from livealign.live.state.windows import Said

EventNumber = Callable[[Event], int]
"""The id under which an event lands, by which messages of one millisecond are ordered."""


def landed_number(event: Event) -> int:
    """As `platforms.served` numbers events."""
    return hashed_id(event.kind, event.event_id)


def apply(state: LiveState, event: Event, number: EventNumber = landed_number) -> bool:
    """Change the state, whose lock is held. False where the event tells nothing: of a room that is not known, or too late."""
    if isinstance(event, RoomStarted):
        state.start_room(event.room_id, event.author_id, event.at, event.title, event.category, event.language)
        return True
    if event.room_id not in state.rooms:
        return False
    if isinstance(event, Comment):
        window = state.happened(event.room_id, event.at)
        if window is not None:
            window.comment(event.at, number(event), event.user_id, event.text, event.is_bot)
        return window is not None
    if isinstance(event, ImpressionShown):
        state.show(event.user_id, np.array([event.room_id]), event.at, event.request_id)
        return True
    if isinstance(event, PlayStarted):
        state.enter(event.event_id, event.user_id, event.room_id, event.at, event.request_id)
        return True
    if isinstance(event, PlayEnded):
        state.leave(event.play_id, event.at)
        return True
    if isinstance(event, RoomEnded):
        state.end_room(event.room_id, event.at)
        return True
    # It belongs to the window of its last instant, but of none before that in which it began (dbt: last_window_of).
    at = max(event.ended_at - 1, event.at) if isinstance(event, Speech) else event.at
    window = state.happened(event.room_id, at)
    if window is None:
        return False
    if isinstance(event, Speech):
        window.speech.append(Said(event.at, number(event), event.text))
    elif isinstance(event, Like):
        window.n_likes += event.count
    elif isinstance(event, Gift):
        window.n_gifts += event.count
    return True
