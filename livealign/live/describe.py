"""A row of a view → what is told of the room."""

from livealign.live.answers import CodedWindow, RoomState
from livealign.live.recommender import Recommender
from livealign.live.state.state import N_VIEWERS, NEVER_ENDS, LiveView, named_counts


def described(view: LiveView, row: int, recommender: Recommender, now: int) -> RoomState:
    """The room with its last windows; `now` in epoch milliseconds."""
    room, codes = view.rooms[row], view.codes[row].tolist()
    content_at, ended_at, viewers = int(view.content_at[row]), int(view.ended_at[row]), view.counts[row, N_VIEWERS]
    windows = tuple(
        CodedWindow(
            segment_id=one.segment_id,
            ended_at=one.ended_at,
            text=one.text,
            codes=list(one.codes),
            code_names=recommender.names(one.codes),
            counts=named_counts(one.counts),
        )
        for one in tuple(room.windows)
    )
    return RoomState(
        room_id=room.room_id,
        author_id=room.author_id,
        title=room.title,
        category=room.category,
        language=room.language,
        started_at=room.started_at,
        ended_at=None if ended_at == NEVER_ENDS else ended_at,
        codes=codes,
        code_names=recommender.names(codes),
        content_age_seconds=max(0.0, (now - content_at) / 1000) if content_at else None,
        viewers=int(viewers) if viewers == viewers else 0,
        waiting=int(room.waiting is not None),
        windows=windows,
    )


def newest_window(state: RoomState) -> RoomState:
    """The same with the newest window alone."""
    return state._replace(windows=state.windows[:1])
