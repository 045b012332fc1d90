"""Users whose taste is like a user's: the cosine of the vectors of the user tower."""

import numpy as np

from livealign.live.answers import SimilarUser
from livealign.live.known_users import LOOKED_AT, user_of
from livealign.live.lane import Lane

AT_ONCE = 64  # users whose histories are copied while the state is locked: lists wait for the lock


def similar_users(lane: Lane, user_id: int, at: int, k: int) -> tuple[SimilarUser, ...] | None:
    """The most similar of the users that were active last; None if the user has no history.

    Args:
        at: epoch milliseconds; engagements before it count.
    """
    with lane.state.lock:
        serving, latest = lane.serving, lane.state.users.latest(LOOKED_AT)
    recommender = serving.recommender
    own = lane.readers([user_id], at)
    if not len(own.readers[0].authors):
        return None
    user_ids, vectors = list[int](), [recommender.user_vectors(own.readers)]
    for start in range(0, len(latest), AT_ONCE):
        others = lane.readers(latest[start : start + AT_ONCE], at)
        if others.serving is not serving:  # another release took over meanwhile, and its vectors are of another space
            return similar_users(lane, user_id, at, k)
        readers = [reader for reader in others.readers if len(reader.authors) and reader.user_id != user_id]
        user_ids += [reader.user_id for reader in readers]
        vectors += [recommender.user_vectors(readers)] if readers else []
    unit = [of_users / np.maximum(np.linalg.norm(of_users, axis=1, keepdims=True), 1e-12) for of_users in vectors]
    similarity = np.clip(np.concatenate(unit[1:]) @ unit[0][0], -1.0, 1.0) if user_ids else np.zeros(0)
    best = np.argsort(-similarity, kind="stable")[:k].tolist()
    with lane.state.lock:
        states = [(user_of(lane.state, recommender, at, user_ids[place]), float(similarity[place])) for place in best]
    return tuple(SimilarUser(user, near) for user, near in states if user is not None)  # None: deleted meanwhile
