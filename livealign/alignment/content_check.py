"""Does content earn its place, and with which authors? Towers with and without it judge rooms that neither saw.

A gate that is learned with everything else will use whatever lowers the training loss, and where an author's words are not
about what they air that is noise about the ID. So the training rooms are halved; towers of the author ID alone and towers with
content at a fixed mean learn from each half and foresee the clicks of the other. What content gained there says how far it is
to be trusted with each author (`livealign.alignment.author_trust`), and, with those that it is trusted with, whether to use it
at all.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.alignment.author_trust import trust_by_author
from livealign.alignment.towers import Alignment, item_vectors
from livealign.dataset.corpus import Corpus
from livealign.dataset.examples import Examples
from livealign.metrics import UserAuc, user_auc

Train = Callable[[Corpus, str], Alignment]  # (corpus, gate mode) → trained towers
Floats = NDArray[np.float64]


class ContentCheck(NamedTuple):
    """What content gained over the author ID on rooms that the towers did not see."""

    gain: float  # GAUC with the content of trusted authors − GAUC of the ID alone
    error: float  # standard error of the gain, over users
    users: int  # who can be compared
    trust: NDArray[np.float32]  # [authors] how probable it is that content tells more than the ID; row 0: of an unknown author

    @property
    def earned(self) -> bool:
        """Whether the gain is more than two standard errors. Where nobody can be compared, nothing speaks against content."""
        return not self.users or self.gain > 2 * self.error


def check_content(corpus: Corpus, content: NDArray[np.float32], seed: int, train: Train) -> ContentCheck:
    """Train with and without content on each half of the rooms, and compare the two on the other half."""
    examples = corpus.train.take(~np.isnan(corpus.train.label("click")))
    click, half = examples.label("click").astype(np.float64), halves_of_rooms(examples, seed)
    if min(click[half == one].sum() for one in (0, 1)) == 0:
        return ContentCheck(0.0, 0.0, 0, np.ones(corpus.authors.size, dtype=np.float32))
    by_content, by_id = (np.zeros(len(examples)) for _ in range(2))
    for one in (0, 1):
        learned_from, apart = replace(corpus, train=examples.take(half != one)), np.flatnonzero(half == one)
        for logits, mode in ((by_content, "mean"), (by_id, "id")):
            towers = train(learned_from, mode)
            logits[apart] = towers.logits(examples.take(apart), item_vectors(towers, corpus, content), at_place=True)

    gain = _log_loss(by_id, click) - _log_loss(by_content, click)

    def trust(rows: NDArray[np.bool_] | slice) -> NDArray[np.float32]:
        return trust_by_author(gain[rows], examples.author[rows], examples.room_id[rows], corpus.authors.size)

    # Authors are trusted by what the other half says of them: no impression is judged by the clicks that it was chosen by.
    trusted = np.where(half == 0, trust(half == 1)[examples.author], trust(half == 0)[examples.author]) > 0.5
    compared = (user_auc(score, click, examples.user_id) for score in (np.where(trusted, by_content, by_id), by_id))
    return ContentCheck(*_paired(*compared), trust(slice(None)))


def halves_of_rooms(examples: Examples, seed: int) -> NDArray[np.int64]:
    """[n] which half, 0 or 1, the room of an impression is in: as even as can be, drawn by the seed."""
    rooms, of_example = np.unique(examples.room_id, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(rooms)) % 2)[of_example]


def _log_loss(logits: Floats, click: Floats) -> Floats:
    return np.logaddexp(0, logits) - click * logits


def _paired(with_content: UserAuc, by_id: UserAuc) -> tuple[float, float, int]:
    """Gain, its standard error, and users. They are compared with themselves, by their impressions' weight."""
    kept = with_content.evaluable
    if not kept.any():
        return 0.0, 0.0, 0
    weights = with_content.impressions[kept] / with_content.impressions[kept].sum()
    differences = with_content.auc[kept] - by_id.auc[kept]
    gain = float((weights * differences).sum())
    error = float(np.sqrt((weights**2 * (differences - gain) ** 2).sum()))
    return gain, error, len(differences)
