"""The multi-task ranker as a torch module, and the item table it reads."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from livealign.config import RankerConfig
from livealign.dataset.features import ROOM_FEATURES

_PREFIX_TABLE = 4_096  # largest table of code prefixes; beyond it a code is embedded without the codes before it


class ItemTable(NamedTuple):
    """A variant's vectors and codes of each item row; row 0 is padding.

    vectors: float32 [items, d], or None; codes: int [items, levels], from 0, or None.
    """

    vectors: NDArray[np.float32] | None = None
    codes: NDArray[np.integer] | None = None

    def for_ranker(self, sizes: "RankerSizes") -> "ItemTable":
        """The columns that a ranker of these sizes was trained on."""
        return ItemTable(self.vectors if sizes.vector_dim else None, self.codes if sizes.levels else None)


class RankerSizes(NamedTuple):
    """Sizes of a ranker's network. levels 0: no codes; vector_dim 0: no vectors."""

    users: int
    authors: int
    levels: int
    codes_per_level: int
    vector_dim: int
    features: int
    history_length: int
    tasks: int

    @property
    def code_tables(self) -> tuple[int, ...]:
        """Rows of each level's embedding table.

        A row for each code prefix while those are few, else for each code of the level.
        """
        prefixes = (self.codes_per_level ** (level + 1) for level in range(self.levels))
        return tuple(rows if rows <= _PREFIX_TABLE else self.codes_per_level for rows in prefixes)

    @property
    def matches(self) -> int:
        """Columns of `inputs.history_matches`, and the taste.

        History (3), then the taste for the codes (1) or the similarity of vectors (3).
        """
        return 3 + (1 if self.levels else 3 if self.vector_dim else 0)


class Batch(NamedTuple):
    """b impressions as tensors; h is b, or 1 if all share one history.

    Codes are rows of the code tables (`code_rows`).
    """

    user: Tensor  # int [b]
    author: Tensor  # int [b]
    position: Tensor  # int [b], 0 = unknown
    features: Tensor  # [b, features], standardised
    matches: Tensor  # [b, matches], standardised
    codes: Tensor  # int [b, levels]
    vectors: Tensor  # [b, vector_dim]
    history_author: Tensor  # int [h, L]
    history_codes: Tensor  # int [h, L, levels]
    mask: Tensor  # bool [h, L]


