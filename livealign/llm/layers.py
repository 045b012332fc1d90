"""A transformer that can be entered and left at any layer.

Early exit and the layers that raw and tuned vectors share need this.
"""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from livealign.llm.packing import Group, PackedBatch
from livealign.llm.pooling import Pooling


class Stack(Protocol):
    """Layers of a model that run on packed batches, one after another."""

    causal: bool
    n_layers: int
    hidden_size: int

    def embed(self, batch: PackedBatch) -> Tensor:
        """Layer-0 hidden states [nodes, hidden]."""
        ...

    def run(self, hidden: Tensor, batch: PackedBatch, first: int, last: int) -> Tensor:
        """Hidden states [nodes, hidden] after layers first..last-1."""
        ...

    def read(self, hidden: Tensor, batch: PackedBatch, first: int, last: int, pooling: Pooling) -> Tensor:
        """`run`, then one vector for each text: float32 [texts, hidden]."""
        ...


class LayerStack:
    """transformers' own layers of a model's body, without its head.

    The body is a decoder (Llama, Qwen, Mistral, …) or an encoder (BERT). Each group of a batch is padded on the right, so a
    causal model needs no mask: real tokens never see padding.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model  # its parts are looked up by name: transformers' classes share no interface
        self.causal = hasattr(model, "layers") and hasattr(model, "rotary_emb")
        encoder: Any = getattr(model, "encoder", None)
        layers: Any = self.model.layers if self.causal else getattr(encoder, "layer", None)
        self.layers: list[nn.Module] = list(layers or ())
        self.n_layers = len(self.layers)
        config: Any = self.model.config
        self.hidden_size = int(config.hidden_size)

    def embed(self, batch: PackedBatch) -> Tensor:
        """Layer-0 hidden states [nodes, hidden]."""
        if self.causal:
            embedded: Tensor = self.model.embed_tokens(batch.ids)
            return embedded
        return batch.to_nodes([self.model.embeddings(input_ids=batch.ids[group.nodes]) for group in batch.groups])

    def run(self, hidden: Tensor, batch: PackedBatch, first: int, last: int) -> Tensor:
        """Hidden states [nodes, hidden] after layers first..last-1."""
        paths = zip(batch.to_paths(hidden), batch.groups, strict=True)
        return batch.to_nodes([self._run_padded(states, group, first, last) for states, group in paths])

    def read(self, hidden: Tensor, batch: PackedBatch, first: int, last: int, pooling: Pooling) -> Tensor:
        """`run`, then one vector for each text: float32 [texts, hidden]."""
        return pooling(batch, self.run(hidden, batch, first, last))

    def _run_padded(self, hidden: Tensor, group: Group, first: int, last: int) -> Tensor:
        positions = torch.arange(hidden.shape[1], device=hidden.device)[None]
        arguments: dict[str, Any]
        if self.causal:
            arguments = {"position_ids": positions, "position_embeddings": self.model.rotary_emb(hidden, positions)}
        else:
            arguments = {"attention_mask": (positions < group.lengths[:, None])[:, None, None, :]}
        for layer in self.layers[first:last]:
            output = layer(hidden, **arguments)
            hidden = output[0] if isinstance(output, tuple) else output
        return hidden


def agrees_with(stack: Stack, model: nn.Module, layers: int) -> bool:
    """Whether the stack's first `layers` layers give what the model's forward pass gives.

    99 % of the elements must agree: bfloat16 rounds a few near zero differently, while a part with another meaning changes
    all of them.
    """
    device = next(model.parameters()).device
    ids = torch.arange(1, 13, device=device).view(2, 6)
    nodes = torch.arange(12, device=device)
    group = Group(nodes.view(2, 6), torch.tensor([6, 6], device=device))
    batch = PackedBatch(ids.flatten(), nodes % 6, (group,), nodes, nodes)
    with torch.inference_mode():
        expected = model(input_ids=ids, output_hidden_states=True).hidden_states[layers].flatten(0, 1).float()
        try:
            states = stack.run(stack.embed(batch), batch, 0, layers).float()
        except (AttributeError, KeyError, TypeError):
            return False
    close = torch.isclose(states, expected, rtol=2e-2, atol=2e-2 * float(expected.std()))
    return float(close.float().mean()) >= 0.99


def copy_with_own_layers(model: nn.Module, first: int, last: int) -> Any:
    """A copy of the model that ends after layer `last` and owns layers first..last-1.

    Everything else shares memory with the original.
    """
    own = {id(parameter) for layer in LayerStack(model).layers[first:last] for parameter in layer.parameters()}
    shared = {id(parameter): parameter for parameter in model.parameters() if id(parameter) not in own}
    duplicate: Any = copy.deepcopy(model, shared)
    if hasattr(duplicate, "layers"):
        duplicate.layers = duplicate.layers[:last]
    else:
        duplicate.encoder.layer = duplicate.encoder.layer[:last]
    return duplicate


@contextmanager
def quiet_adapters() -> Iterator[None]:
    """Silence a warning of peft while it wraps a model.

    This version of peft reads a property of transformers by its old name, on every call.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        yield
