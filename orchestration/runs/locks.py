"""Runs take turns: two of them, a run during a backfill, or `make retrain` beside the daemon's runs.

Dagster's pool already keeps a second run away from the warehouse while it is written; these locks also hold between processes
that share no Dagster instance, and the system lets go of them when a process ends, however it ends.

    locks/landing.lock     held by a stage that moves days into landing
    locks/warehouse.lock   held by a stage that reads or writes the DuckDB file
    locks/promotion.lock   held by a stage that compares with the champion and moves the pointer
    locks/<day>.lock       held by a run from its first model of a day to the end of its process: models of one day belong
                           together, so a second run of that day waits for the first to be over
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import IO

from livealign.home import Home

SHORT = {"landing": "landing", "warehouse": "warehouse", "marts": "warehouse", "promotion": "promotion"}  # stage → lock
WITHOUT_MODELS = frozenset({"landing", "warehouse", "marts"})

_held: dict[str, IO[str]] = {}  # of this process: days whose lock it keeps


@contextmanager
def turn(home: Home, stage: str, day: date, say: Callable[[str], object]) -> Iterator[None]:
    """Run the block when no other process is at what the stage touches; `say` is told when it has to wait."""
    folder = home.workspace / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    if stage not in WITHOUT_MODELS:
        path = folder / f"{day}.lock"
        if str(path) not in _held:
            _held[str(path)] = _locked(path.open("w"), f"{day} is being retrained by another run", say)
    if stage not in SHORT:
        yield
        return
    name = SHORT[stage]
    with _locked((folder / f"{name}.lock").open("w"), f"another run is at the {name}", say):
        yield


def _locked(file: IO[str], why: str, say: Callable[[str], object]) -> IO[str]:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"waiting: {why}")
        fcntl.flock(file, fcntl.LOCK_EX)
    return file
