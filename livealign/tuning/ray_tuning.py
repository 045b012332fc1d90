"""Tuning on several ranks by Ray Train.

The driver is the process that runs the stage. It describes the work to the ranks; the first rank writes checkpoints and the
adapter beside `out`, in a folder that all machines of the cluster share, and counts its steps on a board that the driver reads.
A rank that dies ends the others; Ray Train starts all of them again, and they continue from the checkpoint.
"""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from livealign.config import EncoderConfig, FinetuneConfig, SegmentConfig
from livealign.errors import TrainingError
from livealign.llm.backbone import Backbone, allowed_cores
from livealign.llm.encoder_spec import BackboneSpec
from livealign.operation_config import MachinesConfig
from livealign.ray_cluster import own_error, ray_cluster
from livealign.store import Store
from livealign.tuning.adapter import Progress, TuneReport, read_report, tune_adapter
from livealign.tuning.descriptions import Descriptions
from livealign.tuning.pairs import TextPairs

MOST_FAILURES = 2  # losses of ranks in one tuning, after each of which all start again from the checkpoint
LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class TuningWork:
    """The inputs of each rank: the texts and their pairs, but no weights."""

    backbone: BackboneSpec
    pairs: TextPairs
    segments: SegmentConfig
    encoder: EncoderConfig
    config: FinetuneConfig
    out: Path
    warm_start: Path | None
    descriptions: Descriptions | None
    cores: int  # of each rank
    sharded: bool  # whether the ranks share out the backbone's weights


def tune_on_ranks(
    machines: MachinesConfig,
    models: Path,
    backbone: Backbone,
    pairs: TextPairs,
    segments: SegmentConfig,
    encoder: EncoderConfig,
    config: FinetuneConfig,
    out: Path,
    warm_start: Path | None = None,
    progress: Progress | None = None,
    descriptions: Descriptions | None = None,
) -> TuneReport:
    """`tuning.adapter.tune_adapter` on `machines.ranks` processes.

    Arguments, files and errors are the same.

    Raises:
        LiveAlignError: the cluster cannot be reached, or ranks failed more than twice.
        TrainingError: as `tune_adapter`, or the adapter was written on a machine that does not share the folder.
    """
    on_gpu = backbone.device.type == "cuda"
    with ray_cluster(machines, cores=max(machines.ranks, allowed_cores())) as ray:
        cores = _cores_of_a_rank(ray, machines.ranks)
        spec = BackboneSpec.of(backbone, models, Store.open(machines.store))
        out = out.absolute()
        work = TuningWork(spec, pairs, segments, encoder, config, out, warm_start, descriptions, cores, machines.shard)
        with _shown(ray, progress) as board:
            _train(work, board, machines.ranks, on_gpu)
    try:
        return read_report(out)
    except TrainingError as error:
        raise TrainingError(
            f"the first rank wrote {out} on another machine; share LIVEALIGN_HOME among the machines"
        ) from error


def _cores_of_a_rank(ray: Any, ranks: int) -> int:
    """Cores for each rank, so that all ranks find a place on the machines of the cluster."""
    cores = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    machines = [number for number in cores if number > 0]
    return max(1, min(machines, default=1) // -(-ranks // max(1, len(machines))))


def _train(work: TuningWork, board: Any, ranks: int, on_gpu: bool) -> None:
    """Run the ranks to their end."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    state = work.out.with_name(f"{work.out.name}.ray")  # Ray Train's own records; our checkpoint is not among them
    trainer = TorchTrainer(
        tune_as_rank,
        train_loop_config={"work": work, "board": board},
        torch_config=TorchConfig(backend="nccl" if on_gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=ranks, use_gpu=on_gpu, resources_per_worker={"CPU": work.cores}),
        run_config=RunConfig(storage_path=str(state), name="tuning", failure_config=FailureConfig(max_failures=MOST_FAILURES)),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        last = str(error).strip().splitlines()[-1][:200]
        why = own_error(error) or f"the ranks failed: {last}; run again, tuning continues from the checkpoint"
        raise TrainingError(why) from error
    finally:
        shutil.rmtree(state, ignore_errors=True)


def tune_as_rank(job: dict[str, Any]) -> None:
    """The work of one rank, in a process of Ray Train with torch's process group."""
    work: TuningWork = job["work"]
    backbone = work.backbone.load(whole=not work.sharded)
    if backbone.device.type == "cpu":
        torch.set_num_threads(work.cores)
    tune_adapter(
        backbone,
        work.pairs,
        work.segments,
        work.encoder,
        work.config,
        work.out,
        warm_start=work.warm_start,
        progress=lambda done, steps: job["board"].put.remote(done, steps),
        descriptions=work.descriptions,
        sharded=work.sharded,
    )


class Board:
    """An actor that holds the number of steps done, of how many."""

    def __init__(self) -> None:
        self.steps = (0, 0)

    def put(self, done: int, steps: int) -> None:
        """Note the first rank's step."""
        self.steps = (done, steps)

    def read(self) -> tuple[int, int]:
        """(steps done, steps in all); (0, 0) before the first."""
        return self.steps


@contextmanager
def _shown(ray: Any, progress: Progress | None) -> Iterator[Any]:
    """Yield a board, and show what is on it by `progress` until the block ends."""
    board = ray.remote(num_cpus=0)(Board).remote()
    ended = threading.Event()

    def show() -> None:
        shown = (0, 0)
        while not ended.wait(LOOK_SECONDS):
            try:
                steps = ray.get(board.read.remote(), timeout=LOOK_SECONDS)
            except ray.exceptions.RayError:  # slow or lost: the ranks' own end says what happened
                continue
            if progress is not None and steps[1] and steps != shown:
                shown = steps
                progress(*steps)

    watcher = threading.Thread(target=show, name="tuning-progress", daemon=True)
    watcher.start()
    try:
        yield board
    finally:
        ended.set()
        watcher.join()
