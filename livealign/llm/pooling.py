"""Token vectors to one text vector: mean, last, or weighted by rarity.

- `mean`: the mean of all tokens.
- `last`: the vector of the last token.
- `telling`: a mean with the weight w(t) = s / (s + p(t)) for each token; p(t) is its share of all tokens in the tuning texts,
  and a token of share s counts half (SIF: Arora, Liang and Ma 2017, section 3). Words of every text ("minute", "host", "the")
  then no longer hide the topic. The weights are part of an adapter and lie in its folder. A picture's token counts 1, what the
  formula gives for p = 0: no text has it.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from livealign.errors import BackboneError
from livealign.llm.packing import PackedBatch

WEIGHTS_FILE = "token_weights.safetensors"  # in an adapter's folder
MEAN, LAST, TELLING = POOLINGS = ("mean", "last", "telling")


@dataclass(frozen=True)
class Pooling:
    """One pooling; `telling` has token `weights`, float32 [vocabulary]."""

    name: str
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        """Raises BackboneError: there is no such pooling, or its weights are missing."""
        if self.name not in POOLINGS:
            raise BackboneError(f"there is no pooling '{self.name}'; use {', '.join(POOLINGS)}")
        if (self.name == TELLING) != (self.weights is not None):
            raise BackboneError(f"pooling '{self.name}' and these token weights do not go together; tune the adapter again")

    @classmethod
    def of(cls, name: str, adapter: Path | None, device: torch.device) -> "Pooling":
        """The pooling of this name, with the adapter folder's token weights if it needs them.

        Raises:
            BackboneError: it needs weights, and there is no adapter or its weights cannot be read.
        """
        if name != TELLING:
            return cls(name)
        if adapter is None:
            raise BackboneError(f"pooling '{TELLING}' needs the token weights of an adapter; load the Encoder with one")
        return cls(name, read_token_weights(adapter).to(device))

    def __call__(self, batch: PackedBatch, values: Tensor) -> Tensor:
        """[n, width] of the nodes → float32 [texts, width], in the order of the batch's groups."""
        with torch.autocast(values.device.type, enabled=False):  # a mean rounded to the layers' type would lose digits
            return self._pooled(batch, values)

    def _pooled(self, batch: PackedBatch, values: Tensor) -> Tensor:
        of_nodes = None if self.weights is None else self.weights[batch.ids]
        if of_nodes is not None and batch.prefix is not None:
            of_nodes = of_nodes.index_fill(0, batch.prefix.nodes, 1.0)
        pooled = []
        for group in batch.groups:
            if self.name == LAST:
                last = group.nodes.gather(1, group.lengths[:, None] - 1)[:, 0]
                pooled.append(F.embedding(last, values).float())
                continue
            weights = group.real.float() if of_nodes is None else of_nodes[group.nodes] * group.real
            weights = weights / weights.sum(dim=1, keepdim=True)
            pooled.append(torch.bmm(weights[:, None], F.embedding(group.nodes, values).float())[:, 0])
        return torch.cat(pooled)


def telling_weights(tokens: Iterable[Sequence[int]], vocabulary: int, half_share: float) -> Tensor:
    """Token weights w(t) = s / (s + p(t)), float32 [vocabulary], from texts' token ids.

    s is `half_share`, p(t) the share of token t.
    """
    ids = np.concatenate([np.zeros(0, np.int64), *(np.asarray(row, np.int64) for row in tokens)])
    share = np.bincount(ids, minlength=vocabulary) / max(1, len(ids))
    return torch.from_numpy((half_share / (half_share + share)).astype(np.float32))


def write_token_weights(weights: Tensor, folder: Path) -> None:
    """Write token weights into an adapter's folder."""
    save_file({"weights": weights.cpu().contiguous()}, folder / WEIGHTS_FILE)


def read_token_weights(folder: Path) -> Tensor:
    """The token weights of an adapter's folder, float32 [vocabulary].

    Raises:
        BackboneError: the file is missing or damaged.
    """
    file = folder / WEIGHTS_FILE
    try:
        return load_file(file)["weights"]
    except (OSError, SafetensorError, KeyError) as error:
        raise BackboneError(f"{file} cannot be read ({error}); tune the adapter again") from error


def token_weights_sha256(pooling: Pooling) -> str | None:
    """SHA-256 of the token weights; None for a pooling without them."""
    return None if pooling.weights is None else hashlib.sha256(pooling.weights.cpu().numpy().tobytes()).hexdigest()
