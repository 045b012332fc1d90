"""The order in which tuning takes its pairs, and the learning rate of each step."""

import math
from collections.abc import Iterator

import numpy as np

from livealign.config import FinetuneConfig
from livealign.tuning.pairs import TextPairs


def learning_rate_factor(step: int, config: FinetuneConfig) -> float:
    """Share of the full learning rate at a step counted from 0: linear warm-up, then cosine."""
    warmup = max(1, round(config.warmup_share * config.steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, config.steps - warmup)))


def batches_of(pairs: TextPairs, config: FinetuneConfig) -> Iterator[TextPairs]:
    """Endless batches; the pairs get a new seeded order after each pass."""
    rng = np.random.default_rng(config.seed)
    size = min(config.batch_size, pairs.n_groups)
    order = np.zeros(0, np.int64)
    while True:
        if len(order) < size:
            order = order_of_groups(pairs, size, rng)
        yield pairs.take_groups(order[:size])
        order = order[size:]


def order_of_groups(pairs: TextPairs, size: int, rng: np.random.Generator) -> np.ndarray:
    """A random order of the groups, int64.

    If they have authors, each batch of `size` has a single author. The groups left over from each author come last, in mixed
    batches.
    """
    order = rng.permutation(pairs.n_groups)
    if pairs.author is None:
        return order
    author = pairs.author[:: pairs.windows][order]
    of_each = [order[author == author_id] for author_id in np.unique(author)]
    whole = [rows[: len(rows) // size * size].reshape(-1, size) for rows in of_each]
    batches = rng.permutation(np.concatenate(whole)).ravel()
    return np.concatenate([batches, *(rows[len(rows) // size * size :] for rows in of_each)])
