"""A stack of fused layers, and the choice between it and the model's own forward pass."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from livealign.errors import BackboneError
from livealign.llm.agreement import Agreement
from livealign.llm.fused_layer import Rotations
from livealign.llm.fused_parts import ONE_ROTATION, UnknownPart, fused_layer, rotates_by_type
from livealign.llm.layers import LayerStack, Stack
from livealign.llm.packing import PackedBatch
from livealign.llm.picture_reading import IN_GRID, grid_of_nodes, reading_of
from livealign.llm.pooling import Pooling


class FusedStack:
    """The layers of one causal model as FusedLayers.

    The model's own weights become views of the fused ones, so no memory is added. Only the oneDNN products
    (`livealign.llm.matmul`) keep copies of their weights.

    `checkpoint_layers`: keep only each layer's input for the backward pass and compute the rest again.
    `last`: how many layers will be run, None for all; the rest is not built.
    `differentiable`: whether gradients pass through layers without an adapter too.

    Raises:
        UnknownPart: the layers have a part that the fused ones do not know.
    """

    causal = True

    def __init__(
        self, model: nn.Module, checkpoint_layers: bool = False, last: int | None = None, differentiable: bool = False
    ) -> None:
        plain = LayerStack(model)
        self.model: Any = model
        self.n_layers, self.hidden_size, self.checkpoint_layers = plain.n_layers, plain.hidden_size, checkpoint_layers
        if not (plain.causal and plain.path == "layers" and hasattr(model, "rotary_emb") and hasattr(model, "embed_tokens")):
            raise UnknownPart(f"{type(model).__name__}, which is no decoder like Llama")
        self._by_type = rotates_by_type(model)
        self.layers = [fused_layer(layer, index, model, differentiable) for index, layer in enumerate(plain.layers[:last])]

    def embed(self, batch: PackedBatch) -> Tensor:
        """Layer-0 hidden states [nodes, hidden]."""
        embedded: Tensor = self.model.embed_tokens(batch.ids)
        return embedded if batch.prefix is None else batch.prefix.put(embedded)

    def run(self, hidden: Tensor, batch: PackedBatch, first: int, last: int) -> Tensor:
        """Hidden states [nodes, hidden] after layers first..last-1."""
        rotations = self.rotations(hidden, batch)
        for layer in self.layers[first:last]:
            if self.checkpoint_layers and torch.is_grad_enabled():
                hidden = checkpoint(layer, hidden, batch, rotations, use_reentrant=False)
            else:
                hidden = layer(hidden, batch, rotations)
        return hidden

    def read(self, hidden: Tensor, batch: PackedBatch, first: int, last: int, pooling: Pooling) -> Tensor:
        """`run`, then one vector for each text: float32 [texts, hidden].

        Pooling and the last layer's last product are both linear, so the activations are pooled first and the product is
        computed once for each text instead of once for each token. Where a norm follows that product, this does not hold.
        """
        layer = self.layers[last - 1]
        if layer.after_mlp is not None:
            return pooling(batch, self.run(hidden, batch, first, last))
        hidden = self.run(hidden, batch, first, last - 1)
        hidden = layer.attend(hidden, batch, self.rotations(hidden, batch))
        activations = pooling(batch, layer.activations(hidden))
        return pooling(batch, hidden) + layer.down(activations.to(hidden.dtype)).float()

    def rotations(self, hidden: Tensor, batch: PackedBatch) -> Rotations:
        """Cosine and sine of each node, [n, 1, rotated / 2], for each name of a rotation."""
        if batch.prefix is not None and reading_of(self.model) == IN_GRID:
            positions, of_nodes = grid_of_nodes(batch), torch.arange(len(batch.ids), device=hidden.device)
        else:
            longest = max(group.nodes.shape[1] for group in batch.groups)
            positions, of_nodes = torch.arange(longest, device=hidden.device)[None], batch.positions
        rotations = {}
        for name in {layer.rotation for layer in self.layers} - {None}:
            kind = {"layer_type": name} if self._by_type else {}
            cosine, sine = self.model.rotary_emb(hidden, positions, **kind)
            half = cosine.shape[-1] // 2  # both halves of a head turn by the same angles
            rotations[name or ONE_ROTATION] = (
                cosine[0, of_nodes, None, :half],
                sine[0, of_nodes, None, :half],
            )
        return rotations


def stack_of(model: nn.Module, checkpoint_layers: bool = False, last: int | None = None, differentiable: bool = False) -> Stack:
    """The fused layers up to `last`, or the model's own forward pass.

    The fused ones are chosen if they know all of its parts and agree with it.

    Raises:
        BackboneError: the model's own pass reads a text in a batch otherwise than alone.
    """
    plain = LayerStack(model)
    agreement = Agreement(plain, last or plain.n_layers)
    try:
        fused = FusedStack(model, checkpoint_layers, last, differentiable)
    except UnknownPart:
        fused = None
    if fused is not None and agreement.of_fused(fused):
        return fused
    if not agreement.of_plain():
        raise BackboneError(
            f"{type(model).__name__} reads a text in a batch otherwise than alone, or its numbers overflow; use another model"
        )
    return plain
