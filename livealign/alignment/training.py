"""Train the gated towers on who entered what.

Users and segments get vectors in one space.

    content, sources = content_of(corpus, "tuned_llm", "lexical")  # float32 [segments, d], row 0 = none; LLM, words, platform
    alignment, report = train_alignment(corpus, content, config, sources=sources)
    z = alignment.room_vectors(author, content)                    # float32 [n, dim], unit length
    u = alignment.user_vectors(user, history_vectors, lengths, features)
    score = (u * z).sum(1)

The loss of a batch is a sum: binary cross-entropy on shown impressions (its negatives are those that a ranking is measured
on) and an in-batch softmax over the clicks (its negatives are from other requests, as retrieval needs). The softmax has a
small weight because a platform decides what is shown: much of what it can learn is exposure, not taste.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from livealign.alignment.batches import ImpressionTensors, time_batches
from livealign.alignment.content_check import ContentCheck, Trust, check_content
from livealign.alignment.network import GATE_MODES, Sizes, TwoTower, in_batch_softmax
from livealign.alignment.towers import Alignment
from livealign.alignment.warm_start import WarmStart
from livealign.config import AlignmentConfig
from livealign.dataset.corpus import Corpus
from livealign.dataset.examples import Examples
from livealign.dataset.features import USER_FEATURES
from livealign.dataset.scaling import mean_and_std
from livealign.errors import TrainingError
from livealign.seeding import seeded


class AlignmentReport(NamedTuple):
    """Losses, gate and content check of one training."""

    losses: tuple[float, ...]  # mean over each epoch
    temperature: float
    gate_mean: float  # of the used sources' g over training impressions that have content; 1 = the author ID alone
    id_share: float  # mean share of z that comes from the ID, over the same
    check: ContentCheck | None  # the gain of content on unseen rooms; None if it was not measured
    warm_started: bool  # from the previous release's towers
    gate_mode: str  # "id" if a learned gate was rejected because content did not gain


class Sources(NamedTuple):
    """The sources of a content row, and how far each is used."""

    widths: tuple[int, ...]
    unused: tuple[int, ...]  # places of the sources that the towers do not read
    trust: Trust | None  # caps the gates; None for full trust


def train_alignment(
    corpus: Corpus,
    content: NDArray[np.float32],
    config: AlignmentConfig,
    gate_mode: str = "learned",
    device: torch.device | str = "cpu",
    sources: Sequence[int] | None = None,
    warm_start: WarmStart | None = None,
) -> tuple[Alignment, AlignmentReport]:
    """Train both towers on the corpus' training impressions.

    The same config and seed give the same towers. With a learned gate, each source of content is first tested on unseen rooms
    (`livealign.alignment.content_check`). Sources that add nothing are not used; if all add nothing, the towers use the ID
    alone. The trust in a source for each author caps its gate.

    Args:
        content: [segments, d], rows as `corpus.segment_ids`; a row of zeros has no content.
        gate_mode: "learned", or fixed: "mean" (0.5), "id" (1), "content" (0, and no ID beside it).
        sources: widths of the parts of a content row, each with its own gate; None for one part.
        warm_start: towers to start from, with a learned gate, for `config.warm_epochs`. Their space, scales and gate mode are
            kept. Towers of other settings are ignored.

    Raises:
        TrainingError: no training click, an unknown gate mode, or a loss that is not finite.
    """
    examples = corpus.train
    if gate_mode not in GATE_MODES:
        raise TrainingError(f"there is no gate mode '{gate_mode}'; choose one of {', '.join(GATE_MODES)}")
    if not len(examples) or not np.nansum(examples.label("click")):
        span = f"{corpus.train_days[0]} to {corpus.train_days[-1]}"
        raise TrainingError(f"there is no click in the training days {span}; nothing to align on, so land days that have some")
    device = torch.device(device)
    widths = tuple(sources or (content.shape[1],))

    history_length = examples.places
    if warm_start is not None and (gate_mode != "learned" or not warm_start.fits(config, widths, history_length)):
        warm_start = None

    every = range(len(widths))
    unused: tuple[int, ...] = ()

    def towers(part: Corpus, mode: str, unused: tuple[int, ...], trust: Trust | None) -> tuple[Alignment, list[float]]:
        with seeded(config.seed, device):
            return _train(part, content, config, mode, device, Sources(widths, unused, trust), warm_start)

    def with_fixed_gates(part: Corpus, used: Sequence[int], trust: Trust | None) -> Alignment:
        return towers(part, "mean" if used else "id", tuple(place for place in every if place not in used), trust)[0]

    check = None
    if warm_start is not None:
        gate_mode, unused = warm_start.alignment.gate_mode, warm_start.alignment.sizes.unused
    elif gate_mode == "learned" and config.check and content.any():
        check = check_content(corpus, content, widths, config.seed, with_fixed_gates)
        gate_mode, unused = "learned" if check.earned else "id", check.unused
    elif gate_mode == "id":
        unused = tuple(every)
    alignment, losses = towers(corpus, gate_mode, unused, None if check is None else check.trust)
    return alignment, _report(alignment, corpus, content, losses, check, warm_start is not None)


def author_log_q(examples: Examples, n_authors: int) -> NDArray[np.float32]:
    """[authors] log of each author's share of the training clicks.

    In-batch negatives are sampled by this share. One click is added to each author, so that the correction of rare authors is
    bounded.
    """
    clicked = examples.author[examples.label("click") == 1]
    counts = np.bincount(clicked, minlength=n_authors) + 1.0
    return np.log(counts / counts.sum()).astype(np.float32)


def _train(
    corpus: Corpus,
    content: NDArray[np.float32],
    config: AlignmentConfig,
    gate_mode: str,
    device: torch.device,
    sources: Sources,
    warm_start: WarmStart | None,
) -> tuple[Alignment, list[float]]:
    """(towers, mean loss of each epoch)."""
    examples = corpus.train.take(~np.isnan(corpus.train.label("click")))
    alignment = _untrained(corpus, examples, content, config, gate_mode, device, sources, warm_start)
    network = alignment.network
    if sources.trust is not None:
        network.rooms.author_trust.copy_(torch.from_numpy(sources.trust))
    epochs, pace = (config.epochs, 1.0) if warm_start is None else (config.warm_epochs, config.warm_rate_share)
    tables = ImpressionTensors.of(examples, alignment.feature_mean, alignment.feature_std, config, device)
    # The trust is the true author's even if ID dropout hides the author: content without trust is only noise.
    scaled, trusted = network.rooms.read(
        torch.from_numpy(corpus.segment_author).to(device), torch.from_numpy(content).to(device)
    )
    item_author = torch.from_numpy(corpus.item_authors()).to(device)
    item_segment = torch.from_numpy(corpus.item_segments()).to(device)
    log_q = torch.from_numpy(author_log_q(examples, corpus.authors.size)).to(device)
    optimizer = torch.optim.AdamW(_parameter_groups(network, config), weight_decay=config.weight_decay)
    runs = math.ceil(len(examples) / config.run)
    batches = math.ceil(runs / max(1, config.batch_size // config.run))
    rates = [pace * float(group["lr"]) for group in optimizer.param_groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=epochs * batches)
    losses = []
    for _ in range(epochs):
        # The history's room vectors are computed once an epoch, without gradient: there are 20 per impression, and a
        # slightly old vector of a room is good enough (the asymmetric memory bank of SARM, arXiv 2602.09401).
        bank = _item_bank(network, item_author, scaled, item_segment, trusted)
        network.train()
        total = 0.0
        for rows in time_batches(len(examples), config, device):
            loss = _batch_loss(network, tables, rows, bank, scaled, trusted, log_q, config)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        losses.append(total / batches)
        if not np.isfinite(losses[-1]):
            raise TrainingError(f"the alignment loss became {losses[-1]}; lower alignment.learning_rate")
    network.eval()
    return alignment, losses


def _untrained(
    corpus: Corpus,
    examples: Examples,
    content: NDArray[np.float32],
    config: AlignmentConfig,
    gate_mode: str,
    device: torch.device,
    sources: Sources,
    warm_start: WarmStart | None,
) -> Alignment:
    """Towers before training: scaled to the corpus' `examples` and content, or as the previous release left them."""
    features, history_length = examples.features[:, USER_FEATURES], examples.places
    sizes = Sizes(
        corpus.users.size, corpus.authors.size, sources.widths, config.content_rank, features.shape[1], sources.unused
    )
    network = TwoTower(sizes, config, history_length, gate_mode)
    popularity = np.log1p(np.bincount(examples.author, minlength=corpus.authors.size).astype(np.float32))
    network.rooms.author_popularity.copy_(torch.from_numpy((popularity - popularity.mean()) / (popularity.std() + 1e-6)))
    if warm_start is None:
        network.rooms.fit_scalers(torch.from_numpy(content[corpus.segment_is_train]))
        mean, std = mean_and_std(features)
    else:
        warm_start.apply_to(network, corpus)
        mean, std = warm_start.alignment.feature_mean, warm_start.alignment.feature_std
    return Alignment(network.to(device), sizes, config, gate_mode, history_length, mean, std, device)


