"""File locks between runs: landing, warehouse, promotion, and one per day.

Dagster's pool already keeps a second run away from the warehouse while it is written. These locks also hold between processes
that share no Dagster instance, such as `make retrain` beside the daemon's runs. The system releases them when a process
ends, however it ends.

    locks/landing.lock     held by a stage that moves days into landing
    locks/warehouse.lock   held by a stage that reads or writes the DuckDB file
    locks/promotion.lock   held by a stage that compares with the champion and moves the pointer
    locks/<day>.lock       held by a run from its first model of a day to the end of its process: the models of a day
                           belong together, so a second run of that day waits until the first has ended
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import IO

from livealign.files import lock_handle
from livealign.home import Home

STAGE_LOCKS = {"landing": "landing", "warehouse": "warehouse", "marts": "warehouse", "promotion": "promotion"}  # stage → lock
WITHOUT_MODELS = frozenset({"landing", "warehouse", "marts"})

_day_locks: dict[str, IO[str]] = {}  # path → open lock file, of the days that this process holds until it ends


@contextmanager
def stage_lock(home: Home, stage: str, day: date, say: Callable[[str], object]) -> Iterator[None]:
    """Hold the locks of a stage for the block; the day's lock stays until the process ends.

    Args:
        say: called with a message when another process holds a lock and this one has to wait.
    """
    folder = home.workspace / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    if stage not in WITHOUT_MODELS:
        path = folder / f"{day}.lock"
        if str(path) not in _day_locks:
            _day_locks[str(path)] = _locked(lock_handle(path), f"{day} is being retrained by another run", say)
    if stage not in STAGE_LOCKS:
        yield
        return
    name = STAGE_LOCKS[stage]
    with _locked(lock_handle(folder / f"{name}.lock"), f"another run is at the {name}", say):
        yield


def _locked(file: IO[str], why: str, say: Callable[[str], object]) -> IO[str]:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"waiting: {why}")
        fcntl.flock(file, fcntl.LOCK_EX)
    return file
