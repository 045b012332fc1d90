"""A transformer as a stack of layers that can be entered and left anywhere: what early exit and layer sharing need."""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class LayerStack:
    """Runs layers `first..last` of a decoder (Llama, Qwen, Mistral) or encoder (BERT) body, and never its head.

    Sequences are padded on the right, so a causal model needs no mask at all: real tokens never see padding.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model  # its parts are looked up by name: transformers' classes share no interface
        self.causal = hasattr(model, "layers") and hasattr(model, "rotary_emb")
        encoder: Any = getattr(model, "encoder", None)
        layers: Any = self.model.layers if self.causal else getattr(encoder, "layer", None)
        self.layers: list[nn.Module] = list(layers or ())

    @property
    def n_layers(self) -> int:
        return len(self.layers)

    @property
    def hidden_size(self) -> int:
        return int(self.model.config.hidden_size)

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids int64 [rows, length] → layer-0 hidden states [rows, length, hidden]."""
        embedded: Tensor = self.model.embed_tokens(ids) if self.causal else self.model.embeddings(input_ids=ids)
        return embedded

    def run(self, hidden: Tensor, lengths: Tensor, first: int, last: int) -> Tensor:
        """Hidden states [rows, length, hidden] after layers first..last-1; `lengths` int64 [rows] counts real tokens."""
        arguments = self._arguments(hidden, lengths)
        for layer in self.layers[first:last]:
            output = layer(hidden, **arguments)
            hidden = output[0] if isinstance(output, tuple) else output
        return hidden

    def _arguments(self, hidden: Tensor, lengths: Tensor) -> dict[str, Any]:
        positions = torch.arange(hidden.shape[1], device=hidden.device)[None]
        if self.causal:
            return {"position_ids": positions, "position_embeddings": self.model.rotary_emb(hidden, positions)}
        return {"attention_mask": (positions < lengths[:, None])[:, None, None, :]}

    @classmethod
    def agrees_with(cls, model: nn.Module) -> bool:
        """True where running the layers one by one gives what the model's own forward pass gives."""
        stack = cls(model)
        if not stack.layers:
            return False
        device = next(model.parameters()).device
        ids = torch.arange(1, 13, device=device).view(2, 6)
        lengths = torch.tensor([6, 6], device=device)
        with torch.inference_mode():
            expected = model(input_ids=ids, output_hidden_states=True).hidden_states[-2]
            try:
                found = stack.run(stack.embed(ids), lengths, 0, stack.n_layers - 1)
            except (AttributeError, KeyError, TypeError):
                return False
        return torch.allclose(found.float(), expected.float(), rtol=2e-2, atol=2e-2 * float(expected.float().std()))


def copy_with_own_layers(model: nn.Module, first: int, last: int) -> Any:
    """A copy that ends after layer `last` and owns layers first..last-1; everything else shares memory with the original."""
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
    """Around peft calls that wrap a model: this peft asks transformers for a property by its old name, on every call."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        yield
