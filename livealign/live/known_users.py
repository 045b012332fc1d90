"""The users that were active last and have a history, for pages that offer a choice of them."""

from collections import Counter

from livealign.live.answers import UserState
from livealign.live.recommender import Recommender
from livealign.live.state.state import LiveState

LOOKED_AT = 2_000  # users; behind them nobody is looked for
NAMES = 3


def latest_users(state: LiveState, recommender: Recommender, at: int, limit: int) -> tuple[UserState, ...]:
    """At most `limit` users with engagements before `at`, the latest active first.

    The caller holds the state's lock.
    """
    found: list[UserState] = []
    table = state.coded_windows
    for user_id in state.users.latest(LOOKED_AT):
        history = state.users.history(user_id, at)
        if not len(history.at):
            continue
        rows = history.coded_row[table["segment_id"][history.coded_row] > 0]
        names = Counter(name for codes in table["codes"][rows].tolist() if (name := recommender.names(codes)[0]))
        entered = [name for name, _ in names.most_common(NAMES)]
        found.append(UserState(user_id, len(history.at), int(history.at[0]), entered))
        if len(found) == limit:
            break
    return tuple(found)
