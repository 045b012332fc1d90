"""Texts in blocks of whole rooms: the unit of work that every engine encodes alike.

What shares a batch decides the last bits of a vector. Blocks therefore depend on the texts and their rooms alone, never on
threads, workers or the order of their results. A room's texts begin alike, so a block of whole rooms has hardly more tokens
to compute than all texts at once.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LEAST_TEXTS = 1_024  # smaller blocks share fewer beginnings, and cost a shard of the cache each

_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))  # of splitmix64's last step
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))


def blocks_of(rooms: NDArray[np.int64], least: int = LEAST_TEXTS) -> list[NDArray[np.int64]]:
    """Rows of the texts of each block; `rooms` [n] holds the room of each text.

    Rooms follow each other by their hash. A block ends with the room that gives it `least` texts; what is left after the last
    such block belongs to it. Every row is in one block.
    """
    if not len(rooms):
        return []
    distinct, room, counts = np.unique(rooms, return_inverse=True, return_counts=True)
    by_hash = np.argsort(_hash(distinct), kind="stable")
    block_of_room, block, texts = np.empty(len(distinct), np.int64), 0, 0
    for index in by_hash.tolist():
        if texts >= least:
            block, texts = block + 1, 0
        block_of_room[index] = block
        texts += int(counts[index])
    if block and texts < least:
        block_of_room[block_of_room == block] = block - 1
    block_of_row = block_of_room[room]
    order = np.argsort(block_of_row, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(block_of_row[order])) + 1)


def first_rooms(keys: Sequence[bytes], rooms: NDArray[np.int64]) -> NDArray[np.int64]:
    """The room in which each distinct key occurs first, int64, in the order of first occurrence."""
    first: dict[bytes, int] = {}
    for key, room in zip(keys, rooms.tolist(), strict=True):
        first.setdefault(key, room)
    return np.fromiter(first.values(), np.int64, len(first))


def _hash(rooms: NDArray[np.int64]) -> NDArray[np.uint64]:
    """splitmix64 of each id: neighbours in number are no neighbours in hash."""
    mixed = rooms.astype(np.uint64)
    for shift, multiplier in zip(_SHIFTS, _MULTIPLIERS, strict=False):
        mixed = (mixed ^ (mixed >> shift)) * multiplier
    return mixed ^ (mixed >> _SHIFTS[2])
