"""The sentence under a recommended room: which part of the user's history speaks for it.

    reason(codes, names, entered, of_streamer)    # "You entered rooms about endgame (chess, queen) 4 times lately."

A sentence names the deepest level of the room's code path that the history shares and that has a name. What the history does
not share is called new. A room whose first code is not clear is given no topic: names of such codes are of
another topic in two of five cases (docs/experiments/codes.md).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CLEAR = 0.5  # certainty of a first code (`livealign.codes.certainty`) from which the live wall calls it clear
JUST_STARTED, BY_STREAMER = "Just started: chosen by who is streaming.", "Chosen by who is streaming."


def sure_names(names: Sequence[str], certainty: float) -> list[str]:
    """The names that a reason may say: none of a path whose first code is not clear.

    Args:
        certainty: of the first code.
    """
    return list(names) if certainty >= CLEAR else [""] * len(names)


def named_level(codes: Sequence[int], names: Sequence[str], entered: NDArray[np.int64]) -> int | None:
    """The deepest level, from 0, of a path that was entered down to it and that has a name.

    Arguments as of `reason`.
    """
    shared = _shared(codes, entered)
    return max((level for level, name in enumerate(names) if name and shared[:, level].any()), default=None)


def reason(codes: Sequence[int], names: Sequence[str], entered: NDArray[np.int64], of_streamer: NDArray[np.bool_]) -> str:
    """One sentence for a room with content.

    Args:
        codes: the room's path; names: of each level, "" where it has none.
        entered: [h, levels] codes of what the user entered lately, −1 where nothing was known but the author.
        of_streamer: [h] which of these were rooms of the same author.
    """
    shared, level = _shared(codes, entered), named_level(codes, names, entered)
    if level is not None:
        about = names[level] if level == 0 or not names[0] else f"{names[level]} ({names[0]})"
        return f"You entered {_rooms(shared[:, level], of_streamer, f' about {about}')}."
    if shared[:, 0].any():
        return f"You entered {_rooms(shared[:, 0], of_streamer, ' like this one')}."
    if of_streamer.any():
        times = int(of_streamer.sum())
        streamer = "this streamer's room once" if times == 1 else f"this streamer's rooms {times} times"
        return f"You entered {streamer} lately" + (f"; new to you: {names[0]}." if names[0] else ".")
    if len(entered):
        return f"New to you: {names[0]}." if names[0] else "New to you."
    return f"Now: {names[0]}." if names[0] else "Chosen by what is on now."


def _shared(codes: Sequence[int], entered: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[h, levels] whether an entry has the same path down to the level."""
    return np.cumprod(entered == np.asarray(codes), axis=1).astype(bool)


def _rooms(shared: NDArray[np.bool_], of_streamer: NDArray[np.bool_], what: str) -> str:
    times, own = int(shared.sum()), int((shared & of_streamer).sum())
    if times == 1:
        return f"a room{what} lately" + (", this streamer's" if own else "")
    streamers = ", all of them this streamer's" if own == times else f", {own} of them this streamer's" if own else ""
    return f"rooms{what} {times} times lately{streamers}"
