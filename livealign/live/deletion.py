"""Delete a user from a live state: what the state holds of them by their id.

A state keeps the hashed key of each deleted user with the time, so that a release that still knows the user does not bring the
history back.
"""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from livealign.events.models import UserDeleted, deleted_key
from livealign.live.state.state import LiveState

T = TypeVar("T")


def forget_user(state: LiveState, user_id: int, at: int) -> None:
    """Forget the user's history, shown rooms, wishes, sessions and counts.

    The deletion is noted.

    Args:
        at: epoch milliseconds of the deletion.
    """
    with state.lock:
        state.deleted[deleted_key(user_id)] = at
        state.users.forget(user_id)
        state.wishes.forget(user_id)
        state.list_outcomes.forget_user(user_id)
        state.sessions.forget_user(user_id)
        state.user_counts.forget_person(user_id)
        for rooms in state.open.values():
            for window in rooms.values():
                window.commenters.discard(user_id)


def apply_deletion(state: LiveState, record: UserDeleted) -> None:
    """Forget the user of a tombstone, who is found by the hashes of all users."""
    with state.lock:
        state.deleted[record.user_key] = record.at
        known = {*state.users.ids(), *state.wishes.ids(), *state.user_counts.ids(), *state.list_outcomes.ids()}
        known.update(np.unique(state.sessions.table["user_id"]).tolist())
        for user_id in known:
            if deleted_key(user_id) == record.user_key:
                forget_user(state, user_id, record.at)


def without_deleted(state: LiveState, of_user: Mapping[int, T]) -> dict[int, T]:
    """A release's values by user, without the deleted users."""
    if not state.deleted:
        return dict(of_user)
    return {user_id: value for user_id, value in of_user.items() if deleted_key(user_id) not in state.deleted}
