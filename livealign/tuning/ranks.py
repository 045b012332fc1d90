"""Processes that tune together: shares of texts, gathered vectors, summed gradients.

GradCache cuts the graph at the vectors anyway, so nothing has to be differentiated through the network: vectors are gathered
without a graph, every rank takes the loss of all of them and passes on the gradient of its own rows, and the adapter's
gradients are summed. All ranks then hold the same bits.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from livealign.errors import TrainingError


class Ranks:
    """This process among those of torch's process group; alone where there is none."""

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        if group is None and dist.is_available() and dist.is_initialized():
            group = dist.group.WORLD
        self.group = group
        self.rank, self.world = (0, 1) if group is None else (group.rank(), group.size())

    @property
    def alone(self) -> bool:
        """Whether this process tunes by itself."""
        return self.group is None

    @property
    def is_first(self) -> bool:
        """Whether this process writes: checkpoints, the adapter, progress."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """The rows of this rank, of `rows` in all; every rank has one at least.

        Raises:
            TrainingError: there are more ranks than rows.
        """
        if rows < self.world:
            raise TrainingError(f"a batch of {rows} texts is too small for {self.world} ranks; lower machines.ranks")
        return self._share_of(self.rank, rows)

    def gather(self, mine: Tensor, rows: int) -> Tensor:
        """The rows [rows, …] of all ranks in order; of several ranks without a graph.

        Args:
            mine: this rank's.
            rows: of all ranks together.
        """
        if self.group is None:
            return mine
        shares = [self._share_of(rank, rows) for rank in range(self.world)]
        longest = max(share.stop - share.start for share in shares)
        padded = mine.new_zeros(longest, *mine.shape[1:])
        padded[: len(mine)] = mine.detach()
        parts = [torch.empty_like(padded) for _ in shares]
        self.group.allgather([parts], [padded]).wait()
        return torch.cat([part[: share.stop - share.start] for part, share in zip(parts, shares, strict=True)])

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace each gradient by its sum over the ranks; a missing one counts as zeros."""
        if self.group is None:
            return
        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        self.group.allreduce([flat]).wait()
        for parameter, part in zip(parameters, flat.split([one.numel() for one in parameters]), strict=True):
            parameter.grad = part.view_as(parameter).clone()

    def total(self, number: float, device: torch.device) -> float:
        """The sum of every rank's number, in float64."""
        if self.group is None:
            return number
        tensor = torch.tensor([number], dtype=torch.float64, device=device)
        self.group.allreduce([tensor]).wait()
        return float(tensor)

    def most(self, number: int, device: torch.device) -> int:
        """The largest of every rank's number."""
        if self.group is None:
            return number
        tensor = torch.tensor([number], dtype=torch.int64, device=device)
        self.group.allreduce([tensor], dist.ReduceOp.MAX).wait()
        return int(tensor)

    def from_first(self, content: bytes, device: torch.device) -> bytes:
        """The first rank's bytes, on every rank."""
        if self.group is None:
            return content
        length = torch.tensor([len(content)], dtype=torch.int64, device=device)
        self.group.broadcast(length, 0).wait()
        buffer = torch.zeros(int(length), dtype=torch.uint8, device=device)
        if self.is_first and content:
            buffer.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        self.group.broadcast(buffer, 0).wait()
        return buffer.cpu().numpy().tobytes()

    def _share_of(self, rank: int, rows: int) -> slice:
        return slice(rows * rank // self.world, rows * (rank + 1) // self.world)
