"""Engines beside each other: the same bits, and processor seconds of local and of Ray.

    python -m benchmarks.speed.engines --texts 4096 --workers 1 2

Each run embeds the same distinct texts, raw and tuned, with nothing cached; local with one thread, as a worker has.
"Encoding" is the processor time of the workers' blocks, or of the local pass; "all" that of this process and of every process
of the cluster, which starts and ends with the run. Efficiency is the encoding of one worker ÷ that of several. Wall time says
nothing on a machine that others use too.
"""

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import torch

from benchmarks.json_rows import JsonRows, add_json_option
from benchmarks.speed.encoder import fresh_adapter, simulated_texts
from livealign.home import Home
from livealign.llm.backbone import load_backbone
from livealign.llm.encoder import Encoder
from livealign.llm.ray_embedding import RayEmbedding
from livealign.operation_config import MachinesConfig
from livealign.profiles import load_profile

TEXTS_OF_A_ROOM = 40


def main() -> int:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Home.from_environment("simulator").models)
    parser.add_argument("--texts", type=int, default=4_096)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    add_json_option(parser)
    arguments = parser.parse_args()
    profile = load_profile("laptop")
    out = JsonRows(arguments.json, profile.seed)
    texts = simulated_texts(arguments.texts, profile.seed)
    rooms = np.arange(len(texts)) // TEXTS_OF_A_ROOM
    backbone = load_backbone(profile.backbone, arguments.models)
    with tempfile.TemporaryDirectory() as folder:
        adapter = fresh_adapter(backbone, profile, Path(folder))
        encoder = Encoder.load(backbone, adapter, profile.encoder, profile.segments)
        torch.set_num_threads(1)
        started = time.process_time()
        wanted = encoder.encode_raw_and_tuned(texts, rooms=rooms)
        local = time.process_time() - started
        show(out, "local, 1 thread", encoding=local)
        of_one = 0.0
        for workers in arguments.workers:
            engine = RayEmbedding(MachinesConfig(engine="ray", workers=workers), arguments.models, adapter)
            with ProcessorSeconds() as spent:
                found = encoder.encode_raw_and_tuned(texts, rooms=rooms, engine=engine)
            same = all(one.tobytes() == other.tobytes() for one, other in zip(wanted, found, strict=True))
            of_one = of_one or engine.processor_seconds
            show(
                out,
                f"Ray, {workers} workers",
                encoding=engine.processor_seconds,
                all=spent.total,
                fixed=spent.total - engine.processor_seconds,
                efficiency=of_one / engine.processor_seconds,
                same_bits=float(same),
            )
    out.write()
    return 0


class ProcessorSeconds:
    """Processor seconds of this process and all below it, sampled while the block runs."""

    def __enter__(self) -> "ProcessorSeconds":
        self._seconds: dict[int, float] = {}
        self._before = {process.pid: spent_by(process) for process in family()}
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._sampler.join()

    @property
    def total(self) -> float:
        """The seconds of all processes that were seen."""
        return sum(seconds - self._before.get(pid, 0.0) for pid, seconds in self._seconds.items())

    def _sample(self) -> None:
        while True:
            for process in family():
                self._seconds[process.pid] = max(self._seconds.get(process.pid, 0.0), spent_by(process))
            if self._ended.wait(0.25):
                return


def family() -> list[psutil.Process]:
    """This process and all below it."""
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def spent_by(process: psutil.Process) -> float:
    """User and system seconds of the process; 0 once it has ended."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def show(out: JsonRows, name: str, **numbers: float) -> None:
    """Print and record the numbers of a run."""
    units = {"same_bits": "1: yes", "efficiency": "ratio"}
    print(f"{name:<16} " + "  ".join(f"{what} {value:.2f}" for what, value in numbers.items()), flush=True)
    for what, value in numbers.items():
        out.add(f"{name}: {what}", value, units.get(what, "processor seconds"))


if __name__ == "__main__":
    sys.exit(main())
