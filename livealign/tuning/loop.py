"""The training steps of LoRA tuning.

- The layers below the adapters run once for each text, without a graph; validation texts pass them once in a whole run.
- Texts are packed: no padding, shared beginnings once (`livealign.llm.packing`), adapters merged into the products
  (`livealign.llm.lora`).
- The loss compares all pairs of a batch, in float32. If their graph would be too large, the batch is read twice: once without
  a graph to get the loss's gradient by vector, then in chunks that propagate it (GradCache, Gao et al. 2021, algorithm 1).
- Pictures enter below the adapters, as tokens of a projector that is trained with them (`livealign.llm.prefix`). The frozen
  layers of their texts therefore run in every step, with a graph.
- Several processes share the texts of a batch, and its loss sees all of them (`livealign.tuning.ranks`).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from livealign.config import EncoderConfig, FinetuneConfig, SegmentConfig
from livealign.errors import TrainingError
from livealign.llm.backbone import Backbone
from livealign.llm.fitting import layers_of
from livealign.llm.fused_layers import FusedStack, stack_of
from livealign.llm.layers import LayerStack, Stack
from livealign.llm.packing import PackedBatch, pack_whole
from livealign.llm.pooling import Pooling
from livealign.llm.prefix import FIRST_ID, Pictures, Projector, projected, tokenize
from livealign.tuning.batches import batches_of, learning_rate_factor, order_of_groups
from livealign.tuning.descriptions import Descriptions, description_loss
from livealign.tuning.losses import contrastive_loss, false_negatives, whitening
from livealign.tuning.pairs import TextPairs
from livealign.tuning.ranks import Ranks
from livealign.tuning.sharding import sharded_stacks

WHITENING_TEXTS = 1_024


@dataclass
class TuningProgress:
    """The counts and losses of a run so far, for its report and its checkpoint."""

    steps: int = 0
    tokens: int = 0  # of training texts
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    description_losses: list[float] = field(default_factory=list)
    validation_steps: list[int] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    best_step: int = 0
    without_gain: int = 0  # validations since the best one


class PackedTexts(NamedTuple):
    """Packed texts with their hidden states after the frozen layers.

    `order` int64 [texts] is the row of each text among the pooled vectors. With pictures there are no states, because they
    change with the projector; `features` [m, width] are then those of all pictures.
    """

    batch: PackedBatch
    shared: Tensor | None
    order: Tensor
    features: Tensor | None = None


class TuningLoop:
    """One tuning run: batches, steps, validations, and the best adapter so far."""

    def __init__(
        self,
        backbone: Backbone,
        model: PeftModel,
        parameters: list[nn.Parameter],
        segments: SegmentConfig,
        encoder: EncoderConfig,
        config: FinetuneConfig,
        pooling: Pooling,
        descriptions: Descriptions | None = None,
        projector: Projector | None = None,
        sharded: bool = False,
    ) -> None:
        self.ranks = Ranks()
        self.backbone, self.segments, self.config = backbone, segments, config
        self.parameters, self.pooling, self.descriptions, self.projector = parameters, pooling, descriptions, projector
        self.first, self.last = layers_of(backbone, encoder)  # the first adapted layer, and how many layers are run
        self.frozen, self.adapted = self._stacks(model.get_base_model(), sharded)
        self.best = [parameter.detach().clone() for parameter in parameters]
        self.optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
        self.whitening: Tensor | None = None  # not fitted yet

    def _stacks(self, body: nn.Module, sharded: bool) -> tuple[Stack, Stack]:
        """The frozen layers and the adapted ones."""
        if sharded:
            return sharded_stacks(self.backbone, body, self.last)
        frozen = stack_of(self.backbone.model, last=self.last)
        if self.config.dropout:  # within an adapter only peft's own layers support it
            return frozen, LayerStack(body)
        return frozen, stack_of(body, self.config.checkpoint_layers, differentiable=self.projector is not None)

    def fit(self, train: TextPairs, validation: TextPairs, done: TuningProgress) -> Iterator[int]:
        """Take the steps from `done.steps` on; yields the number of steps after each.

        At the end the weights are those of the best validation.

        Raises:
            TrainingError: the loss is not finite.
        """
        config = self.config
        validating = self._validation_batches(validation)
        packed_ahead: dict[int, list[PackedTexts]] = {}
        if self.whitening is None:
            packed_ahead = self._fit_whitening(train)
        if not done.validation_steps and done.steps == 0:
            self._validate(validating, done)
        for step, batch in enumerate(islice(batches_of(train, config), 0 if config.frozen else config.steps)):
            if step < done.steps:
                continue
            if done.without_gain >= config.patience:
                break
            chunks = packed_ahead.pop(step, None) or self._pack(batch)
            tokens = sum(int(group.lengths.sum()) for chunk in chunks for group in chunk.batch.groups)
            done.tokens += int(self.ranks.total(tokens, self.backbone.device))
            for group in self.optimizer.param_groups:
                group["lr"] = config.learning_rate * learning_rate_factor(step, config)
            self.optimizer.zero_grad(set_to_none=True)
            done.losses.append(self._contrast(batch, chunks))
            if self.descriptions and config.description_weight:
                done.description_losses.append(self._describe(self.descriptions, step))
            if not all(map(math.isfinite, (done.losses[-1], *done.description_losses[-1:]))):
                raise TrainingError(f"the tuning loss is {done.losses[-1]} at step {step}; lower finetune.learning_rate")
            for parameter in self.parameters:
                if parameter.grad is None:  # a batch without pictures does not reach the projector
                    parameter.grad = torch.zeros_like(parameter)
            self.ranks.sum_gradients(self.parameters)
            clip_grad_norm_(self.parameters, config.max_gradient_norm)
            self.optimizer.step()
            done.steps = step + 1
            if done.steps == config.steps or done.steps % config.validate_every == 0:
                self._validate(validating, done)
            yield done.steps
        if validating:
            with torch.no_grad():
                for parameter, best in zip(self.parameters, self.best, strict=True):
                    parameter.copy_(best)
        else:
            done.best_step = done.steps

    def _contrast(self, batch: TextPairs, chunks: list[PackedTexts]) -> float:
        """Add the gradients of the contrastive loss by this rank's texts; returns the loss of all texts."""
        if len(chunks) == 1 and self.ranks.alone:
            loss, _ = self._loss(self._vectors(chunks[0]), batch)
            loss.backward()
            return float(loss.detach())
        texts, kept = 2 * len(batch), len(chunks) == 1  # the graph of a single chunk is kept, others are read twice
        with torch.set_grad_enabled(kept):
            parts = [self._vectors(chunk) for chunk in chunks]
        vectors = self.ranks.gather(torch.cat([part.detach() for part in parts]), texts).requires_grad_()
        loss, _ = self._loss(vectors, batch)
        (gradient,) = torch.autograd.grad(loss, vectors)
        of_mine = gradient[self.ranks.share(texts)].split([len(part) for part in parts])
        for chunk, part, of_chunk in zip(chunks, parts, of_mine, strict=True):
            (part if kept else self._vectors(chunk)).backward(of_chunk)
        return float(loss.detach())

    def _describe(self, descriptions: Descriptions, step: int) -> float:
        """Add the gradients of the description loss on this rank's windows; returns the loss of all, nats per token."""
        config, device = self.config, self.backbone.device
        tokens, begins = descriptions.tokens(self.backbone, step, self.segments.token_budget, config)
        mine = self.ranks.share(len(tokens))
        tokens, begins = tokens[mine], begins[mine]
        rows, batch = pack_whole(tokens, self.frozen.causal, device)
        with torch.no_grad():
            shared = self.frozen.run(self.frozen.embed(batch), batch, 0, self.first)
        with self._number_type():
            hidden = self.adapted.run(shared, batch, self.first, self.last)
            loss = description_loss(self.backbone.model, hidden, batch, [begins[row] for row in rows])
        predicted = sum(map(len, tokens)) - sum(begins)
        loss = loss * (predicted / self.ranks.total(predicted, device))
        (config.description_weight * loss).backward()
        return self.ranks.total(float(loss.detach()), device)

    def _fit_whitening(self, train: TextPairs) -> dict[int, list[PackedTexts]]:
        """Set the whitening matrix [hidden, hidden] of frozen vectors, which the loss applies first.

        A few directions of a language model are huge and the same for every text; texts differ in small ones. In a plain
        cosine all texts are therefore alike. The matrix is fitted to the first batches, which are returned packed, by step.
        Where pictures leave fewer than two texts to fit it to, it changes nothing.
        """
        chunks: dict[int, list[PackedTexts]] = {}
        vectors: list[Tensor] = []
        tried = 0
        for step, batch in enumerate(batches_of(train, self.config)):
            if sum(map(len, vectors)) >= min(WHITENING_TEXTS, 2 * len(train)) or tried >= 2 * len(train):
                break
            tried += len(batch.texts)
            # An untrained projector's tokens mean nothing yet: the matrix is that of texts alone.
            texts = batch.texts if batch.pictures is None else [text for text in batch.texts if text]
            if len(texts) < self.ranks.world:
                continue
            packed = self._pack_texts(texts)
            if batch.pictures is None:
                chunks[step] = packed
            with torch.no_grad():
                mine = [
                    self.frozen.read(one.shared, one.batch, self.first, self.last, self.pooling)
                    for one in packed
                    if one.shared is not None
                ]
            vectors.append(self.ranks.gather(torch.cat(mine), len(texts)))
        if sum(map(len, vectors)) < 2:
            self.whitening = torch.eye(self.backbone.hidden_size, device=self.backbone.device)
        else:
            self.whitening = whitening(torch.cat(vectors), self.config.whitening_floor)
        return chunks

    def _validation_batches(self, validation: TextPairs) -> list[tuple[TextPairs, list[PackedTexts]]]:
        """Validation batches of the training size, packed and run through the frozen layers once for all validations."""
        size = self.config.batch_size
        rows = np.arange(validation.n_groups)
        if validation.author is not None:
            rows = order_of_groups(validation, size, np.random.default_rng(self.config.seed))
        batches = [validation.take_groups(rows[start : start + size]) for start in range(0, len(rows), size)]
        whole = [batch for batch in batches if batch.n_groups == size] or batches  # a smaller batch would have an easier loss
        return [(batch, self._pack(batch)) for batch in whole]

    def _validate(self, validation: list[tuple[TextPairs, list[PackedTexts]]], done: TuningProgress) -> None:
        """Record the mean loss over the validation pairs; keep the weights if it is the lowest so far."""
        if not validation:
            return
        with torch.no_grad():
            results = [self._loss(self._all_vectors(batch, chunks), batch) for batch, chunks in validation]
        loss = float(np.mean([float(loss) for loss, _ in results]))
        if loss < min(done.validation_losses, default=math.inf):
            self.best = [parameter.detach().clone() for parameter in self.parameters]
            done.best_step, done.without_gain = done.steps, 0
        else:
            done.without_gain += 1
        done.validation_steps.append(done.steps)
        done.validation_losses.append(loss)
        done.validation_accuracy.append(float(np.mean([float(accuracy) for _, accuracy in results])))

    def _all_vectors(self, batch: TextPairs, chunks: list[PackedTexts]) -> Tensor:
        """float32 [2 · pairs, hidden] of a batch, of which `chunks` hold this rank's texts."""
        return self.ranks.gather(torch.cat([self._vectors(chunk) for chunk in chunks]), 2 * len(batch))

    def _loss(self, vectors: Tensor, batch: TextPairs) -> tuple[Tensor, Tensor]:
        # Centred by the batch itself: with a fixed centre, moving all texts in one direction would lower the loss.
        centred = vectors - vectors.mean(dim=0)
        whitened = centred if self.whitening is None else centred @ self.whitening
        first = batch.take(np.arange(0, len(batch), batch.windows))  # row of each group; the others are of the same room
        mask = false_negatives(first, self.config.near_windows).to(vectors.device)
        left, right = (side.unflatten(0, (-1, batch.windows)).mean(1) for side in whitened.chunk(2))
        return contrastive_loss(left, right, mask, self.config.temperature)

    def _pack(self, batch: TextPairs) -> list[PackedTexts]:
        """Pack this rank's texts of a batch with their pictures."""
        features = None if batch.pictures is None else batch.pictures.features
        return self._pack_texts(batch.texts, batch.picture, features)

    def _pack_texts(
        self, texts: list[str], picture: np.ndarray | None = None, features: np.ndarray | None = None
    ) -> list[PackedTexts]:
        """Pack this rank's texts: one chunk, or several if they have more than `chunk_tokens` tokens."""
        mine = self.ranks.share(len(texts))
        seen = None if picture is None or features is None else Pictures(features, picture[mine])
        of_picture = 0 if self.projector is None else self.projector.tokens
        row = None if seen is None else seen.row
        tokens = tokenize(self.backbone, texts[mine], self.segments.token_budget, row, of_picture)
        # Equally many on all ranks, which may have to run the same layers equally often (`livealign.tuning.sharding`).
        wanted = self.ranks.most(-(-sum(map(len, tokens)) // self.config.chunk_tokens), self.backbone.device)
        chunks = max(1, min(wanted, len(texts) // self.ranks.world))
        ends = [len(tokens) * chunk // chunks for chunk in range(chunks + 1)]
        return [self._pack_chunk(tokens[start:end], None if seen is None else seen.features) for start, end in pairwise(ends)]

    def _pack_chunk(self, tokens: Sequence[Sequence[int]], features: np.ndarray | None = None) -> PackedTexts:
        rows, batch = pack_whole(tokens, self.frozen.causal, self.backbone.device)
        order = torch.from_numpy(np.argsort(rows)).to(self.backbone.device)
        if features is not None and bool((batch.ids >= FIRST_ID).any()):
            return PackedTexts(batch, None, order, torch.from_numpy(features))
        with torch.no_grad():
            shared = self.frozen.run(self.frozen.embed(batch), batch, 0, self.first)
        return PackedTexts(batch, shared, order)

    def _vectors(self, packed: PackedTexts) -> Tensor:
        """float32 [texts, hidden] in the texts' order; the graph begins at the projector or the first adapted layer."""
        batch, shared = packed.batch, packed.shared
        with self._number_type():
            if packed.features is not None and self.projector is not None:
                batch = projected(batch, self.projector, packed.features)
                shared = self.adapted.run(self.adapted.embed(batch), batch, 0, self.first)
            assert shared is not None
            return self.adapted.read(shared, batch, self.first, self.last, self.pooling)[packed.order]

    def _number_type(self) -> torch.autocast:
        """Autocast for peft's own layers, which mix float32 adapters with the backbone's type; the fused layers need none."""
        mixed = self.backbone.dtype != torch.float32 and not isinstance(self.adapted, FusedStack)
        return torch.autocast(self.backbone.device.type, self.backbone.dtype if mixed else torch.bfloat16, enabled=mixed)
