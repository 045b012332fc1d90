"""A stack's hidden states compared with those of the model's own forward pass.

The model reads each text alone, without padding; the stack reads all of them in one batch, their common beginning once. So a
wrong mask, position, window or norm shows, in whichever layer it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from livealign.llm.layers import LayerStack, Stack, probe_ids, states_up_to
from livealign.llm.packing import PackedBatch, Prefix, pack_whole
from livealign.llm.picture_reading import AS_WORDS, own_inputs, reading_of

LONGEST = 72  # tokens of the longest text, unless the model has a window to go beyond
LARGEST_WINDOW = 512  # a longer window is not tried: no text of ours is as long
SEEING, PICTURE = (0, 1, 2, 4), slice(1, 5)  # the texts that begin alike, and those of their tokens that stand for a picture
# Largest difference of two equal readings, of 95 % of the tokens and of any token, in lengths of what a layer adds. A layer's
# rounding in bfloat16 comes to 0.03 and 0.15 (SmolLM2), a missing rotation or window to 0.6 and 0.9.
NEAR = {torch.float32: (1e-3, 2e-2)}
NEAR_ROUNDED = (0.1, 0.5)


class _Sample(NamedTuple):
    """Some texts, and the model's own states for them around each layer, on the nodes of their batch."""

    batch: PackedBatch
    states: list[Tensor]  # of each depth, [nodes, width]


class Agreement:
    """Some texts, and the model's own states for them around each of its first `layers` layers.

    Where the model reads pictures otherwise than words (`livealign.llm.picture_reading`), the texts come again with a picture
    in most of them: some of their words stand for its tokens.
    """

    def __init__(self, plain: LayerStack, layers: int) -> None:
        self.plain, self.layers = plain, layers
        texts = _ragged(plain.model)
        self.samples = [self._sample(texts, seeing=False)]
        if reading_of(plain.model) != AS_WORDS:
            self.samples.append(self._sample(texts, seeing=True))

    def of_fused(self, stack: Stack) -> bool:
        """Whether each layer of a stack adds to the model's own states what the model's layer adds."""
        with torch.inference_mode():
            return all(self._agrees(stack, sample) for sample in self.samples)

    def of_plain(self) -> bool:
        """Whether the model reads texts in a padded batch as it reads each alone.

        Four fifths of the tokens suffice: in bfloat16 a mixture of experts sends some of them another way.
        """
        for batch, expected in self.samples:
            with evaluating(self.plain.model), torch.inference_mode():
                states = self.plain.run(self.plain.embed(batch), batch, 0, self.layers)
            errors = _errors(states, expected[-1], expected[0])
            if float(errors.quantile(0.8)) > self._limits(states)[0]:
                return False
        return True

    def _sample(self, texts: list[Tensor], seeing: bool) -> _Sample:
        model, layers, of_texts = self.plain.model, self.plain.layers[: self.layers], []
        rows, batch = pack_whole([text.tolist() for text in texts], self.plain.causal, texts[0].device)
        with evaluating(model), torch.inference_mode():
            embed = model.get_input_embeddings()
            if seeing:
                paths = [nodes for group in batch.groups for nodes in group.nodes]
                tokens = [path[PICTURE] for path, row in zip(paths, rows, strict=True) if row in SEEING]
                nodes = torch.unique(torch.cat(tokens))
                batch = replace(batch, prefix=Prefix(nodes, embed(batch.ids[nodes])))
            for row, text in enumerate(texts):
                real, picture = torch.ones_like(text[None], dtype=torch.bool), None
                if seeing and row in SEEING:
                    picture = torch.zeros_like(real)
                    picture[:, PICTURE] = True
                beside = own_inputs(model, real, picture, embed(text[None]))
                of_texts.append(states_up_to(model, layers, text[None], **beside))
        by_depth = range(self.layers + 1)
        return _Sample(batch, [_on_nodes(batch, [of_texts[row][depth][0] for row in rows]) for depth in by_depth])

    def _agrees(self, stack: Stack, sample: _Sample) -> bool:
        batch, states = sample
        if not self._near(stack.embed(batch), states[0], torch.zeros_like(states[0])):
            return False
        return all(
            self._near(stack.run(before, batch, depth, depth + 1), after, before)
            for depth, (before, after) in enumerate(pairwise(states))
        )

    def _near(self, found: Tensor, expected: Tensor, before: Tensor) -> bool:
        errors, (most, largest) = _errors(found, expected, before), self._limits(found)
        return float(errors.quantile(0.95)) <= most and float(errors.max()) <= largest

    @staticmethod
    def _limits(states: Tensor) -> tuple[float, float]:
        return NEAR.get(states.dtype, NEAR_ROUNDED)


def _errors(found: Tensor, expected: Tensor, before: Tensor) -> Tensor:
    """Length of each token's difference, in lengths of what was added to `before`; each dimension counts alike: float32 [n].

    A state that is no number differs by infinity.
    """
    added = (expected.float() - before.float()).nan_to_num()
    unit = added.std(dim=0) + 1e-9
    difference = (found.float() - expected.float()) / unit
    errors = difference.norm(dim=1) / ((added / unit).norm(dim=1) + 1e-9)
    return errors.nan_to_num(nan=torch.inf)


def _on_nodes(batch: PackedBatch, of_texts: list[Tensor]) -> Tensor:
    """[n, width] of the nodes from [length, width] of each text, in the batch's order."""
    texts, paths = iter(of_texts), []
    for group in batch.groups:
        rows = [next(texts) for _ in group.lengths]
        paths.append(nn.utils.rnn.pad_sequence(rows, batch_first=True))
    return batch.to_nodes(paths)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Turn the model's own dropout off for a while."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _ragged(model: Any) -> list[Tensor]:
    """Texts of several lengths, some of which begin alike."""
    window = getattr(model.config, "sliding_window", None) or 0
    longest = window + 8 if LONGEST <= window + 8 <= LARGEST_WINDOW else LONGEST
    ids = probe_ids(model)
    order = torch.randperm(longest * 2, generator=torch.Generator().manual_seed(7))
    words = ids[(order % len(ids)).to(ids.device)]
    long, other = words[:longest], words[longest:]
    return [long, torch.cat([long[:12], other[:9]]), long[:5], other[:31], torch.cat([long[:20], other[40:44]])]
