"""Usage, entropy and churn of a codebook.

    health = codebook_health(codebook, vectors)
    code_churn(previous, present)                    # the same vectors under two codebooks
    refresh_churn(codes, room_id, started_at)        # from one segment of a room to its next

Numbers of a batch would be biased upwards, so all vectors of the corpus count.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.codes.codebook import Codebook, Codes, Floats


class LevelHealth(NamedTuple):
    """Health of one level over the whole corpus."""

    used: int  # codes with at least one vector
    dead: int  # codes without vectors
    usage: float  # used / codes
    entropy_ratio: float  # entropy of the code distribution / log(codes); 1 = all codes equally used
    perplexity: float  # exp(entropy): the effective number of codes
    largest_share: float  # of vectors in the fullest code
    gini: float  # of the code counts; 0 = all equal
    residual_norm: float  # mean length of the residual after this level


class CodebookHealth(NamedTuple):
    """Health of a codebook over the whole corpus."""

    levels: tuple[LevelHealth, ...]
    unique_share: float  # distinct code tuples / distinct vectors
    largest_bucket: float  # share of vectors in the fullest tuple
    vectors: int
    distinct: int  # distinct vectors, the largest possible number of distinct code tuples


def codebook_health(codebook: Codebook, vectors: Floats) -> CodebookHealth:
    """Health over the whole corpus [n, dim], n at least 1."""
    codes, norms = codebook.encode_with_residuals(vectors)
    _, buckets = np.unique(codes, axis=0, return_counts=True)
    distinct = len(np.unique(np.ascontiguousarray(vectors).view([("", vectors.dtype)] * vectors.shape[1])))
    levels = tuple(
        _level_health(codes[:, level], codebook.codes_per_level, norms[:, level]) for level in range(codebook.levels)
    )
    return CodebookHealth(levels, len(buckets) / distinct, float(buckets.max() / len(codes)), len(codes), distinct)


def evenness(perplexity: float, codes: int) -> float:
    """Entropy of a level / the largest entropy of `codes` codes; 1 for a single code."""
    return float(np.log(perplexity) / np.log(codes)) if codes > 1 else 1.0


def code_churn(previous: Codes, present: Codes, level: int = 0) -> float:
    """Share of vectors whose codes [n, levels] of two codebooks differ at `level`; 0 if n is 0."""
    return float((previous[:, level] != present[:, level]).mean()) if len(previous) else 0.0


def refresh_churn(codes: Codes, room_id: NDArray[np.int64], started_at: NDArray[np.int64]) -> float:
    """Share of steps from a room's segment to its next that change the first code.

    It is 0 without steps.
    """
    order = np.lexsort((started_at, room_id))
    same_room = room_id[order][1:] == room_id[order][:-1]
    changed = codes[order][1:, 0] != codes[order][:-1, 0]
    return float(changed[same_room].mean()) if same_room.any() else 0.0


def _level_health(codes: NDArray[np.int32], size: int, norms: Floats) -> LevelHealth:
    counts = np.bincount(codes, minlength=size)
    share = counts[counts > 0] / counts.sum()
    perplexity = float(np.exp(-(share * np.log(share)).sum()))
    used = len(share)
    rising = np.sort(counts)
    gini = float((2 * np.arange(1, size + 1) - size - 1) @ rising / (size * rising.sum()))
    return LevelHealth(
        used=used,
        dead=size - used,
        usage=used / size,
        entropy_ratio=evenness(perplexity, size),
        perplexity=perplexity,
        largest_share=float(share.max()),
        gini=gini,
        residual_norm=float(norms.mean()),
    )
