"""One way for both small models to be trained: seeded, and on one CPU thread."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch draws from `seed` inside and goes on as before afterwards; on a CPU it computes on one thread.

    The towers and the ranker are many small operations: where the cores are shared, a second thread spends its time waiting
    (seen on 2 busy cores: 110 s for a ranker that one thread trains in 15). One thread also adds up in one order, so that
    the result does not depend on how many cores there are.
    """
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        if device.type == "cpu":
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
