"""Ids of events to which the platform gives none, hashed from their natural key.

They are computed a column at a time and are the same in every run.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from livealign import ids

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def event_ids(kind: str, *columns: npt.NDArray[np.int64] | Sequence[int]) -> npt.NDArray[np.int64]:
    """[n] 63-bit ids of n events.

    A chain of SplitMix64 steps (Steele et al., 2014): two different events of one kind share an id with a chance of
    2**-63, so among 100 million events about one pair in 2,000 archives does.

    Args:
        kind: what sort of event; the same columns under another kind are other ids.
        columns: [n] each, the natural key.
    """
    state = np.full(len(columns[0]), ids.hashed_id("event", kind), np.uint64)
    for column in columns:
        state = _mix(state ^ np.asarray(column, np.int64).view(np.uint64))
    return (state & np.uint64(ids.MAX_ID)).astype(np.int64)


class People:
    """Ids of viewers or of hosts: the platform's numbers, or keyed hashes where a key is set."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._secret = ids.secret_key()
        self._known: dict[int, int] = {}

    @property
    def hidden(self) -> bool:
        """Whether the platform's own numbers must not be seen."""
        return self._secret is not None

    def of(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """[n] the id of each; negative numbers are not ids and stay, for landing to reject."""
        if self._secret is None:
            return numbers
        distinct, where = np.unique(numbers, return_inverse=True)
        return np.fromiter((self._one(int(number)) for number in distinct), np.int64, len(distinct))[where]

    def _one(self, number: int) -> int:
        if number < 0:
            return number
        if number not in self._known:
            self._known[number] = ids.person_id(self._namespace, str(number), self._secret)
        return self._known[number]


def _mix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    state = state + _GOLDEN
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
