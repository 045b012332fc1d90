"""Pictures whose colour predicts what is said: what a projector should find is known."""

import numpy as np
from numpy.typing import NDArray

from livealign.llm.prefix import Pictures
from livealign.tuning.pairs import NO_USER, PairPictures, TextPairs
from tests.planted.text_pairs import SUBJECTS, sentence

IMAGES = "0" * 64  # hash of the image encoder that nobody loads
TOKENS = 4
WIDTH = 12

Floats = NDArray[np.float32]


def colour_of(subject: str, rng: np.random.Generator) -> Floats:
    """Features of a picture of the subject: a colour of its own, and noise."""
    own = np.random.default_rng(list(SUBJECTS).index(subject)).normal(size=WIDTH)
    return (own + 0.3 * rng.normal(size=WIDTH)).astype(np.float32)


def coloured_pairs(count: int = 600, seed: int = 3) -> TextPairs:
    """Pairs of a picture without a word, and a text about what it shows."""
    rng = np.random.default_rng(seed)
    subjects = rng.choice(list(SUBJECTS), count)
    rooms, zeros, without = np.arange(count), np.zeros(count, np.int64), np.full(count, -1, np.int64)
    features = np.stack([colour_of(subject, rng) for subject in subjects])
    return TextPairs(
        [""] * count,
        [sentence(subject, rng) for subject in subjects],
        *(rooms, rooms, zeros, zeros, np.full(count, NO_USER)),
        pictures=PairPictures(features, rooms, without, TOKENS, IMAGES),
    )


def pictures_of(subjects: list[str], seed: int = 5) -> Pictures:
    """A new picture of each subject."""
    rng = np.random.default_rng(seed)
    return Pictures(np.stack([colour_of(subject, rng) for subject in subjects]), np.arange(len(subjects)))
