"""Train the ranker.

With codes, users' tastes (`livealign.ranking.tastes`) are learned first and the ranker reads their score of the room. After
training, its probabilities are calibrated on requests kept out of training (`livealign.ranking.calibration`).
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from livealign.config import RankerConfig
from livealign.dataset.corpus import Corpus
from livealign.dataset.scaling import mean_and_std, position_index
from livealign.days import DAY_MS
from livealign.errors import TrainingError
from livealign.ranking.calibration import calibration, calibration_split
from livealign.ranking.inputs import ImpressionTable, history_matches
from livealign.ranking.network import ItemTable, RankerNetwork, RankerSizes, masked_loss
from livealign.ranking.ranker import Ranker
from livealign.ranking.tastes import learn_tastes
from livealign.seeding import seeded


def train_ranker(
    corpus: Corpus,
    items: ItemTable,
    config: RankerConfig,
    codebook_version: str = "",
    codes_per_level: int = 0,
    device: torch.device | str = "cpu",
) -> Ranker:
    """Train on the corpus' training impressions.

    The same config and seed give the same ranker.

    Args:
        items: vectors and codes of the corpus' item rows.
        codebook_version, codes_per_level: of the codebook that made `items.codes`.

    Raises:
        TrainingError: no impressions, codes without a codebook, or a loss that is not finite.
    """
    if not len(corpus.train):
        raise TrainingError(f"there are no impressions in the training days {corpus.train_days}; nothing to rank")
    if items.codes is not None and not (codebook_version and codes_per_level):
        raise TrainingError("a ranker with codes has to name the codebook they come from")
    device = torch.device(device)
    with seeded(config.seed, device):
        return _train(corpus, items, config, codebook_version, codes_per_level, device)


def _train(
    corpus: Corpus, items: ItemTable, config: RankerConfig, codebook_version: str, codes_per_level: int, device: torch.device
) -> Ranker:
    examples = corpus.train
    sizes = RankerSizes(
        users=corpus.users.size,
        authors=corpus.authors.size,
        levels=0 if items.codes is None else items.codes.shape[1],
        codes_per_level=codes_per_level,
        vector_dim=0 if items.vectors is None else items.vectors.shape[1],
        features=examples.features.shape[1],
        history_length=examples.places,
        tasks=len(config.tasks),
    )
    matches, tastes, scores = history_matches(examples, items), None, None
    if items.codes is not None:
        tastes, scores = learn_tastes(
            examples, items.codes, items.vectors, sizes.users, codes_per_level, config.positions, device
        )
        # The first days are for the tastes alone: in serving, a score is never from so few days.
        rows = _after_first_days(examples.shown_at, config.taste_days_share)
        examples, matches, scores = examples.take(rows), np.column_stack([matches, scores])[rows], scores[rows]
    fit, held_out = calibration_split(examples.request, config)
    all_examples, examples, matches = examples, examples.take(fit), matches[fit]
    user_l2 = config.user_l2 if tastes is None else config.user_l2_with_tastes
    scales = dict(
        zip(
            ("feature_mean", "feature_std", "match_mean", "match_std"),
            (*mean_and_std(examples.features), *mean_and_std(matches)),
            strict=True,
        )
    )
    table = ImpressionTable.of(examples, items, sizes, scales, device, config.positions, matches)
    network = RankerNetwork(sizes, config)
    share = np.bincount(position_index(examples.position, config.positions), minlength=config.positions + 1)
    share[0] = 0  # an unknown position has no term, so it does not count in the mean
    network.position_share.copy_(torch.from_numpy(share / max(1, share.sum())))
    rates = np.clip(np.nan_to_num(np.nanmean(_with_row(examples.labels), axis=0), nan=1e-3), 1e-4, 1 - 1e-4)
    with torch.no_grad():
        network.heads.bias.copy_(torch.from_numpy(np.log(rates / (1 - rates))))
    network.to(device)
    weights = torch.tensor(config.task_weights, device=device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    batches = math.ceil(len(examples) / config.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=config.epochs * batches)
    losses = []
    for _ in range(config.epochs):
        network.train()
        total = 0.0
        for batch_rows in _shuffled(len(examples), config.batch_size, device):
            batch = table.batch(batch_rows)
            loss = masked_loss(network(batch), table.columns["labels"][batch_rows], weights) + user_l2 * network.penalty(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        losses.append(total / batches)
        if not np.isfinite(losses[-1]):
            raise TrainingError(f"the ranker's loss became {losses[-1]}; lower ranker.learning_rate")
    network.eval()
    ones, zeros = np.ones(sizes.tasks, dtype=np.float32), np.zeros(sizes.tasks, dtype=np.float32)
    uncalibrated = {**scales, "scale": ones, "shift": zeros}
    ranker = Ranker(network, sizes, config, codebook_version, uncalibrated, tuple(losses), device, tastes)
    if not len(held_out):
        return ranker
    rest = all_examples.take(held_out)
    scale, shift = calibration(ranker.logits(rest, items, None if scores is None else scores[held_out]), rest.labels)
    return replace(ranker, scales={**scales, "scale": scale, "shift": shift})


def _shuffled(n: int, batch_size: int, device: torch.device) -> Iterator[Tensor]:
    """Index batches of one epoch; drawn on the CPU, so that every device sees the same order."""
    yield from torch.randperm(n).to(device).split(batch_size)


def _after_first_days(shown_at: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Rows of the impressions after the first `share` of the days (rounded down)."""
    days = shown_at // DAY_MS
    distinct = np.unique(days)
    return np.flatnonzero(days >= distinct[min(len(distinct) - 1, int(share * len(distinct)))])


def _with_row(labels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The labels and one more row of small rates, so that a task without observations has a mean."""
    return np.concatenate([labels, np.full((1, labels.shape[1]), 1e-3, dtype=np.float32)])
