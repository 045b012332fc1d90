"""Gated alignment: the space in which users and room-moments meet, learned from who entered what.

    content, sources = joined(corpus, "tuned_llm")  # float32 [segments, d], row 0 = none; of the LLM, of the platform
    alignment, report = train_alignment(corpus, content, config, sources=sources)
    z = alignment.room_vectors(author, content)                    # float32 [n, dim], unit length
    u = alignment.user_vectors(user, history_vectors, lengths, features)
    score = (u * z).sum(1)

Two losses are summed over every batch: binary cross-entropy on shown impressions (clicked or not: the negatives that a
ranking is measured on) and, lightly, an in-batch softmax over the clicks (negatives from other requests: what retrieval
needs). The softmax weighs little because a platform decides what is shown: much of what it can learn is exposure, not taste.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from livealign.alignment.content_check import ContentCheck, check_content
from livealign.alignment.network import GATE_MODES, Sizes, TwoTower, contrastive_loss
from livealign.alignment.towers import Alignment
from livealign.alignment.warm_start import FormerTowers
from livealign.config import AlignmentConfig
from livealign.dataset.corpus import Corpus
from livealign.dataset.examples import Examples
from livealign.dataset.features import USER_FEATURES
from livealign.dataset.scaling import feature_moments, position_index, standardised
from livealign.errors import TrainingError
from livealign.seeding import seeded


class AlignmentReport(NamedTuple):
    """How training went."""

    losses: tuple[float, ...]  # mean over each epoch
    temperature: float
    gate_mean: float  # of g over training impressions that have content; 1 = the author ID alone
    id_share: float  # mean share of z that comes from the ID, over the same
    check: ContentCheck | None  # what content gained on rooms not seen; None where nothing was to be decided
    went_on: bool  # from the towers of the release before
    gate_mode: str  # "id" where a learned gate was turned down because content did not earn its place


class GateGroup(NamedTuple):
    """How the gate leans in one group of segments."""

    gate: float  # mean of g; 1 = the author ID alone, 0 = all content let through
    id_share: float  # mean share of z that comes from the ID
    authors: int
    segments: int


GateReport = dict[str, GateGroup]  # by the group's name, in order
Trust = NDArray[np.float32]  # [authors], see livealign.alignment.author_trust


def train_alignment(
    corpus: Corpus,
    content: NDArray[np.float32],
    config: AlignmentConfig,
    gate_mode: str = "learned",
    device: torch.device | str = "cpu",
    sources: Sequence[int] | None = None,
    former: FormerTowers | None = None,
) -> tuple[Alignment, AlignmentReport]:
    """Train both towers on the corpus' training impressions. The same config and seed give the same towers.

    With a learned gate, content first has to show on rooms that its towers did not see that it tells more than the ID
    (`livealign.alignment.content_check`). Where it does not, the towers are those of the ID alone; where it does, no gate lets
    more of it
    through than it is trusted with that author.

    Args:
        content: [segments, d], rows as `corpus.segment_ids`; a row of zeros has no content.
        gate_mode: "learned", or fixed: "mean" (0.5), "id" (1), "content" (0, and no ID beside it).
        sources: widths of the parts of a content row that have a gate each; None: it is one.
        former: towers to go on from with a learned gate, for `config.warm_epochs`; their space, scales and gate mode are kept.
            Towers of other settings are not gone on from.

    Raises:
        TrainingError: no training click, an unknown gate mode, or a loss that is not finite.
    """
    examples = corpus.train
    if gate_mode not in GATE_MODES:
        raise TrainingError(f"there is no gate mode '{gate_mode}'; choose one of {', '.join(GATE_MODES)}")
    if not len(examples) or not np.nansum(examples.label("click")):
        raise TrainingError(f"there is no click in the training days {corpus.train_days}; nothing to align on")
    device = torch.device(device)
    widths = tuple(sources or (content.shape[1],))

    if former is not None and (gate_mode != "learned" or not former.fit(config, widths, examples.history_item.shape[1])):
        former = None

    def towers(part: Corpus, mode: str, trust: Trust | None = None) -> tuple[Alignment, list[float]]:
        with seeded(config.seed, device):
            return _train(part, content, config, mode, device, widths, former, trust)

    check = None
    if former is not None:
        gate_mode = former.alignment.gate_mode
    elif gate_mode == "learned" and config.check and content.any():
        check = check_content(corpus, content, config.seed, lambda part, mode: towers(part, mode)[0])
        gate_mode = "learned" if check.earned else "id"
    alignment, losses = towers(corpus, gate_mode, None if check is None else check.trust)
    return alignment, _report(alignment, corpus, content, losses, check, former is not None)


def gate_by_popularity(
    alignment: Alignment, corpus: Corpus, content: NDArray[np.float32], edges: tuple[int, ...] = (0, 1, 10, 100, 1_000, 10_000)
) -> GateReport:
    """How the gate leans by their author's training impressions (`edges`: lower bounds), rarest authors first."""
    counts = np.bincount(corpus.train.author, minlength=corpus.authors.size)
    counts[0] = 0
    group = np.searchsorted(np.asarray(edges), counts[corpus.segment_author], side="right") - 1
    return gate_by(alignment, corpus, content, group, [f"from {edge}" for edge in edges])