class RankerNetwork(nn.Module):
    """The network of the ranker: one logit for each task.

    It has factorised user × room terms, target-aware attention over the history, and an MLP. The room is its author, its codes
    and, in variants with a pasted-in vector, that vector projected. A user has one factor for each of them (as in field-aware
    factorisation machines); its products with the room's embeddings model the taste for this author and this segment.
    Attention runs over the history's (author, codes), with the room as the query (DIN, arXiv 1706.06978). It is not
    normalised, so that many similar segments count more than a single one.
    """

    position_share: Tensor

    def __init__(self, sizes: RankerSizes, config: RankerConfig) -> None:
        super().__init__()
        self.sizes = sizes
        self.author = nn.Embedding(sizes.authors, config.id_dim)
        self.codes = nn.ModuleList(nn.Embedding(rows, config.code_dim) for rows in sizes.code_tables)
        self.vector = nn.Linear(sizes.vector_dim, config.code_dim) if sizes.vector_dim else None
        item_fields = [config.id_dim] + ([config.code_dim] if sizes.levels else [])
        fields = item_fields + ([config.code_dim] if sizes.vector_dim else [])
        self.field_dims = fields
        self.user = nn.Embedding(sizes.users, sum(fields))
        for depth, table in enumerate((self.author, *self.codes)):
            nn.init.normal_(table.weight, std=0.1 if depth < 2 else 0.02)  # deeper codes start as small refinements
        nn.init.normal_(self.user.weight, std=0.01)
        item_dim = sum(item_fields)
        self.item_fields = item_fields
        self.query = nn.Linear(item_dim, config.id_dim, bias=False)
        self.key = nn.Linear(item_dim, config.id_dim, bias=False)
        self.recency = nn.Parameter(torch.zeros(sizes.history_length))
        self.attention_bias = nn.Parameter(torch.tensor(-1.0))
        wide = len(fields) + 1 + sizes.matches + sizes.features
        inputs = sum(fields) + item_dim + len(fields) + 1 + sizes.matches + ROOM_FEATURES
        layers: list[nn.Module] = []
        for width in config.hidden:
            layers += [nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(config.dropout)]
            inputs = width
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.Linear(inputs, sizes.tasks)
        self.wide = nn.Linear(wide, sizes.tasks)
        nn.init.zeros_(self.wide.weight)
        self.embedding_dropout = nn.Dropout(config.dropout)
        self.position = nn.Embedding(config.positions + 1, sizes.tasks)
        nn.init.zeros_(self.position.weight)
        self.register_buffer("position_share", torch.zeros(config.positions + 1))

    def forward(self, batch: Batch) -> Tensor:
        """Logits [b, tasks].

        The position's term is centred over the training impressions. In serving the position is unknown and the term is left
        out, so the logit is that of the mean position.
        """
        item = self._item(batch)
        fields = item if self.vector is None else torch.cat([item, self.vector(batch.vectors)], dim=1)
        products = self.user(batch.user) * fields
        taste = torch.stack([part.sum(1) for part in products.split(self.field_dims, dim=1)], dim=1)
        pooled, intensity = self._attend(item, batch)
        wide = torch.cat([taste, intensity, batch.matches, batch.features], dim=1)
        # The user's own counts are no input of the trunk: they identify a user's day, and it would learn the day by heart.
        deep = torch.cat([taste, intensity, batch.matches, batch.features[:, :ROOM_FEATURES]], dim=1)
        hidden = self.trunk(torch.cat([self.embedding_dropout(fields), self.embedding_dropout(pooled), deep], dim=1))
        centred = self.position.weight - self.position_share @ self.position.weight
        known = (batch.position > 0).unsqueeze(1)
        return self.heads(hidden) + self.wide(wide) + taste.sum(1, keepdim=True) + centred[batch.position] * known

    def _item(self, batch: Batch) -> Tensor:
        """The room's author and codes [b, item_dim].

        The levels of the codes are summed, as in residual quantization: the user has one taste for them, and a deeper level
        refines the first.
        """
        parts = [self.author(batch.author)]
        if len(self.codes):
            parts.append(sum((table(batch.codes[:, level]) for level, table in enumerate(self.codes)), torch.zeros(())))
        return torch.cat(parts, dim=1)

    def _attend(self, item: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Pooled history [b, item_dim] and its total attention weight as log(1 + weight) [b, 1].

        There are far fewer authors and codes than b × L history entries. So each table's products with the query are computed
        once for all its rows, [b, rows], and looked up, and entries are pooled by their rows. No [b, L, d] is stored. A history
        that all share is itself the table, with rows in its order.
        """
        query = (self.query(item) @ self.key.weight) * self.query.out_features**-0.5  # (W_k h)·(W_q i) = h·(W_kᵀ W_q i)
        by_author, *by_code = query.split(self.item_fields, dim=1)
        tables, places = self._one_history(batch) if len(batch.mask) == 1 else self._histories(batch)
        logits = self.recency + self.attention_bias
        for table, place, part in zip(tables, places, [by_author, *by_code * len(self.codes)], strict=True):
            logits = logits + _looked_up(part @ table.T, place)
        weights = torch.sigmoid(logits) * batch.mask
        share = weights / batch.mask.sum(1, keepdim=True).clamp_min(1).sqrt()
        author, *codes = (_pooled(share, place, table) for table, place in zip(tables, places, strict=True))
        pooled = torch.cat([author, torch.stack(codes).sum(0)], dim=1) if codes else author
        return pooled, torch.log1p(weights.sum(1, keepdim=True))

    def _histories(self, batch: Batch) -> tuple[list[Tensor], list[Tensor | None]]:
        """Tables [rows, d] of authors and of each level's codes, and the histories' places in them, int [b, L]."""
        rows, local = torch.unique(batch.history_author, return_inverse=True)
        return [self.author(rows), *(table.weight for table in self.codes)], [local, *batch.history_codes.unbind(2)]

    def _one_history(self, batch: Batch) -> tuple[list[Tensor], list[Tensor | None]]:
        """The same for a shared history: its entries are the tables, in order, so the places are None."""
        levels = batch.history_codes[0].unbind(1)
        entries = [self.author(batch.history_author[0]), *(code(rows) for code, rows in zip(self.codes, levels, strict=True))]
        return entries, [None] * len(entries)

    def penalty(self, batch: Batch) -> Tensor:
        """Mean squared length of the batch's user factors and room embeddings.

        This prior keeps rare users and rooms near the average. It applies to both sides of the products, because otherwise the
        other side would grow to compensate.
        """
        penalty = self.user(batch.user).square().sum(1).mean() + self._item(batch).square().sum(1).mean()
        if self.vector is not None:
            penalty = penalty + self.vector(batch.vectors).square().sum(1).mean()
        return penalty


def _looked_up(products: Tensor, place: Tensor | None) -> Tensor:
    """[b, L] of `products` [b, rows] at the history's `place` int [b, L]; None: the rows are the entries."""
    return products if place is None else products.gather(1, place)


def _pooled(share: Tensor, place: Tensor | None, table: Tensor) -> Tensor:
    """[b, d] sums of the rows of `table` [rows, d] at the history's `place`, weighted by `share` [b, L]."""
    if place is None:
        return share @ table
    by_row = torch.zeros(len(share), len(table), device=share.device, dtype=share.dtype)
    return by_row.scatter_add(1, place, share) @ table


def code_rows(codes: NDArray[np.integer], sizes: RankerSizes) -> NDArray[np.int64]:
    """[..., levels] codes → rows of the embedding tables of `sizes.code_tables`."""
    rows = np.empty(codes.shape, dtype=np.int64)
    prefix = np.zeros(codes.shape[:-1], dtype=np.int64)
    for level, table in enumerate(sizes.code_tables):
        prefix = prefix * sizes.codes_per_level + codes[..., level]
        rows[..., level] = prefix if table > sizes.codes_per_level or level == 0 else codes[..., level]
    return rows


def masked_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy: the mean of each task's observed labels, summed by weight.

    A NaN label was not observable: it adds nothing and has no gradient (Moment&Cross, arXiv 2408.05709). `weights`: [tasks].
    """
    observed = ~torch.isnan(labels)
    loss = nn.functional.binary_cross_entropy_with_logits(logits, labels.nan_to_num(0.0), reduction="none")
    per_task = torch.where(observed, loss, torch.zeros_like(loss)).sum(0) / observed.sum(0).clamp_min(1)
    return (per_task * weights).sum()
