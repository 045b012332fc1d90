"""The places of a list: the best rooms, of several codes, and rooms drawn at random."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Places(NamedTuple):
    """The items of a list in order."""

    chosen: list[int]
    drawn: set[int]  # those of them that were drawn
    propensities: list[float]  # of each: the probability, over the draws, that this item is in the list


def diverse(order: Sequence[int], codes: Sequence[int], k: int, most: int) -> list[int]:
    """The first `k` of `order` with at most `most` of each code.

    If that gives fewer than `k`, the best of the passed ones are added.
    """
    counts: Counter[int] = Counter()
    taken: list[int] = []
    passed: list[int] = []
    for place in order:
        if len(taken) == k:
            break
        if counts[codes[place]] < most:
            counts[codes[place]] += 1
            taken.append(place)
        else:
            passed.append(place)
    if len(taken) < k:
        rank = {place: number for number, place in enumerate(order)}
        taken = sorted([*taken, *passed[: k - len(taken)]], key=rank.__getitem__)
    return taken


def explored(best: Sequence[int], order: Sequence[int], share: float, request_id: str) -> Places:
    """The list with a share of its places given to items drawn from the rest of `order`.

    The draws are seeded by the request id. The first place is never given away. Each other place is given away with the same
    probability, and each item of the rest is equally likely to be drawn, and then to be in each of these places.
    """
    draws = min(int(share * len(best)), max(len(best) - 1, 0))
    listed = set(best)
    others = np.array([place for place in order if place not in listed] if draws else [], dtype=np.int64)
    draws = min(draws, len(others))
    if not draws:
        return Places(list(best), set(), [1.0] * len(best))
    rng = np.random.default_rng(int.from_bytes(request_id.encode(), "big"))
    drawn = rng.choice(others, draws, replace=False).tolist()
    given_away = draws / (len(best) - 1)
    chosen, propensities = list(best), [1.0, *[1 - given_away] * (len(best) - 1)]
    for rank, place in zip(sorted(1 + rng.choice(len(best) - 1, draws, replace=False)), drawn, strict=True):
        chosen[rank], propensities[rank] = place, draws / len(others)
    return Places(chosen, set(drawn), propensities)
