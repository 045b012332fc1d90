"""Pack texts as a prefix tree of tokens: no padding, shared beginnings once.

In a causal model a token sees only the tokens before it, so two texts with the same beginning have the same hidden states
there, in every layer. The tokens of a batch therefore form the nodes of a prefix tree. Everything but attention (norms,
projections, the MLP: nearly all of the work) is computed once for each node; attention reads each text's path in the tree.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

LENGTH_STEP = 16  # texts whose lengths differ by less share one attention call
NODE_STEPS = 32  # number of batch sizes: libraries keep a compiled product for every shape that they meet
PATHS_PER_NODE = 4  # upper limit of a batch's path tokens per node, so that shared beginnings cannot make attention dear


@dataclass(frozen=True)
class Group:
    """Texts of similar length.

    `nodes` int64 [rows, longest], padded on the right by node 0; `lengths` int64 [rows].
    """

    nodes: Tensor
    lengths: Tensor

    @property
    def real(self) -> Tensor:
        """Whether a place is a token and no padding: bool [rows, longest]."""
        return torch.arange(self.nodes.shape[1], device=self.nodes.device) < self.lengths[:, None]


class Prefix(NamedTuple):
    """The nodes that hold tokens of pictures, which no vocabulary has (`livealign.llm.prefix`)."""

    nodes: Tensor  # int64 [p]
    values: Tensor  # [p, hidden] what stands in the place of their embeddings

    def put(self, embedded: Tensor) -> Tensor:
        """The embeddings [n, hidden] of all nodes, the pictures' tokens in their places."""
        return embedded.index_copy(0, self.nodes, self.values.to(embedded.dtype))


@dataclass(frozen=True)
class PackedBatch:
    """n nodes that hold the tokens of some texts.

    `ids` and `positions` are int64 [n]. The groups' padded tokens, concatenated, are m places: `places` int64 [m] is the node
    of each, `home` int64 [n] one place of each node. The ids of nodes in `prefix` mean nothing.
    """

    ids: Tensor
    positions: Tensor
    groups: tuple[Group, ...]
    places: Tensor
    home: Tensor
    prefix: Prefix | None = None

    def to_paths(self, values: Tensor) -> list[Tensor]:
        """[n, width] of the nodes → [rows, longest, width] of the texts, for each group."""
        shapes = [group.nodes.shape for group in self.groups]
        parts = F.embedding(self.places, values).split([rows * longest for rows, longest in shapes])
        return [part.unflatten(0, shape) for part, shape in zip(parts, shapes, strict=True)]

    def to_nodes(self, paths: Sequence[Tensor]) -> Tensor:
        """[rows, longest, width] for each group → [n, width].

        Texts that share a node agree there, so one of them is read.
        """
        flat = [values.flatten(0, 1) for values in paths]
        return F.embedding(self.home, flat[0] if len(flat) == 1 else torch.cat(flat))


