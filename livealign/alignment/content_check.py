"""Test on unseen rooms whether content beats the author ID.

A gate that is learned with everything else uses whatever lowers the training loss. For an author whose words are not about
what they air, content is then noise beside the ID. So the training rooms are halved. On each half, towers of the author ID
alone and towers with content at a fixed mean are trained; they predict the clicks of the other half. The gain of content
there gives the trust in each author's content (`livealign.alignment.author_trust`), and the gain over the trusted authors
decides whether content is used at all.
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
    """The gain of content over the author ID on rooms that the towers did not see."""

    gain: float  # GAUC with the content of trusted authors − GAUC of the ID alone
    error: float  # standard error of the gain, over users
    users: int  # compared
    trust: NDArray[np.float32]  # [authors] probability that content beats the ID; row 0: of an unknown author

    @property
    def earned(self) -> bool:
        """Whether the gain is more than two standard errors, or no user can be compared."""
        return not self.users or self.gain > 2 * self.error


def check_content(corpus: Corpus, content: NDArray[np.float32], seed: int, train: Train) -> ContentCheck:
    """Train with and without content on each half of the rooms; compare on the other half."""
    examples = corpus.train.take(~np.isnan(corpus.train.label("click")))
    click, half = examples.label("click").astype(np.float64), halves_of_rooms(examples, seed)
    if min(click[half == side].sum() for side in (0, 1)) == 0:
        return ContentCheck(0.0, 0.0, 0, np.ones(corpus.authors.size, dtype=np.float32))
    by_content, by_id = (np.zeros(len(examples)) for _ in range(2))
    for side in (0, 1):
        trained_on, unseen = replace(corpus, train=examples.take(half != side)), np.flatnonzero(half == side)
        for logits, mode in ((by_content, "mean"), (by_id, "id")):
            towers = train(trained_on, mode)
            logits[unseen] = towers.logits(examples.take(unseen), item_vectors(towers, corpus, content), at_place=True)

    gain = _log_loss(by_id, click) - _log_loss(by_content, click)

    def trust(rows: NDArray[np.bool_] | slice) -> NDArray[np.float32]:
        return trust_by_author(gain[rows], examples.author[rows], examples.room_id[rows], corpus.authors.size)

    # Trust comes from the other half, so that no impression is measured by the clicks that chose its author.
    trusted = np.where(half == 0, trust(half == 1)[examples.author], trust(half == 0)[examples.author]) > 0.5
    compared = (user_auc(score, click, examples.user_id) for score in (np.where(trusted, by_content, by_id), by_id))
    return ContentCheck(*_paired(*compared), trust(slice(None)))


def halves_of_rooms(examples: Examples, seed: int) -> NDArray[np.int64]:
    """[n] half, 0 or 1, of each impression's room: of equal size, drawn by the seed."""
    rooms, of_example = np.unique(examples.room_id, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(rooms)) % 2)[of_example]


def _log_loss(logits: Floats, click: Floats) -> Floats:
    return np.logaddexp(0, logits) - click * logits


def _paired(with_content: UserAuc, by_id: UserAuc) -> tuple[float, float, int]:
    """(gain, its standard error, number of users); each user's difference weighs by the user's impressions."""
    rows = with_content.evaluable
    if not rows.any():
        return 0.0, 0.0, 0
    weights = with_content.impressions[rows] / with_content.impressions[rows].sum()
    differences = with_content.auc[rows] - by_id.auc[rows]
    gain = float((weights * differences).sum())
    error = float(np.sqrt((weights**2 * (differences - gain) ** 2).sum()))
    return gain, error, len(differences)
