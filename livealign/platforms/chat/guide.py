"""What else was on at any moment: the rooms that a viewer could have been shown beside the one that was entered.

Of every channel that is known by then the latest broadcast, if it is live or started within `RECENT_MS`; nothing later
than the moment is looked at. At most `negatives` of them are taken for a play, uniformly and without repetition, by a
stream of numbers that the play's id seeds, so that the same archive gives the same lists however it is landed.

Each broadcast is on for one interval. The intervals are sorted by start, in classes of similar length, so that those
which may be on at a moment lie in one range of each class and at least about half of a range is on. A draw from the
ranges that is on and new is kept: the time grows with plays x negatives, not with the channels.
"""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from livealign.platforms.chat.broadcasts import Broadcast

RECENT_MS = 12 * 3_600_000
NEGATIVES_PER_PLAY = 20  # rooms that were not entered, inferred for one play at most
SEED = 0x5EED
ENUMERATED = 4  # times the negatives: with fewer rooms on, all are listed and sorted by a random number
ROUNDS = 8  # of draws, before a play's rooms are enumerated after all

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Guide:
    """All broadcasts of one site, ready to be asked which were on."""

    def __init__(self, broadcasts: Iterable[Broadcast], negatives: int = NEGATIVES_PER_PLAY) -> None:
        self._negatives = negatives
        channels: dict[int, list[Broadcast]] = defaultdict(list)
        for broadcast in sorted(broadcasts, key=lambda broadcast: (broadcast.started_at, broadcast.file)):
            channels[broadcast.author_id].append(broadcast)
        rows = []
        for author_id, own in channels.items():
            for one, following in zip(own, [*own[1:], None], strict=True):
                until = max(one.last_known, one.started_at + RECENT_MS + 1)  # the first moment when it is not on
                until = min(until, following.started_at) if following else until
                if until > one.started_at:
                    rows.append((one.started_at, until, one.room_id, author_id))
        table = np.array(sorted(rows), np.int64).reshape(-1, 4)
        length = np.ceil(np.log2(table[:, 1] - table[:, 0])).astype(np.int64)
        order = np.lexsort((table[:, 0], length))
        self._starts, self._untils, self._rooms, self._authors = table[order].T
        self._all_starts, self._all_untils = np.sort(table[:, 0]), np.sort(table[:, 1])
        self._classes = []
        for one in np.unique(length):
            low, high = np.searchsorted(length[order], (one, one + 1))
            self._classes.append((int(low), int(high), int((table[length == one, 1] - table[length == one, 0]).max())))

    def beside(self, author_id: int, play_ids: Ints, at: Ints) -> tuple[Ints, Ints, Ints]:
        """The rooms shown beside an entered one.

        Args:
            author_id: whose room was entered; the author's rooms are left out.
            play_ids: [n] the plays.
            at: [n, ms] when their lists were shown.

        Returns:
            [m] index of the play, [m] room id, [m] author id.
        """
        low, high = self._ranges(at)
        counts = np.searchsorted(self._all_starts, at, side="right") - np.searchsorted(self._all_untils, at, side="right")
        few = counts <= ENUMERATED * self._negatives
        chosen = [self._enumerate(int(i), author_id, play_ids, at, low, high) for i in np.flatnonzero(few)]
        many = np.flatnonzero(~few)
        chosen += self._draw(many, author_id, play_ids, at, low, high)
        if not chosen:
            nothing = np.array([], np.int64)
            return nothing, nothing, nothing
        which = np.concatenate([np.full(len(rows), i) for i, rows in chosen])
        rows = np.concatenate([rows for _, rows in chosen])
        return which, self._rooms[rows], self._authors[rows]

    def _ranges(self, at: Ints) -> tuple[Ints, Ints]:
        """[n, classes] first and past-the-last interval of each class that may be on."""
        low = np.zeros((len(at), len(self._classes)), np.int64)
        high = np.zeros_like(low)
        for i, (first, end, longest) in enumerate(self._classes):
            low[:, i] = first + np.searchsorted(self._starts[first:end], at - longest, side="right")
            high[:, i] = first + np.searchsorted(self._starts[first:end], at, side="right")
        return low, high

    def _enumerate(self, i: int, author_id: int, play_ids: Ints, at: Ints, low: Ints, high: Ints) -> tuple[int, Ints]:
        """One play's rooms by listing all that are on."""
        rows = np.concatenate([np.arange(a, b) for a, b in zip(low[i], high[i], strict=True)] or [np.array([], np.int64)])
        rows = rows[(self._untils[rows] > at[i]) & (self._authors[rows] != author_id)]
        if len(rows) > self._negatives:
            key = _mixed(np.uint64(play_ids[i]) ^ _mixed(self._rooms[rows].astype(np.uint64)))
            rows = rows[np.argsort(key, kind="stable")[: self._negatives]]
        return i, rows

    def _draw(self, plays: Ints, author_id: int, play_ids: Ints, at: Ints, low: Ints, high: Ints) -> list[tuple[int, Ints]]:
        """Many plays' rooms by drawing from the ranges what is on and was not drawn yet."""
        kept: dict[int, list[int]] = {int(i): [] for i in plays}
        per_round = 2 * self._negatives
        for turn in range(ROUNDS):
            open_plays = np.array([i for i, rows in kept.items() if len(rows) < self._negatives], np.int64)
            if not len(open_plays):
                break
            ends = np.cumsum(high[open_plays] - low[open_plays], axis=1)
            counter = np.arange(turn * per_round, (turn + 1) * per_round, dtype=np.uint64)
            words = _mixed(play_ids[open_plays].astype(np.uint64)[:, None] + (counter + np.uint64(SEED)) * _GOLDEN)
            drawn = (words % ends[:, -1:].astype(np.uint64)).astype(np.int64)
            one = (drawn[:, :, None] >= ends[:, None, :]).sum(axis=2)
            before = np.take_along_axis(np.pad(ends, ((0, 0), (1, 0))), one, axis=1)
            rows = np.take_along_axis(low[open_plays], one, axis=1) + drawn - before
            good = (self._untils[rows] > at[open_plays][:, None]) & (self._authors[rows] != author_id)
            for i, candidates, usable in zip(open_plays, rows, good, strict=True):
                new = dict.fromkeys(kept[int(i)] + candidates[usable].tolist())
                kept[int(i)] = list(new)[: self._negatives]
        return [
            (i, np.array(rows, np.int64))
            if len(rows) == self._negatives
            else self._enumerate(i, author_id, play_ids, at, low, high)
            for i, rows in kept.items()
        ]


def _mixed(words: Words) -> Words:
    """splitmix64's finisher: every bit of the result depends on every bit of the word."""
    with np.errstate(over="ignore"):
        words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return words ^ (words >> np.uint64(31))