def _parameter_groups(network: TwoTower, config: AlignmentConfig) -> list[dict[str, Any]]:
    """Parameters by learning rate: the gates learn faster, because they start with zero weights and have few epochs."""
    named = [(".gate." in name, parameter) for name, parameter in network.named_parameters()]
    return [
        {"params": [parameter for is_gate, parameter in named if not is_gate], "lr": config.learning_rate},
        {"params": [parameter for is_gate, parameter in named if is_gate], "lr": config.gate_learning_rate},
    ]


def _report(
    alignment: Alignment,
    corpus: Corpus,
    content: NDArray[np.float32],
    losses: list[float],
    check: ContentCheck | None,
    warm_started: bool,
) -> AlignmentReport:
    shown = corpus.train.segment[(content != 0).any(1)[corpus.train.segment]][:50_000]
    gate, share = 1.0, 1.0
    if len(shown):
        gate = float(alignment.gates(corpus.segment_author[shown], content[shown]).mean())
        share = float(alignment.id_share(corpus.segment_author[shown], content[shown]).mean())
    temperature = float(alignment.network.temperature.detach())
    return AlignmentReport(tuple(losses), temperature, gate, share, check, warm_started, alignment.gate_mode)


def _batch_loss(
    network: TwoTower,
    tables: ImpressionTensors,
    rows: Tensor,
    bank: Tensor,
    scaled: Tensor,
    trusted: Tensor,
    log_q: Tensor,
    config: AlignmentConfig,
) -> Tensor:
    """Cross-entropy of the impressions' clicks + `contrastive_weight` × in-batch softmax over the clicks."""
    true_author, segment, click = tables.author[rows], tables.segment[rows], tables.click[rows]
    # ID dropout: the author or user counts as unknown, so that content and history learn to work without the ID.
    author = _drop_ids(true_author, config.id_dropout)
    user = _drop_ids(tables.user[rows], config.id_dropout)
    rooms = network.rooms(author, scaled[segment], _drop_a_source(trusted[segment], config.source_dropout))
    history_items, mask = tables.histories(rows)
    history = F.embedding_bag(history_items, bank, mode="sum", per_sample_weights=network.users.weights(mask))
    users = network.users(user, history, tables.features[rows])
    logits = (
        network.bias
        + network.log_scale.exp() * (users * rooms).sum(1)
        + network.author_bias(author).squeeze(1)
        + network.position_bias(tables.position[rows]).squeeze(1)
    )
    loss = F.binary_cross_entropy_with_logits(logits, click)
    loss = loss + config.user_l2 * network.users.user(user).square().sum(1).mean()
    loss = loss + config.author_l2 * network.rooms.author(author).square().sum(1).mean()
    clicked = click > 0.5
    if config.contrastive_weight > 0 and int(clicked.sum()) > 1:
        taken = rows[clicked]
        users_of, rooms_of, shown_at = tables.user[taken], tables.room[taken], tables.shown_at[taken]
        loss = loss + config.contrastive_weight * in_batch_softmax(
            # Without the user ID's part: from a few clicks against many rooms it would learn the clicks by heart.
            (users - network.users.user(user))[clicked] @ rooms[clicked].T,
            network.temperature,
            log_q[true_author[clicked]],
            users_of.unsqueeze(1) == users_of.unsqueeze(0),
            rooms_of.unsqueeze(1) == rooms_of.unsqueeze(0),
            (shown_at.unsqueeze(1) - shown_at.unsqueeze(0)).abs() <= config.negative_minutes * 60_000,
        )
    return loss


@torch.no_grad()
def _item_bank(network: TwoTower, author: Tensor, scaled: Tensor, item_segment: Tensor, trusted: Tensor) -> Tensor:
    network.eval()
    bank: Tensor = network.rooms(author, scaled[item_segment], trusted[item_segment])
    bank[0] = 0
    return bank


def _drop_a_source(trusted: Tensor, share: float) -> Tensor:
    """Trust [n, sources] with one source of `share` of the rows hidden, so that each learns to work without the others."""
    n, sources = trusted.shape
    if sources < 2:
        return trusted
    hidden = torch.randint(sources, (n, 1), device=trusted.device) == torch.arange(sources, device=trusted.device)
    return trusted * ~(hidden & (torch.rand(n, 1, device=trusted.device) < share))


def _drop_ids(index: Tensor, share: float) -> Tensor:
    return torch.where(torch.rand(len(index), device=index.device) < share, torch.zeros_like(index), index)