def gate_by(
    alignment: Alignment, corpus: Corpus, content: NDArray[np.float32], group: NDArray[np.integer], names: Sequence[str]
) -> GateReport:
    """How the gate leans in each group of the segments that have content; `group` [segments] are places in `names`."""
    rows = np.flatnonzero((content != 0).any(1))
    if not len(rows):
        return {}
    authors = corpus.segment_author[rows]
    gates, shares = alignment.gates(authors, content[rows]).mean((0, 2)), alignment.id_share(authors, content[rows])
    found: GateReport = {}
    for place, name in enumerate(names):
        mine = np.flatnonzero(group[rows] == place)
        if len(mine):
            people = len(np.unique(corpus.segment_author_id[rows[mine]]))
            found[name] = GateGroup(float(gates[mine].mean()), float(shares[mine].mean()), people, len(mine))
    return found


def author_log_q(examples: Examples, n_authors: int) -> NDArray[np.float32]:
    """[authors] log of each author's share of the training clicks, by which in-batch negatives are sampled.

    One click is added to each author, so that rare ones do not get an unbounded correction.
    """
    clicked = examples.author[examples.label("click") == 1]
    counts = np.bincount(clicked, minlength=n_authors) + 1.0
    return np.log(counts / counts.sum()).astype(np.float32)


class _Tables(NamedTuple):
    """The training impressions with a known click label, as whole-table tensors on the device."""

    user: Tensor
    author: Tensor
    segment: Tensor
    room: Tensor
    shown_at: Tensor
    position: Tensor
    click: Tensor
    features: Tensor
    history: Tensor
    mask: Tensor


def _train(
    corpus: Corpus,
    content: NDArray[np.float32],
    config: AlignmentConfig,
    gate_mode: str,
    device: torch.device,
    widths: tuple[int, ...],
    former: FormerTowers | None,
    trust: Trust | None,
) -> tuple[Alignment, list[float]]:
    """Towers, and the mean loss of each epoch."""
    kept = corpus.train.take(~np.isnan(corpus.train.label("click")))
    alignment = _untrained(corpus, kept, content, config, gate_mode, device, widths, former)
    network = alignment.network
    if trust is not None:
        network.rooms.author_trust.copy_(torch.from_numpy(trust))
    epochs, pace = (config.epochs, 1.0) if former is None else (config.warm_epochs, config.warm_rate_share)
    tables = _tables(kept, alignment.feature_mean, alignment.feature_std, config, device)
    # By the true author, also of an impression whose author is forgotten: what is not trusted would only be noise there.
    scaled, trusted = network.rooms.read(
        torch.from_numpy(corpus.segment_author).to(device), torch.from_numpy(content).to(device)
    )
    item_author = torch.from_numpy(corpus.item_authors()).to(device)
    item_segment = torch.from_numpy(corpus.item_segments()).to(device)
    log_q = torch.from_numpy(author_log_q(kept, corpus.authors.size)).to(device)
    optimizer = torch.optim.AdamW(_parameter_groups(network, config), weight_decay=config.weight_decay)
    runs = math.ceil(len(kept) / config.run)
    batches = math.ceil(runs / max(1, config.batch_size // config.run))
    rates = [pace * float(group["lr"]) for group in optimizer.param_groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=epochs * batches)
    losses = []
    for _ in range(epochs):
        # The history's room vectors are refreshed once an epoch, without gradient: they are 20 per impression, and a
        # slightly old vector of a room serves as well (the asymmetric memory bank of SARM, arXiv 2602.09401).
        bank = _item_bank(network, item_author, scaled, item_segment, trusted)
        network.train()
        total = 0.0
        for rows in _batches_of_moments(len(kept), config, device):
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
    kept: Examples,
    content: NDArray[np.float32],
    config: AlignmentConfig,
    gate_mode: str,
    device: torch.device,
    widths: tuple[int, ...],
    former: FormerTowers | None,
) -> Alignment:
    """Towers for the corpus, scaled to its impressions `kept` and their content; or as the former towers left them."""
    features, history_length = kept.features[:, USER_FEATURES], kept.history_item.shape[1]
    sizes = Sizes(corpus.users.size, corpus.authors.size, widths, config.content_rank, features.shape[1])
    network = TwoTower(sizes, config, history_length, gate_mode)
    popularity = np.log1p(np.bincount(kept.author, minlength=corpus.authors.size).astype(np.float32))
    network.rooms.author_popularity.copy_(torch.from_numpy((popularity - popularity.mean()) / (popularity.std() + 1e-6)))
    if former is None:
        network.rooms.fit_scalers(torch.from_numpy(content[corpus.segment_is_train]))
        mean, std = feature_moments(features)
    else:
        former.start(network, corpus)
        mean, std = former.alignment.feature_mean, former.alignment.feature_std
    return Alignment(network.to(device), sizes, config, gate_mode, history_length, mean, std, device)


def _parameter_groups(network: TwoTower, config: AlignmentConfig) -> list[dict[str, Any]]:
    """The gates learn faster than the rest: they start with no weights, and there are few epochs to find out whom to trust."""
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
    went_on: bool,
) -> AlignmentReport:
    shown = corpus.train.segment[(content != 0).any(1)[corpus.train.segment]][:50_000]
    gate, share = 1.0, 1.0
    if len(shown):
        gate = float(alignment.gates(corpus.segment_author[shown], content[shown]).mean())
        share = float(alignment.id_share(corpus.segment_author[shown], content[shown]).mean())
    temperature = float(alignment.network.temperature.detach())
    return AlignmentReport(tuple(losses), temperature, gate, share, check, went_on, alignment.gate_mode)


