"""What could be won on a held-out day of the simulated platform: true click probabilities, by how much is known.

    truth = day_ceilings(corpus, marts, archive, segments)   # by column of `heldout.ORACLES`, float64 [n] each

Each comes twice: as the user met the card, and with what its place in the list did to the click taken out. It is the ranker
who decides the place, so its scores are those of the mean place, and what it can be measured by are the ceilings of any place.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livealign.config import SegmentConfig
from livealign.dataset import Corpus
from livealign.heldout import ANY_PLACE, ORACLES, read_truth
from livealign.text_oracle import log_odds_of, text_oracle

Floats = NDArray[np.float64]


def day_ceilings(corpus: Corpus, marts: Path, archive: Path, segments: SegmentConfig) -> dict[str, Floats] | None:
    """The ceilings of the held-out impressions; None on every real platform.

    Raises:
        EvaluationError: the truth of a simulated archive is damaged, or was written by another version.
    """
    truth = read_truth(archive, corpus.test.impression_id, corpus.day)
    by_text = text_oracle(corpus, marts, archive, segments)
    if truth is None or by_text is None:
        return truth
    place = place_effect(archive, corpus.test.position)
    any_place = {column: without_place(probability, place) for column, probability in truth.items()}
    truth[ORACLES["oracle_text"]] = by_text.probabilities()
    any_place[ORACLES["oracle_text"]] = by_text.probabilities(without=place)
    return truth | {column + ANY_PLACE: probability for column, probability in any_place.items()}


def place_effect(archive: Path, position: NDArray) -> Floats:
    """[n] what the place in the list, from 0, adds to the log odds of a click beyond what the mean one does."""
    (strength,) = log_odds_of(archive, "position")
    effect = strength * np.log1p(position.astype(np.float64))
    return effect - effect.mean()


def without_place(probability: Floats, place: Floats) -> Floats:
    """[n] the probability at the mean place; `place` [n] log odds."""
    odds = probability / (1 - probability) * np.exp(-place)
    return odds / (1 + odds)
