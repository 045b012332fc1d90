"""Rooms that a viewer could have entered instead: a bounded, seeded sample for each play.

For platforms that log no impressions. Every candidate that is shown at the time of a play is equally likely, no candidate is
drawn twice for one play, and those of the owner (channel, streamer) that was chosen are left out. A play gets as many as were
asked for, or all where fewer are shown. Its sample depends on its id and the candidates alone, so that a day landed alone gets
the same rows as the same day landed with others.

Candidates are kept in classes of doubling length, each sorted by start. At any time those of a class that may be shown are one
range of its starts, at most twice as long as what is shown where starts are even. Most plays are served by draws from these
ranges: their time grows with plays, not with plays times candidates. Only a play that ran out of draws has its ranges listed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from livealign.platforms.event_ids import event_ids

DRAWS = 4  # for each negative that is wanted, in one round
ROUNDS = 3  # of draws, before a play's ranges are listed
CHUNK_PLAYS = 8_192

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Candidates:
    """m rooms shown over [start, end), in classes of doubling length, each sorted by start."""

    place: Ints  # [m] of each in the order that was given
    starts: Ints  # [m]
    ends: Ints  # [m]
    owners: Ints  # [m]
    classes: tuple[tuple[int, int, int], ...]  # first, last + 1, and the greatest length of each

    @classmethod
    def build(cls, starts: Ints, ends: Ints, owners: Ints) -> "Candidates":
        """Candidates from starts, ends and owners [m]; a room that ends as it starts is never shown."""
        lengths = np.maximum(ends - starts, 0)
        kinds = np.ceil(np.log2(np.maximum(lengths, 1))).astype(np.int64)
        place = np.lexsort((starts, kinds))
        firsts = np.flatnonzero(np.diff(kinds[place], prepend=-1))
        bounds = [*firsts.tolist(), len(place)]
        classes = tuple((low, high, int(lengths[place[low:high]].max())) for low, high in pairwise(bounds))
        return cls(place, starts[place], ends[place], owners[place], classes)

    def windows(self, at: Ints) -> tuple[Ints, Ints]:
        """First index and size [n, classes] of what each class may show at each time."""
        firsts, sizes = np.zeros((len(at), len(self.classes)), np.int64), np.zeros((len(at), len(self.classes)), np.int64)
        for number, (low, high, longest) in enumerate(self.classes):
            starts = self.starts[low:high]
            first = np.searchsorted(starts, at - longest, side="right")
            firsts[:, number] = low + first
            sizes[:, number] = np.searchsorted(starts, at, side="right") - first
        return firsts, sizes


def sample_negatives(
    play_ids: Ints, at: Ints, chosen: Ints, candidates: Candidates, per_play: int, seed: int = 0
) -> Iterator[tuple[Ints, Ints, Ints]]:
    """The candidates shown beside each of n plays, a chunk of plays at a time.

    Args:
        play_ids: [n], which seed the draws.
        at: [n] times, on the clock of the candidates.
        chosen: [n] owners of the rooms that were entered.
        candidates: everything that could be shown.
        per_play: how many at most; fewer where fewer are shown.
        seed: another one gives another sample.

    Yields:
        The plays of the chunk [c], as indices of the input; and for each negative [p] its play, an index of the input, and
        its candidate, an index into the arrays that `Candidates.build` was given. Sorted by play.
    """
    for start in range(0, len(play_ids), CHUNK_PLAYS):
        plays = np.arange(start, min(start + CHUNK_PLAYS, len(play_ids)))
        if not per_play or not len(candidates.place):
            yield plays, np.zeros(0, np.int64), np.zeros(0, np.int64)
            continue
        which, rows = _sample(play_ids[plays], at[plays], chosen[plays], candidates, per_play, seed)
        yield plays, plays[which], candidates.place[rows]


def _sample(play_ids: Ints, at: Ints, chosen: Ints, candidates: Candidates, per_play: int, seed: int) -> tuple[Ints, Ints]:
    """The play and the row of `candidates` of each negative [p], sorted by play."""
    firsts, sizes = candidates.windows(at)
    drawn = np.zeros((len(play_ids), 0), np.int64)
    waiting = np.arange(len(play_ids))
    found = []
    for turn in range(ROUNDS):
        more = _draw(play_ids[waiting], firsts[waiting], sizes[waiting], DRAWS * per_play, f"negatives {seed} {turn}")
        drawn = np.concatenate([drawn, more], axis=1)
        kept = _fit(drawn, at[waiting], chosen[waiting], candidates)
        kept &= np.cumsum(kept, axis=1) <= per_play
        done = (kept.sum(axis=1) == per_play) | (sizes[waiting].sum(axis=1) <= DRAWS * per_play)
        which, column = np.nonzero(kept & done[:, None])
        found.append((waiting[which], drawn[which, column]))
        waiting, drawn = waiting[~done], drawn[~done]
        if not len(waiting):
            break
    for play in waiting:
        rows = np.concatenate([np.arange(first, first + size) for first, size in zip(firsts[play], sizes[play], strict=True)])
        rows = rows[_fit(rows[None, :], at[play : play + 1], chosen[play : play + 1], candidates)[0]]
        random = event_ids(f"negatives {seed}", np.full(len(rows), play_ids[play]), rows)
        rows = rows[np.argsort(random, kind="stable")[:per_play]]
        found.append((np.full(len(rows), play), rows))
    which, rows = (np.concatenate(column) for column in zip(*found, strict=True))
    by_play = np.argsort(which, kind="stable")
    return which[by_play], rows[by_play]


def _draw(play_ids: Ints, firsts: Ints, sizes: Ints, draws: int, namespace: str) -> Ints:
    """[n, draws] rows of the plays' ranges, at random; all of them where they are few; −1 for no row."""
    ends = np.cumsum(sizes, axis=1)
    total = ends[:, -1:]
    numbers = np.tile(np.arange(draws), len(play_ids))
    random = event_ids(namespace, np.repeat(play_ids, draws), numbers).reshape(-1, draws)
    few = np.arange(draws)[None, :] < total
    shuffled = np.argsort(np.where(few, random, np.iinfo(np.int64).max), axis=1, kind="stable")
    position = np.where(total <= draws, shuffled, random % np.maximum(total, 1))
    drawn = np.full(position.shape, -1, np.int64)
    for number in range(sizes.shape[1]):
        begin = ends[:, number : number + 1] - sizes[:, number : number + 1]
        here = (position >= begin) & (position < ends[:, number : number + 1])
        drawn = np.where(here, firsts[:, number : number + 1] + position - begin, drawn)
    return drawn


def _fit(drawn: Ints, at: Ints, chosen: Ints, candidates: Candidates) -> npt.NDArray[np.bool_]:
    """[n, draws] whether a drawn row is shown at its play's time, is of another owner, and was not drawn before."""
    row = np.maximum(drawn, 0)
    shown = (drawn >= 0) & (candidates.starts[row] <= at[:, None]) & (candidates.ends[row] > at[:, None])
    return shown & (candidates.owners[row] != chosen[:, None]) & _first_of_row(drawn)


def _first_of_row(values: Ints) -> npt.NDArray[np.bool_]:
    """Whether each value is the first of its kind in its row."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    first = np.ones(values.shape, np.bool_)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    unsorted = np.empty_like(first)
    np.put_along_axis(unsorted, order, first, axis=1)
    return unsorted