def _batch_loss(
    network: TwoTower,
    tables: _Tables,
    rows: Tensor,
    bank: Tensor,
    scaled: Tensor,
    trusted: Tensor,
    log_q: Tensor,
    config: AlignmentConfig,
) -> Tensor:
    """Cross-entropy of the clicks among what was shown + `contrastive_weight` × in-batch softmax over the clicks."""
    true_author, segment, click = tables.author[rows], tables.segment[rows], tables.click[rows]
    # ID dropout: as unknown as a cold author or a new user, so that content and history learn to stand alone.
    author = _forget(true_author, config.id_dropout)
    user = _forget(tables.user[rows], config.id_dropout)
    rooms = network.rooms(author, scaled[segment], trusted[segment])
    weights = network.users.weights(tables.mask[rows])
    history = F.embedding_bag(tables.history[rows], bank, mode="sum", per_sample_weights=weights)
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
        who, where, when = tables.user[taken], tables.room[taken], tables.shown_at[taken]
        loss = loss + config.contrastive_weight * contrastive_loss(
            # Without the ID's part: a few clicks against many rooms are learned by heart sooner than understood.
            (users - network.users.user(user))[clicked] @ rooms[clicked].T,
            network.temperature,
            log_q[true_author[clicked]],
            who.unsqueeze(1) == who.unsqueeze(0),
            where.unsqueeze(1) == where.unsqueeze(0),
            (when.unsqueeze(1) - when.unsqueeze(0)).abs() <= config.negative_minutes * 60_000,
        )
    return loss


def _batches_of_moments(n: int, config: AlignmentConfig, device: torch.device) -> Iterator[Tensor]:
    """Shuffled batches of an epoch, made of runs of `config.run` impressions that follow each other in time.

    The negatives of the in-batch softmax are then rooms that were live at the moment of the click. Random ones teach
    when users are awake instead of what they like.
    """
    runs = torch.arange(n).split(config.run)
    order = torch.randperm(len(runs)).split(max(1, config.batch_size // config.run))
    for batch in order:
        yield torch.cat([runs[run] for run in batch.tolist()]).to(device)


@torch.no_grad()
def _item_bank(network: TwoTower, author: Tensor, scaled: Tensor, item_segment: Tensor, trusted: Tensor) -> Tensor:
    network.eval()
    bank: Tensor = network.rooms(author, scaled[item_segment], trusted[item_segment])
    bank[0] = 0
    return bank


def _tables(examples: Examples, mean: NDArray, std: NDArray, config: AlignmentConfig, device: torch.device) -> _Tables:
    def tensor(values: NDArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device)

    length = examples.history_item.shape[1]
    return _Tables(
        tensor(examples.user),
        tensor(examples.author),
        tensor(examples.segment),
        tensor(examples.room_id),
        tensor(examples.shown_at),
        tensor(position_index(examples.position, config.positions)),
        tensor(examples.label("click")),
        tensor(standardised(examples.features[:, USER_FEATURES], mean, std)),
        tensor(examples.history_item),
        tensor(np.arange(length) < examples.history_length[:, None]),
    )


def _forget(index: Tensor, share: float) -> Tensor:
    return torch.where(torch.rand(len(index), device=index.device) < share, torch.zeros_like(index), index)
