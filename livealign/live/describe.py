"""Rooms of a view as `RoomState`: one, a page, similar ones; and the status of a core.

`now` is in epoch milliseconds. A room of a page has only its newest coded window.
"""

from collections.abc import Sequence

import numpy as np

from livealign.codes.certainty import code_certainty
from livealign.live.answers import CoreStatus, RoomState, SimilarRoom, TickReport
from livealign.live.recommender import Recommender
from livealign.live.said import said_in, searched
from livealign.live.state.rooms import N_VIEWERS, NEVER_ENDS, LiveView


def room_state(view: LiveView, row: int, recommender: Recommender, now: int) -> RoomState:
    """One room and its latest coded windows."""
    room, codes = view.rooms[row], view.codes[row].tolist()
    content_at, ended_at, viewers = int(view.content_at[row]), int(view.ended_at[row]), view.counts[row, N_VIEWERS]
    return RoomState(
        room_id=room.room_id,
        author_id=room.author_id,
        title=room.title,
        category=room.category,
        language=room.language,
        started_at=room.started_at,
        ended_at=None if ended_at == NEVER_ENDS else ended_at,
        hidden=bool(view.hidden[row]),
        codes=codes,
        code_names=recommender.names(codes),
        code_certainty=code_certainty(recommender.codebook, view.vectors[[row]], view.codes[[row]])[0].tolist(),
        said=said_in(room, view.window_ms),
        content_age_seconds=max(0.0, (now - content_at) / 1000) if content_at else None,
        viewers=int(viewers) if viewers == viewers else 0,
        waiting=int(room.waiting is not None),
        windows=tuple(window._replace(code_names=recommender.names(window.codes)) for window in tuple(room.windows)),
        frame=None if room.frame is None else room.frame.name,
    )


def rooms_page(
    view: LiveView, recommender: Recommender, now: int, limit: int, offset: int, search: str = ""
) -> tuple[int, tuple[RoomState, ...]]:
    """The number of live rooms, and a page of them, those with most viewers first.

    Args:
        search: words that a room has to have, all of them, in title, category, names of codes, or in what was said last; its
            id alone finds a room too.
    """
    rows = view.live_at(now)
    words = search.casefold().split()
    if words:
        rows = np.array([row for row in rows.tolist() if _has(view, row, recommender, words)], dtype=np.int64)
    viewers = np.nan_to_num(view.counts[rows, 0])
    order = rows[np.lexsort((view.room_id[rows], -viewers))][offset : offset + limit]
    return len(rows), tuple(_newest_window(room_state(view, int(row), recommender, now)) for row in order)


def _has(view: LiveView, row: int, recommender: Recommender, words: Sequence[str]) -> bool:
    text = f"{searched(view.rooms[row])}\n{' '.join(recommender.names(view.codes[row].tolist()))}"
    return all(word in text for word in words) or words == [str(view.room_id[row])]


def room_of(view: LiveView, recommender: Recommender, now: int, room_id: int) -> RoomState | None:
    """A room by id, or None if the view does not have it."""
    rows = np.flatnonzero(view.room_id == room_id)
    return room_state(view, int(rows[0]), recommender, now) if len(rows) else None


def similar_rooms(view: LiveView, recommender: Recommender, now: int, room_id: int, k: int) -> tuple[SimilarRoom, ...] | None:
    """The live rooms most similar to a room, or None if the view does not have it."""
    room_rows = np.flatnonzero(view.room_id == room_id)
    if not len(room_rows):
        return None
    rows = view.live_at(now)
    rows = rows[rows != room_rows[0]]
    similarity = view.vectors[rows] @ view.vectors[room_rows[0]]
    best = np.argsort(-similarity, kind="stable")[:k]
    return tuple(
        SimilarRoom(_newest_window(room_state(view, int(rows[place]), recommender, now)), float(similarity[place]))
        for place in best
    )


def status_of(
    view: LiveView,
    now: int,
    last: TickReport | None,
    release_id: str,
    users: int,
    problems: tuple[str, ...],
    log_behind_records: int,
    moving: bool,
) -> CoreStatus:
    """The health of a core from its view, its last tick and its journal."""
    live = view.live_at(now)
    content_at = view.content_at[live]
    ages = (now - content_at[content_at > 0]) / 1000
    waiting = int(view.waiting.sum())
    return CoreStatus(
        release_id=release_id,
        ready=True,
        degraded=bool(waiting) or bool(problems),
        problems=problems,
        live_rooms=len(live),
        rooms=len(view.room_id),
        users=users,
        windows_waiting=waiting,
        last_tick_at=None if last is None else last.at,
        last_tick_seconds=None if last is None else last.seconds,
        staleness_p50_seconds=float(np.percentile(ages, 50)) if len(ages) else None,
        staleness_p99_seconds=float(np.percentile(ages, 99)) if len(ages) else None,
        log_behind_records=log_behind_records,
        from_snapshot=not moving,
    )


def _newest_window(state: RoomState) -> RoomState:
    return state._replace(windows=state.windows[:1])
