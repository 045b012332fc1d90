"""Layers whose weights the ranks share out (FSDP), for a backbone that does not fit a card.

    frozen, adapted = sharded_stacks(backbone, body, last)      # in the place of `stack_of` on every rank

Each rank keeps a share of every layer's frozen weights. Before a layer runs, torch's `fully_shard` gathers them from all ranks,
and they are freed behind it; the backward pass gathers them again and computes the layer anew. Adapters, optimizer and
checkpoints stay whole on each rank: they are small. Source: Zhao et al. 2023, PyTorch FSDP.

Gathering waits for all ranks, so they have to run the same layers equally often: layers are gathered by `ShardedStack.run`,
once whatever groups of texts a rank has, and `TuningLoop` gives all ranks equally many chunks. Layers are transformers' own:
the fused ones hold their weights in other tensors.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.utils.checkpoint import checkpoint

from livealign.llm.backbone import Backbone
from livealign.llm.layers import LayerStack, probe_ids
from livealign.llm.packing import PackedBatch
from livealign.llm.pooling import Pooling

PROBE_TOKENS = 4


def sharded_stacks(backbone: Backbone, body: nn.Module, last: int) -> tuple["ShardedStack", "ShardedStack"]:
    """The frozen and the adapted layers of torch's process group.

    Args:
        backbone: loaded on the CPU whole; its device is that of the ranks.
        body: a copy with own layers, whose trainable parameters are the adapter's.
        last: how many layers are run.
    """
    group: Any = dist.group.WORLD
    mesh = DeviceMesh.from_group(group, backbone.device.type)
    frozen, adapted = (ShardedStack(model) for model in (backbone.model, body))
    for stack in (frozen, adapted):
        stack.shard(mesh, last, backbone.device)
    return frozen, adapted


class ShardedStack:
    """The layers of one model, each gathered from the ranks while it runs."""

    def __init__(self, model: nn.Module) -> None:
        self.plain = LayerStack(model)
        self.model: Any = model
        self.n_layers, self.hidden_size = self.plain.n_layers, self.plain.hidden_size
        # Both are found out by passes of the whole model, which has to be done before it is in parts.
        self.causal = self.plain.causal
        self.plain.learn(probe_ids(model)[None, :PROBE_TOKENS])

    def shard(self, mesh: DeviceMesh, last: int, device: torch.device) -> None:
        """Keep this rank's share of the layers up to `last`, and move all else to the device."""
        for layer in self.plain.layers[:last]:
            trained = {parameter for parameter in layer.parameters() if parameter.requires_grad}
            for parameter in trained:
                parameter.data = parameter.data.to(device)
            # `run` frees the weights: torch's own rule would gather them for each group of texts.
            fully_shard(layer, mesh=mesh, reshard_after_forward=False, ignored_params=trained)
            layer.set_reshard_after_backward(False)
        unused = {id(parameter) for layer in self.plain.layers[last:] for parameter in layer.parameters()}
        for parameter in self.model.parameters():
            if id(parameter) not in unused and parameter.device != device:
                parameter.data = parameter.data.to(device)
        for buffer in self.model.buffers():
            buffer.data = buffer.data.to(device)

    def embed(self, batch: PackedBatch) -> Tensor:
        """Layer-0 hidden states [nodes, hidden]."""
        return self.plain.embed(batch)

    def run(self, hidden: Tensor, batch: PackedBatch, first: int, last: int) -> Tensor:
        """Hidden states [nodes, hidden] after layers first..last-1."""
        if not torch.is_grad_enabled():
            for index in range(first, last):
                hidden = _Gathered(self.plain, index)(hidden, batch)
            return hidden
        if not hidden.requires_grad:  # so that the first layer, too, is freed behind its backward pass
            hidden = hidden.detach().requires_grad_()
        for index in range(first, last):
            hidden = checkpoint(_Gathered(self.plain, index), hidden, batch, use_reentrant=False)
        return hidden

    def read(self, hidden: Tensor, batch: PackedBatch, first: int, last: int, pooling: Pooling) -> Tensor:
        """`run`, then one vector for each text: float32 [texts, hidden]."""
        return pooling(batch, self.run(hidden, batch, first, last))


class _Gathered:
    """One pass of one layer, and its repetition in the backward pass."""

    def __init__(self, plain: LayerStack, index: int) -> None:
        self.plain, self.index, self.repeated = plain, index, False

    def __call__(self, hidden: Tensor, batch: PackedBatch) -> Tensor:
        layer = self.plain.layers[self.index]
        layer.unshard()
        hidden = self.plain.run(_FreedBehind.apply(hidden, layer), batch, self.index, self.index + 1)
        if not self.repeated:  # else the backward pass of the layer comes now
            layer.reshard()
        self.repeated = True
        return hidden


class _FreedBehind(torch.autograd.Function):
    """The input of a layer: its gradient is computed last, and the weights are freed then."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, layer: Any) -> Tensor:
        ctx.layer = layer
        return hidden.view_as(hidden)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        ctx.layer.reshard()
        return gradients[0], None
