"""Does content earn its place? Towers of the author ID alone are trained beside the gated ones, and both rank rooms kept apart.

A gate that is learned with everything else will use whatever lowers the training loss, and on a platform whose authors are
each one topic that is noise about the ID. Here content has to show a gain on rooms that neither saw.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.alignment_model import Alignment, item_vectors
from livealign.config import AlignmentConfig
from livealign.dataset import Corpus, Examples
from livealign.metrics import UserAuc, user_auc

Train = Callable[[Corpus, str], Alignment]  # (corpus, gate mode) → trained towers


class ContentCheck(NamedTuple):
    """What content gained over the author ID on the rooms kept apart."""

    gain: float  # GAUC with content − GAUC of the ID alone
    error: float  # standard error of the gain, over users
    users: int  # who can be compared

    @property
    def earned(self) -> bool:
        """Whether the gain is more than its standard error. Where nobody can be compared, nothing speaks against content."""
        return not self.users or self.gain > self.error


def check_content(corpus: Corpus, content: NDArray[np.float32], config: AlignmentConfig, train: Train) -> ContentCheck:
    """Train with and without content on all rooms but a share (`config.check_share`), and compare the two on that share."""
    apart = rooms_apart(corpus.train, config.check_share, config.seed)
    learned_from = replace(corpus, train=corpus.train.take(~apart))
    known = corpus.train.take(apart & ~np.isnan(corpus.train.label("click")))
    if not len(known) or not np.nansum(learned_from.train.label("click")):
        return ContentCheck(0.0, 0.0, 0)
    with_content, by_id = (_within_users(train(learned_from, mode), corpus, content, known) for mode in ("learned", "id"))
    return _paired(with_content, by_id)


def rooms_apart(examples: Examples, share: float, seed: int) -> NDArray[np.bool_]:
    """[n] whether an impression is of one of the rooms kept apart: about `share` of them, drawn by the seed."""
    rooms, of_example = np.unique(examples.room_id, return_inverse=True)
    return (np.random.default_rng(seed).random(len(rooms)) < share)[of_example]


def _within_users(alignment: Alignment, corpus: Corpus, content: NDArray[np.float32], examples: Examples) -> UserAuc:
    logits = alignment.logits(examples, item_vectors(alignment, corpus, content))
    return user_auc(logits, examples.label("click"), examples.user_id)


def _paired(with_content: UserAuc, by_id: UserAuc) -> ContentCheck:
    """Users are compared with themselves, by their impressions' weight."""
    kept = with_content.evaluable
    if not kept.any():
        return ContentCheck(0.0, 0.0, 0)
    weights = with_content.impressions[kept] / with_content.impressions[kept].sum()
    differences = with_content.auc[kept] - by_id.auc[kept]
    gain = float((weights * differences).sum())
    error = float(np.sqrt((weights**2 * (differences - gain) ** 2).sum()))
    return ContentCheck(gain, error, len(differences))
