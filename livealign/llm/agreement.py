"""A stack's hidden states compared with those of the model's own forward pass.

The model reads each text alone, without padding; the stack reads all of them in one batch, their common beginning once. So a
wrong mask, position, window or norm shows, in whichever layer it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from livealign.llm.layers import LayerStack, Stack, probe_ids, states_up_to
from livealign.llm.packing import PackedBatch, pack_whole

LONGEST = 72  # tokens of the longest text, unless the model has a window to go beyond
LARGEST_WINDOW = 512  # a longer window is not tried: no text of ours is as long
# Largest difference of two equal readings, of 95 % of the tokens and of any token, in lengths of what a layer adds. A layer's
# rounding in bfloat16 comes to 0.03 and 0.15 (SmolLM2), a missing rotation or window to 0.6 and 0.9.
NEAR = {torch.float32: (1e-3, 2e-2)}
NEAR_ROUNDED = (0.1, 0.5)


class Agreement:
    """Some texts, and the model's own states for them around each of its first `layers` layers."""

    def __init__(self, plain: LayerStack, layers: int) -> None:
        self.plain, self.layers, texts = plain, layers, _ragged(plain.model)
        with evaluating(plain.model), torch.inference_mode():
            of_texts = [states_up_to(plain.model, plain.layers[:layers], text[None]) for text in texts]
        rows, self.batch = pack_whole([text.tolist() for text in texts], plain.causal, texts[0].device)
        self.states = [_on_nodes(self.batch, [of_texts[row][depth][0] for row in rows]) for depth in range(layers + 1)]

    def of_fused(self, stack: Stack) -> bool:
        """Whether each layer of a stack adds to the model's own states what the model's layer adds."""
        nothing = torch.zeros_like(self.states[0])
        with torch.inference_mode():
            if not self._near(stack.embed(self.batch), self.states[0], nothing):
                return False
            for depth, (before, after) in enumerate(pairwise(self.states)):
                if not self._near(stack.run(before, self.batch, depth, depth + 1), after, before):
                    return False
        return True

    def of_plain(self) -> bool:
        """Whether the model reads texts in a padded batch as it reads each alone.

        Four fifths of the tokens suffice: in bfloat16 a mixture of experts sends some of them another way.
        """
        with evaluating(self.plain.model), torch.inference_mode():
            states = self.plain.run(self.plain.embed(self.batch), self.batch, 0, self.layers)
        errors = _errors(states, self.states[-1], self.states[0])
        return float(errors.quantile(0.8)) <= self._limits(states)[0]

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
