"""Apply one event to the live state; the same code for new events and for replayed ones."""

from collections.abc import Callable

import numpy as np

from livealign.events.models import (
    AuthorBlocked,
    AuthorUnblocked,
    Comment,
    Event,
    Frame,
    Gift,
    ImpressionShown,
    Like,
    ListShown,
    NotInterested,
    PlayEnded,
    PlayStarted,
    RoomEnded,
    RoomHidden,
    RoomStarted,
    RoomUnhidden,
    Speech,
)
from livealign.ids import hashed_id
from livealign.live.shown_lists import arm_of
from livealign.live.state.state import LiveState
from livealign.live.state.windows import LiveFrame, Utterance

EventNumber = Callable[[Event], int]
"""Gives the id under which an event lands; messages of one millisecond are ordered by it."""


def landed_number(event: Event) -> int:
    """The id that `livealign.platforms.served` lands the event under."""
    return hashed_id(event.kind, event.event_id)


def apply(state: LiveState, event: Event | ListShown, number: EventNumber = landed_number) -> bool:
    """Apply an event to the state; returns False if its room is unknown or its window is closed.

    The caller holds the state's lock.
    """
    if isinstance(event, ListShown):
        state.list_outcomes.shown(arm_of(event), event.user_id, event.rooms, event.at)
        return True
    if isinstance(event, AuthorBlocked):
        state.wishes.block(event.user_id, event.author_id)
        return True
    if isinstance(event, AuthorUnblocked):
        state.wishes.unblock(event.user_id, event.author_id)
        return True
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
    if isinstance(event, NotInterested):
        state.wishes.not_interested(event.user_id, event.room_id)
        return True
    if isinstance(event, RoomHidden | RoomUnhidden):
        state.hide_room(event.room_id, hidden=isinstance(event, RoomHidden))
        return True
    if isinstance(event, Frame):
        window = state.happened(event.room_id, event.at)
        frame = LiveFrame(event.at, event.name, event.picture, event.look)
        state.rooms[event.room_id].show(frame)
        if window is not None:
            window.show(frame)
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
    # The event belongs to the window of its last instant, but not to one before its start (dbt: last_window_of).
    at = max(event.ended_at - 1, event.at) if isinstance(event, Speech) else event.at
    if isinstance(event, Gift):
        state.list_outcomes.gifted(event.user_id, event.room_id, event.at)
    window = state.happened(event.room_id, at)
    if window is None:
        return False
    if isinstance(event, Speech):
        window.speech.append(Utterance(event.at, number(event), event.text))
    elif isinstance(event, Like):
        window.n_likes += event.count
    elif isinstance(event, Gift):
        window.n_gifts += event.count
    return True
