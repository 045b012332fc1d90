"""Rooms that a viewer could have entered instead: a bounded, seeded sample for each play.

For platforms that log no impressions. Every candidate that is shown at the moment of a play is equally likely, none is drawn
twice for one play, and none belongs to the owner (channel, streamer) that was chosen. Time and memory grow with plays plus
candidates, never with their product: a list of all co-live rooms grows with the square of the channels. A play's sample
depends on its id and the candidates alone, so that a day landed alone gets the same rows as the same day landed with others.

How: candidates are kept in classes of doubling length, each sorted by start. At any moment those of a class that may be shown
are one run of its starts, at most twice as long as what is shown where starts are even, so few draws are thrown away.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from livealign.errors import LiveAlignError
from livealign.platforms.event_ids import event_ids

NEGATIVES_PER_PLAY = 10
VARIABLE = "LIVEALIGN_NEGATIVES_PER_PLAY"
DRAWS = 4  # for each negative that is wanted
CHUNK_PLAYS = 16_384

Ints = npt.NDArray[np.int64]


def negatives_per_play() -> int:
    """How many negatives a play gets at most: `LIVEALIGN_NEGATIVES_PER_PLAY`, or the default.

    Raises:
        LiveAlignError: the variable is no number from 0 to 1,000.
    """
    text = os.environ.get(VARIABLE, str(NEGATIVES_PER_PLAY))
    if not (text.isascii() and text.isdigit() and int(text) <= 1_000):
        raise LiveAlignError(f"{VARIABLE}={text}: give a whole number from 0 to 1000")
    return int(text)


@dataclass(frozen=True)
class Candidates:
    """m rooms shown over [start, end) each, in classes of doubling length, each by start."""

    place: Ints  # [m] of each in the order that was given
    starts: Ints  # [m]
    ends: Ints  # [m]
    owners: Ints  # [m]
    classes: tuple[tuple[int, int, int], ...]  # first, last + 1, and the greatest length of each

    @classmethod
    def build(cls, starts: Ints, ends: Ints, owners: Ints) -> "Candidates":
        """Candidates from starts, ends and owners [m]; one that ends as it starts is never shown."""
        lengths = np.maximum(ends - starts, 0)
        kinds = np.ceil(np.log2(np.maximum(lengths, 1))).astype(np.int64)
        place = np.lexsort((starts, kinds))
        firsts = np.flatnonzero(np.diff(kinds[place], prepend=-1))
        bounds = [*firsts.tolist(), len(place)]
        classes = tuple((low, high, int(lengths[place[low:high]].max())) for low, high in pairwise(bounds))
        return cls(place, starts[place], ends[place], owners[place], classes)

    def windows(self, at: Ints) -> tuple[Ints, Ints]:
        """First index and size [n, classes] of what each class may show at each moment."""
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
    """At most `per_play` candidates for each of n plays, a chunk of plays at a time.

    Where more candidates are shown than a play's draws look at, it may get a few less than `per_play`.

    Args:
        play_ids: [n], which seed the draws.
        at: [n] moments, on the clock of the candidates.
        chosen: [n] owners of the rooms that were entered.
        candidates: everything that could be shown.
        per_play: how many at most.
        seed: another one gives another sample.

    Yields:
        The plays of the chunk [c], as indices of the input; and for each negative [p] its play, an index of the input, and
        its candidate, an index into the arrays that `Candidates.build` was given. Sorted by play.
    """
    draws = max(1, DRAWS * per_play)
    for start in range(0, len(play_ids), CHUNK_PLAYS):
        plays = np.arange(start, min(start + CHUNK_PLAYS, len(play_ids)))
        if not per_play or not len(candidates.place):
            yield plays, np.zeros(0, np.int64), np.zeros(0, np.int64)
            continue
        drawn = _draw(play_ids[plays], at[plays], candidates, draws, seed)
        there = drawn >= 0
        row = np.maximum(drawn, 0)
        moment = at[plays][:, None]
        shown = there & (candidates.starts[row] <= moment) & (candidates.ends[row] > moment)
        fit = shown & (candidates.owners[row] != chosen[plays][:, None]) & _first_of_row(drawn)
        kept = fit & (np.cumsum(fit, axis=1) <= per_play)
        which, column = np.nonzero(kept)
        yield plays, plays[which], candidates.place[drawn[which, column]]


def _draw(play_ids: Ints, at: Ints, candidates: Candidates, draws: int, seed: int) -> Ints:
    """[n, draws] candidates that may be shown, at random; all where they are few; −1 for none."""
    firsts, sizes = candidates.windows(at)
    ends = np.cumsum(sizes, axis=1)
    total = ends[:, -1:]
    numbers = np.tile(np.arange(draws), len(play_ids))
    random = event_ids(f"negatives {seed}", np.repeat(play_ids, draws), numbers).reshape(-1, draws)
    few = np.arange(draws)[None, :] < total
    shuffled = np.argsort(np.where(few, random, np.iinfo(np.int64).max), axis=1, kind="stable")
    position = np.where(total <= draws, shuffled, random % np.maximum(total, 1))
    drawn = np.full(position.shape, -1, np.int64)
    for number in range(sizes.shape[1]):
        begin = ends[:, number : number + 1] - sizes[:, number : number + 1]
        here = (position >= begin) & (position < ends[:, number : number + 1])
        drawn = np.where(here, firsts[:, number : number + 1] + position - begin, drawn)
    return drawn


def _first_of_row(values: Ints) -> npt.NDArray[np.bool_]:
    """Whether each value is the first of its kind in its row."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    first = np.ones(values.shape, np.bool_)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    unsorted = np.empty_like(first)
    np.put_along_axis(unsorted, order, first, axis=1)
    return unsorted
