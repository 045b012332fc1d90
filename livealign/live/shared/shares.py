"""Rendezvous hashing: each room's reader among those that are alive.

A room belongs to the reader with the highest hash of both. When a reader goes, its rooms move and no other room does; when one
comes, it takes its share from all others alike.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from livealign.ids import hashed_id

Ints = NDArray[np.int64]


def owners(room_ids: Ints, readers: Sequence[str]) -> Ints:
    """The place in `readers` of each room's reader [n].

    Which reader a room has does not depend on their order.

    Raises:
        ValueError: there is no reader.
    """
    if not readers:
        raise ValueError("no reader is alive, so no room has one")
    order = np.argsort(np.array(readers), kind="stable")  # of two equal hashes the first name wins, whatever the order
    hashes = np.stack([_mixed(room_ids.astype(np.uint64) ^ np.uint64(hashed_id("reader", readers[place]))) for place in order])
    return order[np.argmax(hashes, axis=0)].astype(np.int64)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64 (Steele, Lea and Flood 2014): each bit of the input changes half of the output's."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
