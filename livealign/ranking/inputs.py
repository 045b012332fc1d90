"""The ranker's inputs: history matches, and impressions as tensors."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from livealign.dataset.examples import Examples
from livealign.dataset.scaling import position_index, standardise
from livealign.ranking.network import Batch, ItemTable, RankerSizes, code_rows

_CHUNK = 8_192  # impressions at a time


def history_matches(examples: Examples, items: ItemTable) -> NDArray[np.float32]:
    """Similarity of the room to the user's history: float32 [n, 3 or 6].

    log(1 + length of the history); for the author: log(1 + entries with the same author) and their share; for vectors without
    codes: mean, largest and mean positive cosine. With codes the tastes are used instead: cosines and shared codes are too good
    on the impressions from which the vectors were learned, and a ranker that relies on them is worse on others
    (docs/experiments).
    """
    parts = []
    for start in range(0, len(examples), _CHUNK):
        part = examples.take(slice(start, start + _CHUNK))
        author, length = part.author[:, None], part.history_length
        inside = np.arange(part.places) < length[:, None]
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
class ImpressionTable:
    """Impressions as tensors on the device, and the item tables that they point into."""

    columns: dict[str, Tensor]
    engaged_author: Tensor  # int [engagements + 1], as `Examples.engaged`
    engaged_item: Tensor  # int [engagements + 1]
    codes: Tensor  # int [items, levels] rows of the code tables
    vectors: Tensor  # [items, vector_dim]

    @classmethod
    def of(
        cls,
        examples: Examples,
        items: ItemTable,
        sizes: RankerSizes,
        scales: dict[str, NDArray[np.float32]],
        device: torch.device,
        position: int | None,
        matches: NDArray[np.float32],
    ) -> "ImpressionTable":
        """The table of `examples`.

        `position`: rows of the position table, None for unknown positions; `matches`: [n, sizes.matches].
        """

        def tensor(values: NDArray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device)

        n = len(examples)
        known = np.zeros(n, dtype=np.int64) if position is None else position_index(examples.position, position)
        n_items = 1 + int(max(examples.item.max(initial=0), examples.engaged.item.max(initial=0)))
        codes = np.zeros((n_items, 0), dtype=np.int64) if items.codes is None else code_rows(items.codes, sizes)
        vectors = np.zeros((n_items, 0), dtype=np.float32) if items.vectors is None else items.vectors
        return cls(
            {
                "user": tensor(examples.user),
                "author": tensor(examples.author),
                "item": tensor(examples.item),
                "position": tensor(known),
                "features": tensor(standardise(examples.features, scales["feature_mean"], scales["feature_std"])),
                "matches": tensor(standardise(matches, scales["match_mean"], scales["match_std"])),
                "history": tensor(examples.history),
                "history_length": tensor(examples.history_length),
                "labels": tensor(examples.labels),
            },
            tensor(examples.engaged.author),
            tensor(examples.engaged.item),
            tensor(codes),
            tensor(vectors.astype(np.float32, copy=False)),
        )

    def batch(self, rows: Tensor) -> Batch:
        n = len(self.columns["item"])  # a shared history is stored once
        taken = {
            name: values[rows] if len(values) == n else values for name, values in self.columns.items() if name != "labels"
        }
        item, history, length = taken.pop("item"), taken.pop("history"), taken.pop("history_length")
        return Batch(
            codes=self.codes[item],
            vectors=self.vectors[item],
            history_author=self.engaged_author[history],
            history_codes=self.codes[self.engaged_item[history]],
            mask=torch.arange(history.shape[1], device=history.device) < length[:, None],
            **taken,
        )
