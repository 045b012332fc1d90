"""The pictures of the pairs that the LLM is tuned on, with modality dropout.

A picture is of the window of its text. Two windows of one room, or one window twice, are tuned on with at most one picture: a
room's wall and its host's face would give the pair away, as the same title on both sides would. So either

- one side is a picture without any text and the other a text without its picture (frame ↔ text of the same moment), or
- one side is a text with its picture and the other a text, or
- neither side has a picture, as for rooms without any.

Windows of different rooms that one user watched are read as in serving, each side with its picture, without it, or as the
picture alone.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from livealign.dataset.columns import rows_by_key
from livealign.errors import TrainingError
from livealign.ids import segment_ids
from livealign.llm.prefix import Pictures
from livealign.tuning.pairs import NO_USER, PairPictures, TextPairs

# Shares of the pairs with a picture: as picture alone, as text with picture; the rest as text alone.
ALONE, BESIDE_TEXT = 0.5, 0.25


def with_pictures(
    pairs: TextPairs, frame_segments: NDArray[np.int64], features: NDArray[np.float32], tokens: int, images: str, seed: int
) -> TextPairs:
    """The pairs with pictures, some of which replace a side's text.

    Args:
        frame_segments: ids [m] of the segments that have a picture; features: of these pictures, float32 [m, width].
        tokens: of a picture. images: SHA-256 of the image encoder.

    Raises:
        TrainingError: no window of a pair has a picture, or the pairs are of whole broadcasts.
    """
    if pairs.windows > 1 or pairs.author is not None:
        raise TrainingError(
            "pairs of whole broadcasts have no pictures; set finetune.broadcast_windows or frames.prefix_tokens to 0"
        )
    ids = [segment_ids(pairs.left_room, pairs.left_window), segment_ids(pairs.right_room, pairs.right_window)]
    frame = np.stack([rows_by_key(frame_segments, side) for side in ids])  # [2, n]
    if not (frame >= 0).any():
        raise TrainingError("no window that the LLM is tuned on has a picture; set frames.prefix_tokens to 0")
    rng = np.random.default_rng((seed, 0x1A6E))
    chance, side = rng.random((2, len(pairs))), rng.integers(2, size=len(pairs))
    apart = pairs.user != NO_USER
    # Of two windows of a room one has a picture: the drawn one, or the only one that has any.
    side = np.where(frame[side, np.arange(len(pairs))] >= 0, side, 1 - side)
    chance[:, ~apart] = np.where(np.arange(2)[:, None] == side, chance[0], 1.0)[:, ~apart]
    alone, beside = chance < ALONE, (chance >= ALONE) & (chance < ALONE + BESIDE_TEXT)
    frame = np.where(alone | beside, frame, -1)
    alone &= frame >= 0
    texts = [
        ["" if gone else text for gone, text in zip(side_alone, side_texts, strict=True)]
        for side_alone, side_texts in zip(alone.tolist(), (pairs.left, pairs.right), strict=True)
    ]
    distinct = Pictures(features, frame.ravel()).renumbered()
    left, right = distinct.row.reshape(frame.shape)
    pictures = PairPictures(distinct.features, left, right, tokens, images)
    return replace(pairs, left=texts[0], right=texts[1], pictures=pictures)
