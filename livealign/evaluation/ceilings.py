"""The ceilings of a simulated day: true click probabilities.

    ceilings = day_ceilings(corpus, truth, texts)   # by column of `truth.ORACLES`, float64 [n] each

Each ceiling comes twice: as the user met the card, and "of any place", without the effect of its place in the list. A ranker
decides the place itself, so its scores are for the mean place, and the ceilings of any place are those to compare it with.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from livealign.dataset.corpus import Corpus
from livealign.evaluation.day_truth import DayTruth
from livealign.evaluation.text_oracle import text_oracle
from livealign.simulation.truth import ANY_PLACE, ORACLES

Floats = NDArray[np.float64]


def day_ceilings(corpus: Corpus, truth: DayTruth, texts: Sequence[str]) -> dict[str, Floats]:
    """The ceilings of the held-out impressions.

    Args:
        texts: of the corpus' segments but row 0, as the LLM reads them.
    """
    by_text = text_oracle(corpus, truth, texts)
    place = place_effect(truth.position, corpus.test.position)
    ceilings = {**truth.probabilities, ORACLES["oracle_text"]: by_text.probabilities()}
    any_place = {column: without_place(probability, place) for column, probability in truth.probabilities.items()}
    any_place[ORACLES["oracle_text"]] = by_text.probabilities(without=place)
    return ceilings | {column + ANY_PLACE: probability for column, probability in any_place.items()}


def place_effect(strength: float, position: NDArray) -> Floats:
    """Log odds of a click [n] that the place in the list adds beyond the mean place.

    Args:
        strength: log odds by log1p of the place (`DayTruth.position`).
        position: [n] the place, counted from 0.
    """
    effect = strength * np.log1p(position.astype(np.float64))
    return effect - effect.mean()


def without_place(probability: Floats, place: Floats) -> Floats:
    """The probability [n] at the mean place; `place` [n] holds log odds."""
    odds = probability / (1 - probability) * np.exp(-place)
    return odds / (1 + odds)
