"""Seconds and peak memory of a stage, and a warning where too little is left.

For the closing table and for `summary.json`.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from livealign.files import read_json, replace_json, size_text
from livealign.memory import usable_memory

SAMPLE_SECONDS = 0.2


@dataclass
class StageCost:
    """Cost of one stage; `peak_rss_bytes` counts this process and the processes it started."""

    seconds: float = 0.0
    peak_rss_bytes: int = 0


@contextmanager
def stage_cost(name: str, folder: Path) -> Iterator[StageCost]:
    """Measure the block and write the result as `folder/<name>.json`.

    The yielded object is filled when the block ends.
    """
    cost, finished = StageCost(), threading.Event()
    sampler = threading.Thread(target=_sample_memory, args=(cost, finished), daemon=True)
    started = time.perf_counter()
    sampler.start()
    try:
        yield cost
    finally:
        finished.set()
        sampler.join()
        cost.seconds = time.perf_counter() - started
    replace_json(folder / f"{name}.json", asdict(cost), version=1)


def memory_warning(name: str, artifacts: Path) -> str | None:
    """A sentence if the stage took more memory at its last run than is left now, or None.

    Args:
        artifacts: the workspace's folder of days, of which each has its stages' costs.

    Raises:
        LiveAlignError: the record of the last run is damaged.
    """
    records = sorted(artifacts.glob(f"*/stages/{name}.json"))
    if not records:
        return None
    peak, left = int(read_json(records[-1])["peak_rss_bytes"]), usable_memory()
    if peak <= left + _resident_bytes(psutil.Process()):
        return None
    return (
        f"stage {name} took {size_text(peak)} of memory at its last run, and {size_text(left)} is left; "
        "stop what else runs here, or learn from fewer days (DAYS=), if the run is killed"
    )


def _sample_memory(cost: StageCost, finished: threading.Event) -> None:
    process = psutil.Process()
    while True:
        cost.peak_rss_bytes = max(cost.peak_rss_bytes, _resident_bytes(process))
        if finished.wait(SAMPLE_SECONDS):
            return


def _resident_bytes(process: psutil.Process) -> int:
    total = process.memory_info().rss
    for child in process.children(recursive=True):
        try:
            total += child.memory_info().rss
        except psutil.NoSuchProcess:  # it ended between the listing and the reading
            continue
    return total
