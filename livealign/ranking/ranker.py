"""The multi-task ranker: probabilities of click, long view, like, comment and gift for a user and a room-moment.

    ranker = train_ranker(corpus, items, config, codebook_version)   # items: ItemTable over the corpus' item rows
    probabilities = ranker.predict(corpus.test, items)                # float32 [n, tasks]

Which inputs there are (codes, a pasted-in vector, neither) is decided by the `ItemTable`; the network is otherwise the
same. With codes the ranker also learns every user's tastes (`livealign.ranking.tastes`) and reads their score of the room.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from livealign.config import RankerConfig
from livealign.dataset.corpus import Corpus
from livealign.dataset.examples import Examples
from livealign.dataset.scaling import METADATA, feature_moments, position_index, standardised
from livealign.days import DAY_MS
from livealign.errors import BundleError, TrainingError
from livealign.ranking.calibration import calibration, calibration_split
from livealign.ranking.network import Batch, ItemTable, RankerNetwork, RankerSizes, code_rows, masked_loss
from livealign.ranking.tastes import Affinity, Tastes, learn_tastes
from livealign.seeding import seeded

__all__ = ["ItemTable", "Ranker", "history_matches", "train_ranker"]

_FORMAT = "livealign-ranker-4"
_CHUNK = 8_192  # impressions scored at a time


@dataclass(frozen=True)
class Ranker:
    """A trained ranker with all that scoring needs; `codebook_version` names the codebook that its codes come from."""

    network: RankerNetwork
    sizes: RankerSizes
    config: RankerConfig
    codebook_version: str  # "" for a ranker without codes
    moments: dict[str, NDArray[np.float32]]  # feature_mean, feature_std, match_mean, match_std, scale, shift (of logits)
    losses: tuple[float, ...]  # mean over each epoch of training
    device: torch.device
    tastes: Tastes | None = None  # of a ranker with codes

    @torch.no_grad()
    def logits(
        self, examples: Examples, items: ItemTable, taste_scores: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """[n, tasks], as at the mean position of a list; the examples' own positions are not used.

        Args:
            taste_scores: [n] where the tastes of another day than the last count (in training); None for the last.
        """
        parts = []
        weights = None if self.tastes is None else self.tastes.affinity.weights(_codes(items), items.vectors)
        for start in range(0, len(examples), _CHUNK):
            part = examples.take(slice(start, start + _CHUNK))
            found = history_matches(part, items)
            if taste_scores is not None:
                found = np.column_stack([found, taste_scores[start : start + len(part)]])
            elif self.tastes is not None and weights is not None:
                found = np.column_stack([found, self.tastes.scores(part.user, weights[part.item])])
            table = _Table.of(part, items, self.sizes, self.moments, self.device, None, found)
            parts.append(self.network(table.batch(torch.arange(len(part), device=self.device))).cpu().numpy())
        logits = np.concatenate(parts) if parts else np.zeros((0, self.sizes.tasks), dtype=np.float32)
        return logits * self.moments["scale"] + self.moments["shift"]

    def predict(self, examples: Examples, items: ItemTable) -> NDArray[np.float32]:
        """Probabilities [n, tasks] in the order of `config.tasks`."""
        return (1.0 / (1.0 + np.exp(-self.logits(examples, items)))).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write one safetensors file; its metadata names the config and the codebook."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        tensors |= {f"moments.{name}": torch.from_numpy(values) for name, values in self.moments.items()}
        if self.tastes is not None:
            tensors |= {
                "tastes.log_rates": torch.from_numpy(self.tastes.log_rates),
                "tastes.centroids": torch.from_numpy(self.tastes.affinity.centroids),
                "tastes.width": torch.tensor(self.tastes.affinity.width, dtype=torch.float64),
            }
        metadata = {
            "format": _FORMAT,
            "codebook_version": self.codebook_version,
            "sizes": self.sizes._asdict(),
            "config": asdict(self.config),
            "losses": self.losses,
        }
        save_file(tensors, path, {METADATA: json.dumps(metadata, sort_keys=True)})

    @classmethod
    def load(cls, path: Path, codebook_version: str, device: torch.device | str = "cpu") -> "Ranker":
        """What `save` wrote, for codes of the codebook `codebook_version` ("" for a ranker without codes).

        Raises:
            BundleError: the file is missing, damaged, or was trained with another codebook.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = json.loads((file.metadata() or {}).get(METADATA, "{}"))
                if metadata.get("format") != _FORMAT:
                    raise BundleError(f"{path} is no ranker of this version ({_FORMAT}); run the retrain again")
                if metadata["codebook_version"] != codebook_version:
                    raise BundleError(
                        f"{path} was trained with codebook '{metadata['codebook_version']}', not '{codebook_version}': "
                        "its code embeddings would mean something else; take both files from the same release"
                    )
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            sizes = RankerSizes(**metadata["sizes"])
            config = RankerConfig(**_tuples(metadata["config"]))
            losses = tuple(metadata["losses"])
            moments = {name[8:]: tensors.pop(name).numpy() for name in list(tensors) if name.startswith("moments.")}
            tastes = None
            if sizes.levels:
                log_rates, centroids, width = (tensors.pop(f"tastes.{name}") for name in ("log_rates", "centroids", "width"))
                tastes = Tastes(Affinity(centroids.numpy(), float(width)), log_rates.numpy())
            network = RankerNetwork(sizes, config)
            network.load_state_dict(tensors)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise BundleError(f"{path} is not a readable ranker ({error}); run the retrain again") from error
        device = torch.device(device)
        network.to(device).eval()
        return cls(network, sizes, config, codebook_version, moments, losses, device, tastes)


