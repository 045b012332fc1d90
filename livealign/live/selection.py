"""The rooms that a list may hold: live, and not ruled out by the request or by its user."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.live.state.rooms import LiveRoom, LiveView
from livealign.live.state.wishes import Unwanted

Ints = NDArray[np.int64]


class RoomFilter(NamedTuple):
    """Conditions on the rooms of a list; an empty condition rules nothing out.

    Upper and lower case are the same.
    """

    categories: frozenset[str] = frozenset()  # rooms of these only
    languages: frozenset[str] = frozenset()  # rooms of these only, and rooms whose language is not known
    authors: frozenset[int] = frozenset()  # rooms of these only
    blocked_authors: frozenset[int] = frozenset()
    blocked_words: frozenset[str] = frozenset()  # rooms without these in title and category


ANY_ROOM = RoomFilter()


def selected(
    view: LiveView, live: Ints, among: Collection[int] | None, exclude: Collection[int], wanted: RoomFilter, unwanted: Unwanted
) -> Ints:
    """The rows of `live` that a list may hold.

    Args:
        among: ids of the only rooms to rank; None for all.
    """
    keep = np.ones(len(live), dtype=np.bool_)
    rooms, authors = view.room_id[live], view.author_id[live]
    for ids in (exclude, unwanted.rooms.tolist()):
        if ids:
            keep &= ~np.isin(rooms, _array(ids))
    for ids in (wanted.blocked_authors, unwanted.authors.tolist()):
        if ids:
            keep &= ~np.isin(authors, _array(ids))
    if among is not None:
        keep &= np.isin(rooms, _array(among))
    if wanted.authors:
        keep &= np.isin(authors, _array(wanted.authors))
    rows = live[keep]
    if not (wanted.categories or wanted.languages or wanted.blocked_words):
        return rows
    folded = RoomFilter(
        frozenset(name.casefold() for name in wanted.categories),
        frozenset(name.casefold() for name in wanted.languages),
        blocked_words=frozenset(word.casefold() for word in wanted.blocked_words),
    )
    return np.array([row for row in rows.tolist() if _fits(view.rooms[row], folded)], dtype=np.int64)


def _fits(room: LiveRoom, wanted: RoomFilter) -> bool:
    category, language = (room.category or "").casefold(), (room.language or "").casefold()
    if wanted.categories and category not in wanted.categories:
        return False
    if wanted.languages and language and language not in wanted.languages:
        return False
    text = f"{room.title or ''} {category}".casefold() if wanted.blocked_words else ""
    return not any(word in text for word in wanted.blocked_words)


def _array(ids: Collection[int]) -> Ints:
    return np.fromiter(ids, dtype=np.int64, count=len(ids))
