"""The library's answers as JSON values of the models in `messages.py`."""

from datetime import UTC, datetime
from typing import Any

from bentos.live_recommender.messages import EmbeddedSegment
from livealign.live.answers import (
    CoreStatus,
    EmbeddedSegments,
    RankedRoom,
    Recommendations,
    RoomState,
    UserState,
)
from livealign.live.state.coded_windows import CodedWindow

Json = dict[str, Any]


def recommended_json(answer: Recommendations) -> Json:
    """A RecommendResponse as JSON values.

    It is not validated again: the library's values fit the model, and a test compares them.
    """
    return {
        "request_id": answer.request_id,
        "model_version": answer.model_version,
        "at": timestamp(answer.at),
        "rooms": [_ranked(room) for room in answer.rooms],
        "fallbacks": answer.fallbacks,
        "logged": answer.recorded,
    }


def room_json(room: RoomState) -> Json:
    """A Room as JSON values."""
    return {
        **room._asdict(),
        "started_at": timestamp(room.started_at),
        "ended_at": None if room.ended_at is None else timestamp(room.ended_at),
        "said": None if room.said is None else {**room.said._asdict(), "ended_at": timestamp(room.said.ended_at)},
        "windows": [_window(window) for window in room.windows],
    }


def user_json(user: UserState) -> Json:
    """A KnownUser as JSON values."""
    return {**user._asdict(), "newest_at": timestamp(user.newest_at)}


def status_json(status: CoreStatus, events_per_second: float, lists_per_second: float) -> Json:
    """A Status as JSON values."""
    return {
        **status._asdict(),
        "last_tick_at": None if status.last_tick_at is None else timestamp(status.last_tick_at),
        "events_per_second": events_per_second,
        "lists_per_second": lists_per_second,
    }


def embedded_segments(batch: EmbeddedSegments) -> list[EmbeddedSegment]:
    """One EmbeddedSegment for each row of the library's result."""
    rows = zip(batch.embeddings.tolist(), batch.vectors.tolist(), batch.codes.tolist(), batch.code_names, strict=True)
    return [
        EmbeddedSegment(embedding=embedding, vector=vector, codes=codes, code_names=names)
        for embedding, vector, codes, names in rows
    ]


def timestamp(milliseconds: int) -> datetime:
    """Epoch milliseconds as a time in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _ranked(room: RankedRoom) -> Json:
    return room._asdict()


def _window(window: CodedWindow) -> Json:
    return {**window._asdict(), "ended_at": timestamp(window.ended_at)}