def train_ranker(
    corpus: Corpus,
    items: ItemTable,
    config: RankerConfig,
    codebook_version: str = "",
    codes_per_level: int = 0,
    device: torch.device | str = "cpu",
) -> Ranker:
    """Train on the corpus' training impressions. The same config and seed give the same ranker.

    Args:
        items: what is known of each item row of the corpus.
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


def history_matches(examples: Examples, items: ItemTable) -> NDArray[np.float32]:
    """How the room resembles what the user engaged with before: float32 [n, 3 or 6], free of parameters.

    log(1 + length of the history); for the author: log(1 + entries that share it) and their share; for vectors without
    codes: mean, largest and mean positive cosine. With codes the tastes say it better: cosines and shared codes are too good
    on the impressions that made the vectors, and a ranker that trusts them is worse on others (docs/experiments.md).
    """
    parts = []
    for start in range(0, len(examples), _CHUNK):
        part = examples.take(slice(start, start + _CHUNK))
        author, length = part.author[:, None], part.history_length
        inside = np.arange(part.history_item.shape[1]) < length[:, None]
        same = (inside & (part.history_author == author) & (author > 0)).sum(1)
        count = np.maximum(length, 1)
        columns = [np.broadcast_to(np.log1p(length), len(part)), np.log1p(same), same / count]
        if items.vectors is not None and items.codes is None:
            here, there = items.vectors[part.item], items.vectors[part.history_item]
            norms = np.linalg.norm(there, axis=2) * np.linalg.norm(here, axis=1)[:, None]
            cosine = np.einsum("nld,nd->nl", there, here) / np.maximum(norms, 1e-9) * inside
            columns += [cosine.sum(1) / count, cosine.max(1), np.maximum(cosine, 0).sum(1) / np.sqrt(count)]
        parts.append(np.stack(columns, axis=1).astype(np.float32))
    return np.concatenate(parts) if parts else np.zeros((0, 3), dtype=np.float32)


@dataclass(frozen=True)
class _Table:
    """Impressions as whole-table tensors on the device, and the item tables that they point into."""

    columns: dict[str, Tensor]
    codes: Tensor  # int [items, levels] rows of the code tables
    vectors: Tensor  # [items, vector_dim]

    @classmethod
    def of(
        cls,
        examples: Examples,
        items: ItemTable,
        sizes: RankerSizes,
        moments: dict[str, NDArray[np.float32]],
        device: torch.device,
        position: int | None,
        matches: NDArray[np.float32],
    ) -> "_Table":
        """`position`: rows of the position table, None to leave positions unknown; `matches` [n, sizes.matches]."""

        def tensor(values: NDArray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device)

        n, length = len(examples), examples.history_item.shape[1]
        known = np.zeros(n, dtype=np.int64) if position is None else position_index(examples.position, position)
        n_items = 1 + int(max(examples.item.max(initial=0), examples.history_item.max(initial=0)))
        codes = np.zeros((n_items, 0), dtype=np.int64) if items.codes is None else code_rows(items.codes, sizes)
        vectors = np.zeros((n_items, 0), dtype=np.float32) if items.vectors is None else items.vectors
        return cls(
            {
                "user": tensor(examples.user),
                "author": tensor(examples.author),
                "item": tensor(examples.item),
                "position": tensor(known),
                "features": tensor(standardised(examples.features, moments["feature_mean"], moments["feature_std"])),
                "matches": tensor(standardised(matches, moments["match_mean"], moments["match_std"])),
                "history_author": tensor(examples.history_author),
                "history_item": tensor(examples.history_item),
                "mask": tensor(np.arange(length) < examples.history_length[:, None]),
                "labels": tensor(examples.labels),
            },
            tensor(codes),
            tensor(vectors.astype(np.float32, copy=False)),
        )

    def batch(self, rows: Tensor) -> Batch:
        n = len(self.columns["item"])  # a history that all share is there once
        taken = {
            name: values[rows] if len(values) == n else values for name, values in self.columns.items() if name != "labels"
        }
        item, history_item = taken.pop("item"), taken.pop("history_item")
        return Batch(codes=self.codes[item], vectors=self.vectors[item], history_codes=self.codes[history_item], **taken)


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
        history_length=examples.history_item.shape[1],
        tasks=len(config.tasks),
    )
    matches, tastes, scores = history_matches(examples, items), None, None
    if items.codes is not None:
        tastes, scores = learn_tastes(
            examples, items.codes, items.vectors, sizes.users, codes_per_level, config.positions, device
        )
        # The first days only feed the tastes: a score by one day or none is not what the ranker will meet.
        kept = _after_first_days(examples.shown_at, config.taste_days_share)
        examples, matches, scores = examples.take(kept), np.column_stack([matches, scores])[kept], scores[kept]
    fit, held_out = calibration_split(examples.request, config)
    everything, examples, matches = examples, examples.take(fit), matches[fit]
    user_l2 = config.user_l2 if tastes is None else config.user_l2_with_tastes
    moments = dict(
        zip(
            ("feature_mean", "feature_std", "match_mean", "match_std"),
            (*feature_moments(examples.features), *feature_moments(matches)),
            strict=True,
        )
    )
    table = _Table.of(examples, items, sizes, moments, device, config.positions, matches)
    network = RankerNetwork(sizes, config)
    share = np.bincount(position_index(examples.position, config.positions), minlength=config.positions + 1)
    share[0] = 0  # where the position is unknown the term is left out, so it has no part in the mean either
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
        for rows in _shuffled(len(examples), config.batch_size, device):
            batch = table.batch(rows)
            loss = masked_loss(network(batch), table.columns["labels"][rows], weights) + user_l2 * network.penalty(batch)
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
    plain = {**moments, "scale": ones, "shift": zeros}
    ranker = Ranker(network, sizes, config, codebook_version, plain, tuple(losses), device, tastes)
    if not len(held_out):
        return ranker
    rest = everything.take(held_out)
    scale, shift = calibration(ranker.logits(rest, items, None if scores is None else scores[held_out]), rest.labels)
    return replace(ranker, moments={**moments, "scale": scale, "shift": shift})


def _shuffled(n: int, batch_size: int, device: torch.device) -> Iterator[Tensor]:
    """Index batches of one epoch; drawn on the CPU, so that every device sees the same order."""
    yield from torch.randperm(n).to(device).split(batch_size)


def _codes(items: ItemTable) -> NDArray[np.integer]:
    if items.codes is None:
        raise TrainingError("this ranker was trained with semantic codes and is given items without; encode them first")
    return items.codes


def _after_first_days(shown_at: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Rows of the impressions after the first `share` of the days that there are (rounded down)."""
    days = shown_at // DAY_MS
    distinct = np.unique(days)
    return np.flatnonzero(days >= distinct[min(len(distinct) - 1, int(share * len(distinct)))])


def _with_row(labels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The labels with one row of small rates below, so that a task that was never observed has a mean."""
    return np.concatenate([labels, np.full((1, labels.shape[1]), 1e-3, dtype=np.float32)])


def _tuples(values: dict) -> dict:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