def pack(
    tokens: Sequence[Sequence[int]], most_nodes: int, share: bool, device: torch.device, least_batches: int = 1
) -> Iterator[tuple[np.ndarray, PackedBatch]]:
    """Pack token ids into batches of about equal cost.

    Yields:
        (row numbers in the batch's order, batch).

    Args:
        tokens: one non-empty list of ids for each text.
        most_nodes: largest number of nodes of a batch; a longer text has a batch of its own.
        share: whether equal beginnings share nodes; only a causal model allows it.
        device: where the batches will be used.
        least_batches: smallest number of batches (one for each worker), if there are enough texts.
    """
    if not tokens:
        return
    order, table, lengths, shared = _sorted(tokens, share)
    for start, end in _cuts(lengths, shared, most_nodes, least_batches):
        again = shared[start:end].copy()
        again[0] = 0  # the previous row lies in another batch
        rows, batch = _batch(table[start:end], lengths[start:end], again, device, multiple=max(1, most_nodes // NODE_STEPS))
        yield order[start:end][rows], batch


def pack_whole(tokens: Sequence[Sequence[int]], share: bool, device: torch.device) -> tuple[np.ndarray, PackedBatch]:
    """All texts as one batch, however long: (row numbers in the batch's order, batch)."""
    order, table, lengths, shared = _sorted(tokens, share)
    rows, batch = _batch(table, lengths, shared, device)
    return order[rows], batch


def _sorted(tokens: Sequence[Sequence[int]], share: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(order, ids [n, longest] with −1 behind the end, lengths, leading tokens shared with the previous row), int64, sorted.

    With `share`, texts with the same beginning are adjacent; without it the longest texts come first.
    """
    lengths = np.fromiter((len(ids) for ids in tokens), np.int64, len(tokens))
    order = (
        np.array(sorted(range(len(tokens)), key=lambda row: list(tokens[row])))
        if share
        else np.argsort(-lengths, kind="stable")
    )
    lengths = lengths[order]
    columns = np.arange(lengths.max())
    table = np.full((len(tokens), len(columns)), -1, np.int64)
    table[columns < lengths[:, None]] = np.concatenate([tokens[row] for row in order])
    return order, table, lengths, _shared_with_previous_row(table) if share else np.zeros(len(tokens), np.int64)


def _shared_with_previous_row(table: np.ndarray) -> np.ndarray:
    """The number of leading tokens of each row that equal the previous row's: int64 [n].

    `table` is [n, width], with −1 behind a row's end.
    """
    equal = (table[1:] == table[:-1]) & (table[1:] >= 0)
    return np.concatenate([[0], np.logical_and.accumulate(equal, axis=1).sum(axis=1)])


def _cuts(lengths: np.ndarray, shared: np.ndarray, most_nodes: int, least_batches: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows, each with about the same number of nodes and at most `most_nodes`."""
    nodes, paths = np.cumsum(lengths - shared), np.cumsum(lengths)
    batches = -(-int(nodes[-1]) // max(1, most_nodes))
    batches = -(-batches // least_batches) * least_batches
    size = min(most_nodes, -(-int(nodes[-1]) // batches))
    start = 0
    while start < len(lengths):
        before = (nodes[start] - lengths[start], paths[start] - lengths[start])  # the first row of a batch shares no node
        end = min(
            np.searchsorted(nodes, before[0] + max(size, int(lengths[start])), side="right"),
            np.searchsorted(paths, before[1] + PATHS_PER_NODE * max(size, int(lengths[start])), side="right"),
        )
        yield start, int(end)
        start = int(end)


def _batch(
    table: np.ndarray, lengths: np.ndarray, shared: np.ndarray, device: torch.device, multiple: int = 1
) -> tuple[np.ndarray, PackedBatch]:
    """(the order of the rows in the batch, the batch) of sorted rows `table` [rows, width].

    Nodes without a text pad it to a multiple of `multiple`.
    """
    columns = np.arange(table.shape[1])
    real = columns < lengths[:, None]
    new = real & (columns >= shared[:, None])
    number = np.where(new, np.cumsum(new).reshape(new.shape) - 1, -1)
    # A row's shared tokens are the newest nodes of their columns: the previous row has or shares them.
    number = np.where(real, np.maximum.accumulate(number, axis=0), 0)
    steps = -(-lengths // LENGTH_STEP)
    rows = np.argsort(steps, kind="stable")
    first_place, groups, places = np.empty(len(rows), np.int64), [], 0
    for step in np.unique(steps):
        members = rows[steps[rows] == step]
        width = int(lengths[members].max())
        first_place[members] = places + width * np.arange(len(members))
        places += width * len(members)
        groups.append(Group(_tensor(number[members, :width], device), _tensor(lengths[members], device)))
    fill = -int(new.sum()) % multiple
    home, positions, ids = (
        np.append(values[new], np.zeros(fill, np.int64))
        for values in (first_place[:, None] + columns, np.broadcast_to(columns, table.shape), table)
    )
    nodes = torch.cat([group.nodes.flatten() for group in groups])
    return rows, PackedBatch(_tensor(ids, device), _tensor(positions, device), tuple(groups), nodes, _tensor(home, device))


def _tensor(values: np.ndarray, device: torch.device) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
