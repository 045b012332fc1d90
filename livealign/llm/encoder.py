"""Texts to vectors: early exit, merged adapter, cache.

A pass stops at `exit_layer`. Only the layers `first_adapted_layer..exit_layer` carry LoRA, so the raw and the tuned vector of
a text share the layers below: frozen layers are computed once, adapted ones twice. Batches hold no padding, and a beginning
that several texts share is computed once (`livealign.llm.packing`). On a CPU each core works on batches of its own.

A text may come with the picture of its moment, which the tuned vector then reads before it (`livealign.llm.prefix`); the raw
one reads texts alone. Texts that come with their rooms are cut into blocks first (`livealign.llm.blocks`): their vectors then
have the same bits on any number of cores, and from any engine. All vectors are rounded to half precision
(`livealign.llm.half_precision`), whether they are computed or come from the cache.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from livealign.config import INT8, EncoderConfig, SegmentConfig
from livealign.errors import BackboneError
from livealign.llm.adapter_folder import adapter_sha256, merged
from livealign.llm.backbone import Backbone, choose_batch_tokens, int8_serves
from livealign.llm.blocks import blocks_of, first_rooms
from livealign.llm.embedding_cache import EmbeddingCache, text_key
from livealign.llm.fitting import check_length, check_number_type, layers_of, with_layers
from livealign.llm.fused_layers import FusedStack, stack_of
from livealign.llm.half_precision import HalfRows, rounded
from livealign.llm.int8 import INT8_FORMAT, LINES, with_int8
from livealign.llm.layers import Stack, copy_with_own_layers
from livealign.llm.packing import PackedBatch, pack
from livealign.llm.pooling import Pooling, token_weights_sha256
from livealign.llm.prefix import Pictures, Projector, projected, tokenize

Progress = Callable[[int, int], None]  # (texts done, texts in all)
Batch = tuple[np.ndarray, list[np.ndarray]]  # (rows of the texts, one float32 [rows, hidden] for each kind of vector)

# Raise it when the same inputs would give other vectors, or when a shard is written in another way: entries of another format
# lie in another folder and are not used.
VECTOR_FORMAT = 4


class Engine(Protocol):
    """Something that encodes blocks elsewhere, with the bits that this process would give."""

    def encode(
        self, encoder: "Encoder", texts: list[str], blocks: list[np.ndarray], kinds: list[bool], pictures: Pictures | None
    ) -> Iterator[Batch]:
        """Encode all blocks, in an order of their own. Kinds: True = tuned."""


class Encoder:
    """A backbone that stops early, with or without an adapter merged into its upper layers."""

    def __init__(
        self,
        backbone: Backbone,
        adapted: Stack | None,
        adapter_sha256: str | None,
        pooling: Pooling,
        config: EncoderConfig,
        tokens: int,
        projector: Projector | None = None,
    ) -> None:
        self.backbone = backbone
        self.config = with_layers(backbone, config)
        self.first, self.last = layers_of(backbone, config)  # the first adapted layer, and how many layers are run
        self.token_budget = tokens
        self.adapter_sha256 = adapter_sha256
        self.pooling, self.projector = pooling, projector
        self._frozen = self._in_number_type(stack_of(backbone.model, last=self.last))
        self._adapted = None if adapted is None else self._in_number_type(adapted)

    @classmethod
    def load(
        cls, backbone: Backbone, adapter: Path | None, config: EncoderConfig, segments: SegmentConfig | None = None
    ) -> "Encoder":
        """Load an encoder, with the adapter folder (peft format) merged into its upper layers.

        Only the adapted layers are copied; the rest shares the backbone's memory.

        Raises:
            BackboneError: the backbone has no such exit layer or reads no such long texts, the adapter does not fit it, the
                pooling needs weights that the adapter lacks, or int8 does not suit the processor or the backbone.
        """
        first, last = layers_of(backbone, config)
        segments = segments or SegmentConfig()
        projector = None if adapter is None else Projector.load(adapter, backbone.device)
        check_length(backbone, segments.token_budget, 0 if projector is None else projector.tokens)
        pooling = Pooling.of(config.pooling, adapter, backbone.device)
        adapted = sha256 = None
        if adapter is not None:
            own = copy_with_own_layers(backbone.model, first, last)
            adapted, sha256 = stack_of(merged(own, adapter)), adapter_sha256(adapter)
        return cls(backbone, adapted, sha256, pooling, config, segments.token_budget, projector)

    @property
    def hidden_size(self) -> int:
        return self.backbone.hidden_size

    @property
    def fused(self) -> bool:
        """Whether it runs on the fused layers, and not on the model's own, which is slower."""
        return isinstance(self._frozen, FusedStack)

    def version(self, tuned: bool) -> str:
        """Name of all that a vector depends on beside its text.

        That is: weights, adapter, number type, layers, pooling and token budget.
        """
        apart = ("batch_tokens", "choice", "number_type")
        settings = {name: value for name, value in asdict(self.config).items() if name not in apart}
        if not tuned:
            del settings["first_adapted_layer"]  # the raw vector does not depend on it
        identity = {
            "format": VECTOR_FORMAT,
            "backbone": self.backbone.sha256,
            "adapter": self.adapter_sha256 if tuned else None,
            "token_weights": token_weights_sha256(self.pooling),
            "dtype": str(self.backbone.dtype),
            "encoder": settings,
            "token_budget": self.token_budget,
        }
        if self.config.number_type == INT8:
            identity["products"] = f"{INT8}, {INT8_FORMAT}"
        return hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=12).hexdigest()

    def encode(
        self,
        texts: Sequence[str],
        progress: Progress | None = None,
        cache: EmbeddingCache | None = None,
        rooms: NDArray[np.int64] | None = None,
        pictures: Pictures | None = None,
    ) -> np.ndarray:
        """Texts → float32 [n, hidden]: tuned if an adapter is loaded, else raw.

        Args:
            rooms: of the texts [n], to cut them into blocks.
            pictures: of the texts' moments, for an adapter that was tuned with pictures.

        Raises:
            BackboneError: there are pictures, and the adapter reads none or those of another image encoder.
        """
        tuned = self._adapted is not None
        return self._encode(texts, (tuned,), progress, cache, rooms, pictures=pictures)[0].astype(np.float32, copy=False)

    def encode_raw_and_tuned(
        self,
        texts: Sequence[str],
        progress: Progress | None = None,
        cache: EmbeddingCache | None = None,
        rooms: NDArray[np.int64] | None = None,
        engine: Engine | None = None,
        pictures: Pictures | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Texts → (raw, tuned), float16 [n, hidden] each, from one pass through the frozen layers.

        They are float32 where a number is beyond float16. With pictures there are two passes: the raw vector reads none.

        Args:
            rooms: of the texts [n], to cut them into blocks.
            engine: encodes the blocks; None for this process.
            pictures: as in `encode`.

        Raises:
            BackboneError: no adapter is loaded; or as in `encode`.
        """
        if self._adapted is None:
            raise BackboneError("there is no tuned embedding without an adapter; load the Encoder with an adapter folder")
        if pictures is None or not (pictures.row >= 0).any():
            raw, tuned = self._encode(texts, (False, True), progress, cache, rooms, engine)
            return raw, tuned
        raw, tuned = (
            self._encode(texts, (kind,), progress, cache, rooms, engine, pictures if kind else None)[0]
            for kind in (False, True)
        )
        return raw, tuned

    def encode_block(self, texts: Sequence[str], kinds: Sequence[bool], pictures: Pictures | None = None) -> list[np.ndarray]:
        """One block on one core → float32 [n, hidden] for each kind, in the texts' order."""
        vectors = [np.empty((len(texts), self.hidden_size), np.float32) for _ in kinds]
        for rows, batch in self._packed_blocks(list(texts), pictures, [np.arange(len(texts))]):
            for matrix, result in zip(vectors, self._forward(batch, list(kinds)), strict=True):
                matrix[rows] = result
        return vectors

    def _in_number_type(self, stack: Stack) -> Stack:
        if self.config.number_type != INT8:
            return stack
        if not int8_serves():
            raise BackboneError("encoder.number_type = int8: this processor has no products of int8; set it to auto")
        check_number_type(self.config, 0 if self.projector is None else self.projector.tokens)
        return with_int8(stack, tokenize(self.backbone, LINES, self.token_budget))

    def _encode(
        self,
        texts: Sequence[str],
        kinds: tuple[bool, ...],
        progress: Progress | None,
        cache: EmbeddingCache | None,
        rooms: NDArray[np.int64] | None = None,
        engine: Engine | None = None,
        pictures: Pictures | None = None,
    ) -> list[np.ndarray]:
        """One [n, hidden] matrix for each kind (True = tuned); repeated and cached texts are not computed.

        float16, or float32 where a number is beyond it.
        """
        if pictures is not None:
            self._check(pictures)
        parts = [None] * len(texts) if pictures is None else pictures.parts()
        keys = [text_key(text, part) for text, part in zip(texts, parts, strict=True)]
        distinct: dict[bytes, int] = {}  # key → the first row that has it
        for row, key in enumerate(keys):
            distinct.setdefault(key, row)
        names, first_row = list(distinct), np.fromiter(distinct.values(), np.int64, len(distinct))
        position = {key: row for row, key in enumerate(names)}
        rooms_of_distinct = None if rooms is None else first_rooms(keys, rooms)
        vectors = [HalfRows(len(distinct), self.hidden_size) for _ in kinds]
        missing = [np.ones(len(distinct), bool) for _ in kinds]
        shards = [cache.shard(self.version(kind), self.hidden_size) if cache else None for kind in kinds]
        for shard, of_kind, absent in zip(shards, vectors, missing, strict=True):
            if shard is not None:
                shard.fill(names, of_kind, absent)
        done, total = len(distinct) - int(np.any(missing, axis=0).sum()), len(distinct)
        if progress:
            progress(done, total)
        # Texts that lack both kinds share one pass. After a new adapter only tuned vectors are missing.
        for needs in sorted(set(zip(*map(np.ndarray.tolist, missing), strict=True)), reverse=True):
            if not any(needs):
                continue
            rows = np.flatnonzero(np.all([absent == need for absent, need in zip(missing, needs, strict=True)], axis=0))
            wanted = [kind for kind, need in zip(kinds, needs, strict=True) if need]
            targets = [index for index, need in enumerate(needs) if need]
            chosen_texts = [texts[row] for row in first_row[rows].tolist()]
            seen = None if pictures is None else pictures.take(first_row[rows])
            blocks = None if rooms_of_distinct is None else blocks_of(rooms_of_distinct[rows])
            if engine is not None and blocks is not None:
                batches = engine.encode(self, chosen_texts, blocks, wanted, seen)
            else:
                batches = self._forward_all(chosen_texts, wanted, seen, blocks)
            for batch_rows, batch in batches:
                chosen = rows[batch_rows]
                for index, result in zip(targets, batch, strict=True):
                    vectors[index][chosen] = result
                    if (shard := shards[index]) is not None:
                        shard.append([names[row] for row in chosen], result)
                done += len(chosen)
                if progress:
                    progress(done, total)
        for shard in shards:
            if shard is not None:
                shard.flush()
        expand = np.fromiter((position[key] for key in keys), np.int64, len(keys))
        return [of_kind.matrix[expand] for of_kind in vectors]

    def _check(self, pictures: Pictures) -> None:
        if self.projector is None:
            raise BackboneError("this adapter was tuned without pictures; set frames.prefix_tokens and tune again")
        width = pictures.features.shape[1]
        if width != self.projector.width:
            raise BackboneError(
                f"the pictures have {width} features, the adapter reads {self.projector.width}; use its own image encoder"
            )

    def _forward_all(
        self, texts: list[str], kinds: list[bool], pictures: Pictures | None, blocks: list[np.ndarray] | None
    ) -> Iterator[Batch]:
        """The batches of the blocks, or of all texts with batches enough for all cores, in an order of their own."""
        workers = torch.get_num_threads() if self.backbone.device.type == "cpu" else 1
        packed = (
            self._packed(texts, pictures, least_batches=workers)
            if blocks is None
            else self._packed_blocks(texts, pictures, blocks)
        )
        if workers == 1:
            yield from ((rows, self._forward(batch, kinds)) for rows, batch in packed)
            return
        # One core for each batch: the cores synchronise once a batch instead of after every small operation.
        with ThreadPoolExecutor(workers, "encode", torch.set_num_threads, (1,)) as pool:
            try:
                work = [(rows, pool.submit(self._forward, batch, kinds)) for rows, batch in packed]
                for rows, vectors in work:
                    yield rows, vectors.result()
            finally:
                pool.shutdown(cancel_futures=True)
                torch.set_num_threads(workers)  # the pool's setting of 1 would also apply to later threads

    def _packed_blocks(
        self, texts: list[str], pictures: Pictures | None, blocks: list[np.ndarray]
    ) -> Iterator[tuple[np.ndarray, PackedBatch]]:
        """(rows of `texts`, batch) of each block in turn, whatever the number of cores."""
        for block in blocks:
            # Numbered within the block: their numbers order the texts, and with them the sums of a batch.
            seen = None if pictures is None else pictures.take(block).renumbered()
            for rows, batch in self._packed([texts[row] for row in block], seen, least_batches=1):
                yield block[rows], batch

    def _packed(
        self, texts: list[str], pictures: Pictures | None, least_batches: int
    ) -> Iterator[tuple[np.ndarray, PackedBatch]]:
        device = self.backbone.device
        most = self.config.batch_tokens or choose_batch_tokens(device, self.backbone.dtype)
        if pictures is None or self.projector is None:
            yield from pack(tokenize(self.backbone, texts, self.token_budget), most, self._frozen.causal, device, least_batches)
            return
        features = torch.from_numpy(pictures.features)
        tokens = tokenize(self.backbone, texts, self.token_budget, pictures.row, self.projector.tokens)
        for rows, batch in pack(tokens, most, self._frozen.causal, device, least_batches):
            yield rows, projected(batch, self.projector, features)

    def _forward(self, batch: PackedBatch, kinds: list[bool]) -> list[np.ndarray]:
        """One float32 [texts, hidden] for each kind, rounded to half precision, in the batch's order."""
        with torch.inference_mode():
            shared = self._frozen.run(self._frozen.embed(batch), batch, 0, self.first)
            stacks = [self._adapted if kind and self._adapted is not None else self._frozen for kind in kinds]
            pooled = [stack.read(shared, batch, self.first, self.last, self.pooling) for stack in stacks]
            return [rounded(vectors.cpu().numpy()) for vectors in pooled]
