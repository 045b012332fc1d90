"""The reasons for a room's rank for a user: the share of each source of knowledge.

The share of a source is the change of the log-odds when the ranker is told of it, all else being known (an ablation). Shares
do not add up to the whole: sources that say the same hide each other.
"""

import numpy as np

from livealign.live.answers import Explanation
from livealign.live.recommender import Reader, Recommender, Request
from livealign.live.selection import selected
from livealign.live.state.rooms import LiveView


def explain(
    recommender: Recommender, view: LiveView, alone: LiveView, reader: Reader, request: Request, row: int
) -> Explanation:
    """The reasons for a room's rank for a user.

    Args:
        alone: the view without content.
        row: of the room in the view.
    """
    rows = selected(view, view.live_at(request.at), None, (), request.wanted, reader.unwanted)
    rows = recommender.nearest(view, rows, recommender.user_vector(reader), reader, request)
    scores = recommender.scores_in_context(view, np.append(rows, row), reader, request)  # the last is the room's, ranked or not
    tasks = recommender.ranker.config.tasks
    click = tasks.index("click")
    order = recommender.lowered(view, rows, scores[:-1, click], reader)
    place = np.flatnonzero(rows == row)

    added = recommender.in_context(view, np.array([row]), reader, request)
    context = 0.0 if added is None else float(added[0])

    def log_odds(view: LiveView, reader: Reader) -> float:
        probability = float(recommender.scores(view, np.array([row]), reader, request.at)[0, click])
        return float(np.log(probability) - np.log1p(-probability)) + context

    whole = log_odds(view, reader)  # not of `scores`: alone, a row differs in its last bits, and a share of 0 must be 0
    by_author = view._replace(vectors=alone.vectors, codes=alone.codes, content_at=alone.content_at)
    uncounted = view._replace(counts=np.full_like(view.counts, np.nan))
    without = {
        "content": log_odds(by_author, reader),
        "counts": log_odds(uncounted, reader),
        "history": log_odds(view, _without_history(reader)),
        **({} if added is None else {"context": whole - context}),
    }
    return Explanation(
        room_id=view.rooms[row].room_id,
        user_id=reader.user_id,
        at=request.at,
        scores=dict(zip(tasks, scores[-1].tolist(), strict=True)),
        rank=1 + int((order > order[place[0]]).sum()) if len(place) else None,
        of_rooms=len(rows),
        reason=recommender.reasons(view, np.array([row]), reader)[0],
        times_shown=int((reader.ignored == view.rooms[row].room_id).sum()),
        log_odds=whole,
        shares={name: whole - value for name, value in without.items()},
    )


def _without_history(reader: Reader) -> Reader:
    """The reader as somebody who has entered nothing."""
    return reader._replace(
        authors=reader.authors[:0], vectors=reader.vectors[:0], codes=reader.codes[:0], has_content=reader.has_content[:0]
    )
