"""A transformer that can be entered and left at any layer.

Early exit and the layers that raw and tuned vectors share need this.
"""

import copy
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from livealign.errors import BackboneError
from livealign.llm.packing import Group, PackedBatch
from livealign.llm.picture_reading import in_pictures, own_inputs
from livealign.llm.pooling import Pooling

CAUSAL = "livealign_causal"  # attribute of a model, so that a copy need not be asked again
PROBE_TOKENS = 8


class Stack(Protocol):
    """Layers of a model that run on packed batches, one after another."""

    model: Any
    n_layers: int
    hidden_size: int

    @property
    def causal(self) -> bool:
        """Whether a token sees only the tokens before it, so that texts may share their beginning."""
        ...

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
    """The model's own forward pass, which computes only the layers that are asked for.

    Masks, positions and whatever else a layer is given are the model's own, so it reads every model as transformers does, a
    decoder or an encoder. It pads each group of a batch, and computes a shared beginning once for each text.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model  # its parts are looked up by name: transformers' classes share no interface
        self.path = layers_path(model)
        layers: Any = model.get_submodule(self.path)
        self.layers: list[Any] = list(layers)
        self.n_layers = len(self.layers)
        config: Any = self.model.config
        self.hidden_size = int(config.hidden_size)
        self._asked = _Asked()
        self._tuples: list[int] | None = None  # of each layer, as `_Asked.tuples`
        self._steps = nn.ModuleList(_Step(layer, index, self._asked) for index, layer in enumerate(self.layers))
        self._forward: Any = _with_layers(model, self.path, self._steps)

    @property
    def causal(self) -> bool:
        """Whether a token sees only the tokens before it.

        It is found by trying, as no name or setting is reliable.
        """
        known: bool | None = getattr(self.model, CAUSAL, None)
        if known is None:
            known = _looks_back_only(self.model, self.layers)
            setattr(self.model, CAUSAL, known)
        return known

    def embed(self, batch: PackedBatch) -> Tensor:
        """Layer-0 hidden states [nodes, hidden]."""
        return batch.to_nodes(self._of_groups([None] * len(batch.groups), batch, 0, 0))

    def run(self, hidden: Tensor, batch: PackedBatch, first: int, last: int) -> Tensor:
        """Hidden states [nodes, hidden] after layers first..last-1."""
        if first >= last:
            return hidden
        return batch.to_nodes(self._of_groups(batch.to_paths(hidden), batch, first, last))

    def read(self, hidden: Tensor, batch: PackedBatch, first: int, last: int, pooling: Pooling) -> Tensor:
        """`run`, then one vector for each text: float32 [texts, hidden]."""
        return pooling(batch, self.run(hidden, batch, first, last))

    def _of_groups(self, hidden: Sequence[Tensor | None], batch: PackedBatch, first: int, last: int) -> list[Tensor]:
        """`_run_padded` for each group of the batch."""
        groups = zip(hidden, batch.groups, in_pictures(batch), strict=True)
        return [self._run_padded(states, batch, group, seen, first, last) for states, group, seen in groups]

    def _run_padded(
        self, hidden: Tensor | None, batch: PackedBatch, group: Group, pictures: Tensor | None, first: int, last: int
    ) -> Tensor:
        """States [rows, longest, hidden] after the layers; with `last` 0, those that the first layer is given."""
        ids = batch.ids[group.nodes].masked_fill(~group.real, self.model.config.pad_token_id or 0)
        if first:
            self.learn(ids[:1, : int(group.lengths[0])])
        inputs, states = {"input_ids": ids}, hidden
        if hidden is None and batch.prefix is not None:
            embedded = batch.prefix.put(self.model.get_input_embeddings()(batch.ids))
            states = F.embedding(group.nodes, embedded)
            inputs = {"inputs_embeds": states}
        beside = own_inputs(self.model, group.real, pictures, states)
        return self._asked.states(self._forward, {**inputs, **beside}, hidden, first, last, self._tuples)

    def learn(self, ids: Tensor) -> None:
        """Find out what each layer returns, by a pass of all; a pass may then begin at any."""
        if self._tuples is None:
            with torch.no_grad():
                self._tuples = self._asked.learn(self._forward, ids)


class _Left(Exception):
    """The forward pass is left; `states` are the hidden states at that point."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


class _Asked(threading.local):
    """The layers that the current pass of this thread computes, and the states given to them."""

    first, last = 0, 0
    given: Tensor | None = None  # the states that enter layer `first`; None for the model's own
    learning: list[int] | None = None
    tuples: list[int] | None = None  # length of the tuple that each layer returns, 0 for a tensor: a skipped one does likewise

    def states(
        self,
        forward: Any,
        inputs: Mapping[str, Any],
        given: Tensor | None,
        first: int,
        last: int,
        tuples: list[int] | None,
    ) -> Tensor:
        self.first, self.last, self.given, self.tuples = first, last, given, tuples
        try:
            forward(**inputs)
        except _Left as left:
            return left.states
        finally:
            self.given = None
        raise BackboneError("the forward pass of this model ended before its layers did; use another model")

    def learn(self, forward: Any, ids: Tensor) -> list[int]:
        self.first, self.last, self.given, self.learning = 0, 1 << 30, None, []
        try:
            forward(input_ids=ids, attention_mask=torch.ones_like(ids))
            return self.learning
        finally:
            self.learning = None


