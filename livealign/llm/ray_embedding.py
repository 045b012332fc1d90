"""The engine that encodes blocks on actors of Ray.

The driver is the process that runs the stage: it cuts the blocks, sends their texts, and receives their vectors, which it
writes to the cache as it writes its own. An actor is made of an `EncoderSpec`, that is of paths: one that Ray starts again
after its machine was lost loads the encoder by itself. A block that was lost with a machine is encoded again.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from livealign.llm.encoder import Batch, Encoder
from livealign.llm.encoder_spec import EncoderSpec
from livealign.llm.prefix import Pictures
from livealign.operation_config import MachinesConfig
from livealign.ray_cluster import ray_cluster
from livealign.store import Store

PICTURES = "pictures"  # of a block: for each text the features as bytes of float32, null without a picture


class BlockEncoder:
    """An actor: the encoder once, then a block of texts for each call."""

    def __init__(self, spec: EncoderSpec, kinds: list[bool]) -> None:
        self.spec, self.kinds = spec, kinds
        self.encoder: Encoder | None = None

    def __call__(self, block: pa.Table) -> pa.Table:
        """A table of one block, as `block_table` makes it → one row.

        The row has the block's number, the bytes of float32 [kinds, texts, hidden], and the processor seconds that they took.

        Raises:
            BackboneError: this worker is not the encoder that the driver has.
        """
        if self.encoder is None:  # here and not in the constructor: Ray calls a constructor that fails again and again
            self.encoder = self.spec.load()
            torch.set_num_threads(1)  # as the threads of the local engine, so that the bits are theirs
        started = time.process_time()
        vectors = np.stack(self.encoder.encode_block(block["texts"][0].as_py(), self.kinds, _pictures(block)))
        return pa.table(
            {
                "block": block["block"],
                "vectors": pa.array([vectors.tobytes()], pa.large_binary()),
                "processor_seconds": [time.process_time() - started],
            }
        )


def block_table(number: int, rows: np.ndarray, texts: list[str], pictures: Pictures | None) -> pa.Table:
    """One row: the texts of a block, and their pictures if there are any.

    Ray Data hands rows to GPUs in batches of a fixed size only, so a block is one row.
    """
    columns = {
        "block": pa.array([number], pa.int64()),
        "texts": pa.array([[texts[row] for row in rows]], pa.list_(pa.string())),
    }
    if pictures is not None:
        columns[PICTURES] = pa.array([pictures.take(rows).parts()], pa.list_(pa.binary()))
    return pa.table(columns)


def block_vectors(row: Mapping[str, Any], kinds: int, texts: int) -> list[np.ndarray]:
    """The vectors of a row that `BlockEncoder` gave: float32 [texts, hidden] for each kind."""
    return list(np.frombuffer(row["vectors"], np.float32).reshape(kinds, texts, -1))


def _pictures(block: pa.Table) -> Pictures | None:
    """The pictures of a block's texts, None where there are none."""
    parts = block[PICTURES][0].as_py() if PICTURES in block.column_names else []
    width = next((len(part) // 4 for part in parts if part is not None), 0)
    return Pictures.of(parts, width) if width else None


@dataclass
class RayEmbedding:
    """Blocks on `machines.workers` actors of the cluster `machines.address`."""

    machines: MachinesConfig
    models: Path
    adapter: Path | None
    store: Store | None = None  # where workers that share no folder find backbone and adapter
    processor_seconds: float = 0.0  # of the actors' blocks so far

    def encode(
        self,
        encoder: Encoder,
        texts: list[str],
        blocks: list[np.ndarray],
        kinds: list[bool],
        pictures: Pictures | None = None,
    ) -> Iterator[Batch]:
        """Encode all blocks; each comes back when it is done.

        Raises:
            LiveAlignError: the cluster cannot be reached or fails, or a worker is not the same encoder.
        """
        spec = EncoderSpec.of(encoder, self.adapter, self.models, self.store)
        workers = min(self.machines.workers, len(blocks))
        tables = [block_table(number, rows, texts, pictures) for number, rows in enumerate(blocks)]
        with ray_cluster(self.machines, cores=workers):
            for row in _encoded(tables, spec, kinds, workers):
                rows = blocks[row["block"]]
                self.processor_seconds += row["processor_seconds"]
                yield rows, block_vectors(row, len(kinds), len(rows))


def _encoded(tables: list[pa.Table], spec: EncoderSpec, kinds: list[bool], workers: int) -> Iterator[dict[str, Any]]:
    """The answers of the actors to all blocks, by Ray Data, in the order in which they arrive."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    encoded = ray.data.from_arrow(tables).map_batches(
        BlockEncoder,
        fn_constructor_args=(spec, kinds),
        batch_size=1,
        batch_format="pyarrow",
        zero_copy_batch=True,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
        num_gpus=1 if spec.backbone.device == "cuda" else None,
    )
    yield from encoded.iter_rows()
