"""Training impressions as tensors, and batches of impressions that are near in time."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from livealign.config import AlignmentConfig
from livealign.dataset.examples import Examples
from livealign.dataset.features import USER_FEATURES
from livealign.dataset.scaling import position_index, standardise


class ImpressionTensors(NamedTuple):
    """n impressions with known click labels, a tensor for each column, on the device."""

    user: Tensor
    author: Tensor
    segment: Tensor
    room: Tensor
    shown_at: Tensor
    position: Tensor
    click: Tensor
    features: Tensor
    history: Tensor  # int32 [n, L] rows of `engaged_item`, −1 behind `history_length`
    history_length: Tensor
    engaged_item: Tensor  # [engagements + 1]

    @classmethod
    def of(
        cls, examples: Examples, mean: NDArray, std: NDArray, config: AlignmentConfig, device: torch.device
    ) -> "ImpressionTensors":
        """The columns of `examples`, with user features standardised by `mean` and `std`."""

        def tensor(values: NDArray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device)

        return cls(
            tensor(examples.user),
            tensor(examples.author),
            tensor(examples.segment),
            tensor(examples.room_id),
            tensor(examples.shown_at),
            tensor(position_index(examples.position, config.positions)),
            tensor(examples.label("click")),
            tensor(standardise(examples.features[:, USER_FEATURES], mean, std)),
            tensor(examples.history),
            tensor(examples.history_length),
            tensor(examples.engaged.item),
        )

    def histories(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Item rows of the histories of these impressions, and which places they fill, [b, L] each."""
        places = torch.arange(self.history.shape[1], device=rows.device)
        return self.engaged_item[self.history[rows]], places < self.history_length[rows, None]


def time_batches(n: int, config: AlignmentConfig, device: torch.device) -> Iterator[Tensor]:
    """Shuffled batches of an epoch, made of runs of `config.run` consecutive impressions.

    The negatives of the in-batch softmax are then rooms that were live at the time of the click. From random negatives the
    towers would learn when users are awake instead of what they like.
    """
    runs = torch.arange(n).split(config.run)
    order = torch.randperm(len(runs)).split(max(1, config.batch_size // config.run))
    for batch in order:
        yield torch.cat([runs[run] for run in batch.tolist()]).to(device)
