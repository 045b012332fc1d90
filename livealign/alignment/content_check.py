"""Test on unseen rooms what each source of content adds to the author ID.

A gate that is learned with everything else uses whatever lowers the training loss. For an author whose words are not about
what they air, content is then noise beside the ID. So the training rooms are halved. On each half, towers of the author ID
alone and towers with a source at a fixed mean are trained; they predict the clicks of the other half. The gain of the source
there gives the trust in it for each author (`livealign.alignment.author_trust`), and the gain over the trusted authors decides
whether the source is used at all.

Several sources that beat the ID are added one after another, the best first: the next one is measured beside those that are
used already, and so by what it adds to them (forward selection; Guyon and Elisseeff, JMLR 2003). A source that adds nothing is
not used, and the towers are then exactly those without it. Trust is always that of the source alone against the ID: for an
author of whom two sources say the same, both are right.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.alignment.author_trust import trust_by_author
from livealign.alignment.towers import Alignment, item_vectors
from livealign.dataset.corpus import Corpus
from livealign.dataset.examples import Examples
from livealign.metrics import UserAuc, user_auc

Trust = NDArray[np.float32]  # [authors, sources], 0 to 1
Train = Callable[[Corpus, Sequence[int], Trust | None], Alignment]  # (corpus, used sources, trust) → trained towers
Floats = NDArray[np.float64]


class SourceCheck(NamedTuple):
    """The gain of one source on rooms that the towers did not see."""

    gain: float  # GAUC with the source for trusted authors − GAUC without it
    error: float  # standard error of the gain, over users
    users: int  # compared
    trust: NDArray[np.float32]  # [authors] probability that it beats the ID alone; row 0: of an unknown author
    beside: tuple[int, ...] = ()  # the sources that it was added to; none: the ID alone

    @property
    def earned(self) -> bool:
        """Whether the gain is more than two standard errors, or no user can be compared."""
        return not self.users or self.gain > 2 * self.error


class ContentCheck(NamedTuple):
    """The gain of each source, in the order of a content row."""

    sources: tuple[SourceCheck, ...]

    @property
    def earned(self) -> bool:
        """Whether any source is used."""
        return any(source.earned for source in self.sources)

    @property
    def unused(self) -> tuple[int, ...]:
        """Places of the sources that did not gain."""
        return tuple(place for place, source in enumerate(self.sources) if not source.earned)

    @property
    def trust(self) -> Trust:
        """Trust in each source for each author; 0 in an unused source."""
        return np.stack([source.trust * source.earned for source in self.sources], axis=1).astype(np.float32)


def check_content(corpus: Corpus, content: NDArray[np.float32], widths: Sequence[int], seed: int, train: Train) -> ContentCheck:
    """Train with and without each source on each half of the rooms; compare on the other half."""
    examples = corpus.train.take(~np.isnan(corpus.train.label("click")))
    half = halves_of_rooms(examples, seed)
    click, authors = examples.label("click").astype(np.float64), corpus.authors.size
    if min(click[half == side].sum() for side in (0, 1)) == 0:
        return ContentCheck(tuple(SourceCheck(0.0, 0.0, 0, np.ones(authors, dtype=np.float32)) for _ in widths))
    halves = _Halves(corpus, content, examples, half, click)
    by_id = halves.logits((), (None, None), train)
    judged = {
        place: halves.judge(halves.logits((place,), (None, None), train), by_id, place)
        for place, part in enumerate(np.split(content, np.cumsum(widths)[:-1], axis=1))
        if part.any()
    }
    nothing = SourceCheck(0.0, 0.0, 1, np.zeros(authors, dtype=np.float32))
    checks = [judged[place].check if place in judged else nothing for place in range(len(widths))]
    used: list[_Judged] = []
    for place in sorted(judged, key=lambda place: -checks[place].gain):
        if not checks[place].earned:
            continue
        found = judged[place]
        if used:
            beside = tuple(other.place for other in used)
            logits = halves.logits((*beside, place), halves.trust_of([*used, found], len(widths)), train)
            found = halves.judge_beside(logits, used[-1].logits, found, beside)
            checks[place] = found.check
        if found.check.earned:
            used.append(found)
    return ContentCheck(tuple(checks))


class _Judged(NamedTuple):
    place: int
    check: SourceCheck
    by_half: tuple[NDArray[np.float32], NDArray[np.float32]]  # [authors] trust by the rooms of each half
    logits: Floats  # [n] with the source for trusted authors, without it for the others


class _Halves(NamedTuple):
    """The training impressions with a known click, and the half of each."""

    corpus: Corpus
    content: NDArray[np.float32]
    examples: Examples
    half: NDArray[np.int64]
    click: Floats

    def logits(self, used: Sequence[int], trust: Sequence[Trust | None], train: Train) -> Floats:
        """[n] logits of a click by towers that were trained on the other half.

        Args:
            trust: for the towers that predict each half.
        """
        logits = np.zeros(len(self.examples))
        for side in (0, 1):
            unseen = np.flatnonzero(self.half == side)
            towers = train(replace(self.corpus, train=self.examples.take(self.half != side)), used, trust[side])
            items = item_vectors(towers, self.corpus, self.content)
            logits[unseen] = towers.logits(self.examples.take(unseen), items, at_place=True)
        return logits

    def judge(self, logits: Floats, by_id: Floats, place: int) -> _Judged:
        """The gain of `logits` by one source over those by the ID, and the trust by author."""
        gain, author, room = (
            _log_loss(by_id, self.click) - _log_loss(logits, self.click),
            self.examples.author,
            self.examples.room_id,
        )

        def trust(rows: NDArray[np.bool_] | slice) -> NDArray[np.float32]:
            return trust_by_author(gain[rows], author[rows], room[rows], self.corpus.authors.size)

        # Trust comes from the other half, so that no impression is measured by the clicks that chose its author.
        by_half = trust(self.half == 1), trust(self.half == 0)
        chosen = self._for_trusted(by_half, logits, by_id)
        return _Judged(place, SourceCheck(*self._gain(chosen, by_id), trust(slice(None))), by_half, chosen)

    def judge_beside(self, logits: Floats, without: Floats, alone: _Judged, beside: tuple[int, ...]) -> _Judged:
        """The gain of `logits` with one more source, judged `alone` before, over those `without`."""
        chosen = self._for_trusted(alone.by_half, logits, without)
        check = SourceCheck(*self._gain(chosen, without), alone.check.trust, beside)
        return alone._replace(check=check, logits=chosen)

    def _for_trusted(self, by_half: tuple[NDArray[np.float32], ...], logits: Floats, without: Floats) -> Floats:
        """`logits` of the impressions of trusted authors, and those `without` the source of the others."""
        author = self.examples.author
        return np.where(np.where(self.half == 0, by_half[0][author], by_half[1][author]) > 0.5, logits, without)

    def _gain(self, more: Floats, less: Floats) -> tuple[float, float, int]:
        return _paired(*(user_auc(logits, self.click, self.examples.user_id) for logits in (more, less)))

    def trust_of(self, used: Sequence[_Judged], sources: int) -> tuple[Trust, Trust]:
        """For the towers that predict each half: trust in the used sources by the other half."""
        trust = tuple(np.ones((self.corpus.authors.size, sources), dtype=np.float32) for _ in (0, 1))
        for source in used:
            for side in (0, 1):
                trust[side][:, source.place] = source.by_half[side]
        return trust[0], trust[1]


def halves_of_rooms(examples: Examples, seed: int) -> NDArray[np.int64]:
    """[n] half, 0 or 1, of each impression's room: of equal size, drawn by the seed."""
    rooms, of_example = np.unique(examples.room_id, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(rooms)) % 2)[of_example]


def _log_loss(logits: Floats, click: Floats) -> Floats:
    return np.logaddexp(0, logits) - click * logits


def _paired(more: UserAuc, less: UserAuc) -> tuple[float, float, int]:
    """(gain, its standard error, number of users); each user's difference weighs by the user's impressions."""
    rows = more.evaluable
    if not rows.any():
        return 0.0, 0.0, 0
    weights = more.impressions[rows] / more.impressions[rows].sum()
    differences = more.auc[rows] - less.auc[rows]
    gain = float((weights * differences).sum())
    error = float(np.sqrt((weights**2 * (differences - gain) ** 2).sum()))
    return gain, error, len(differences)