class _Step(nn.Module):
    """One layer in the place of which it stands: computes it, skips it, or leaves the forward pass."""

    def __init__(self, layer: nn.Module, index: int, asked: _Asked) -> None:
        super().__init__()
        self.layer, self.index, self.asked = layer, index, asked

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)  # a model may ask its layer for the type of its attention

    def forward(self, *arguments: Any, **named: Any) -> Any:
        asked = self.asked
        if arguments:
            hidden, rest = arguments[0], arguments[1:]
        else:
            hidden, rest = named.pop("hidden_states"), ()
        if self.index == asked.first == asked.last:
            raise _Left(hidden)
        if self.index < asked.first:
            length = asked.tuples[self.index] if asked.tuples else 0
            return (hidden, *[None] * (length - 1)) if length else hidden
        if self.index == asked.first and asked.given is not None:
            hidden = asked.given
        output = self.layer(hidden, *rest, **named)
        if asked.learning is not None:
            asked.learning.append(len(output) if isinstance(output, tuple) else 0)
        if self.index == asked.last - 1:
            raise _Left(output[0] if isinstance(output, tuple) else output)
        return output


def layers_path(model: nn.Module) -> str:
    """The name of the list that holds the model's layers, such as "encoder.layer".

    Raises:
        BackboneError: the model has no such list.
    """
    lists = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.ModuleList) and len(part)]
    if not lists:
        raise BackboneError(f"{type(model).__name__} has no list of layers; use a decoder or an encoder of text")
    depth = min(name.count(".") for name, _ in lists)
    return max((one for one in lists if one[0].count(".") == depth), key=lambda one: len(one[1]))[0]


def probe_ids(model: Any) -> Tensor:
    """Token ids that mean nothing special to the model, int64 [many]."""
    config = model.config
    special = {getattr(config, f"{name}_token_id", None) for name in ("pad", "bos", "eos", "cls", "sep", "image", "unk")}
    flat = {one for value in special for one in (value if isinstance(value, list) else [value])}
    rows = model.get_input_embeddings().weight.shape[0]
    ids = [number for number in range(3, rows) if number not in flat]
    step = max(1, len(ids) // 500)
    return torch.tensor(ids[::step], device=next(model.parameters()).device)


def states_up_to(model: Any, layers: list[Any], ids: Tensor, **beside: Any) -> list[Tensor]:
    """The states around each of these layers in the model's own pass.

    Each is [texts, length, hidden]; the texts have no padding. `beside`: what the pass is given beside their ids.
    """
    states: list[Tensor] = []

    def enter(_: nn.Module, given: Any, named: Any) -> None:
        states.append(given[0] if given else named["hidden_states"])

    def leave(layer: nn.Module, _: Any, output: Any) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)
        if layer is layers[-1]:
            raise _Left(states[-1])

    hooks = [layers[0].register_forward_pre_hook(enter, with_kwargs=True)]
    hooks += [layer.register_forward_hook(leave) for layer in layers]
    try:
        model(input_ids=ids, **{"attention_mask": torch.ones_like(ids), **beside})
    except _Left:
        if len(states) == len(layers) + 1:
            return states
    finally:
        for hook in hooks:
            hook.remove()
    raise BackboneError(f"{type(model).__name__} does not run its layers one after another; use another model")


def _looks_back_only(model: Any, layers: list[Any]) -> bool:
    """Whether the states of a text's first tokens are the same whatever its last token is."""
    known = probe_ids(model)
    ids = known[torch.arange(PROBE_TOKENS) % len(known)][None]
    other = ids.clone()
    other[0, -1] = known[PROBE_TOKENS % len(known)]
    with torch.inference_mode():
        one, two = (states_up_to(model, layers, text)[-1][0, :-1].float() for text in (ids, other))
    return float((one - two).abs().max()) <= 1e-6 * float(one.std())


def _with_layers(model: nn.Module, path: str, layers: nn.ModuleList) -> nn.Module:
    """The same model with other layers; everything is shared, the original stays as it is."""
    name, _, rest = path.partition(".")
    shell = copy.copy(model)
    inner = _with_layers(model.get_submodule(name), rest, layers) if rest else layers
    shell.__dict__["_modules"] = {**model._modules, name: inner}
    return shell


def copy_with_own_layers(model: nn.Module, first: int, last: int) -> Any:
    """A copy of the model that ends after layer `last` and owns layers first..last-1.

    Everything else shares memory with the original.
    """
    path = layers_path(model)
    layers: Any = model.get_submodule(path)
    own = {id(parameter) for layer in layers[first:last] for parameter in layer.parameters()}
    shared = {id(parameter): parameter for parameter in model.parameters() if id(parameter) not in own}
    duplicate: Any = copy.deepcopy(model, shared)
    owner, _, name = path.rpartition(".")
    setattr(duplicate.get_submodule(owner), name, duplicate.get_submodule(path)[:last])
    return duplicate


@contextmanager
def quiet_adapters() -> Iterator[None]:
    """Silence two warnings of peft while it wraps a model.

    This version of peft reads a property of transformers by its old name, on every call; and it reports each transposed weight
    that it recognizes.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")
        yield
