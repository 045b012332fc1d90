"""The users that were active last and have a history, for pages that offer a choice of them."""

from collections import Counter
from itertools import islice

from livealign.live.answers import UserState
from livealign.live.recommender import Recommender
from livealign.live.state.state import LiveState

LOOKED_AT = 2_000  # users; behind them nobody is looked for
NAMES = 3


def latest_users(state: LiveState, recommender: Recommender, at: int, limit: int) -> tuple[UserState, ...]:
    """At most `limit` users with engagements before `at`, the latest active first.

    The caller holds the state's lock.
    """
    users = (user_of(state, recommender, at, user_id) for user_id in state.users.latest(LOOKED_AT))
    return tuple(islice((user for user in users if user is not None), limit))


def user_of(state: LiveState, recommender: Recommender, at: int, user_id: int) -> UserState | None:
    """One user, or None without engagements before `at`; the caller holds the state's lock."""
    table, history = state.coded_windows, state.users.history(user_id, at)
    if not len(history.at):
        return None
    rows = history.coded_row[table["segment_id"][history.coded_row] > 0]
    names = Counter(name for codes in table["codes"][rows].tolist() if (name := recommender.names(codes)[0]))
    return UserState(user_id, len(history.at), int(history.at[0]), [name for name, _ in names.most_common(NAMES)])
