"""Rows of the speed table: two ways of doing one thing, timed in turns in one run."""

import json
import resource
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.json_rows import REPEATS, ROOT, JsonRows

PEERS = ROOT / ".venv-peers" / "bin" / "python"


Facts = dict[str, tuple[float, str]]  # further numbers of a row by name, each with its unit


class Cost(NamedTuple):
    """Wall seconds and processor seconds.

    Other work on the machine lengthens the first more than the second.
    """

    wall: float
    cpu: float


@dataclass(frozen=True)
class Row:
    """One row of the table: a ratio and what it is made of.

    `low` and `high` are the smallest and largest of the repeats.
    """

    name: str
    goal: str
    ratio: float
    low: float
    high: float
    cpu_ratio: float  # the same ratio by processor seconds
    ours: float  # rates, in `unit`
    theirs: float
    unit: str
    peak_mib: int  # of our process
    peers_peak_mib: int | None = None
    facts: Facts = field(default_factory=dict)


def cost_of(work: Callable[[], Any]) -> Cost:
    """The cost of one call."""
    started, on_processors = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - started, time.process_time() - on_processors)


def in_turns(ours: Callable[[], Cost], theirs: Callable[[], Cost], repeats: int) -> tuple[list[Cost], list[Cost]]:
    """Run both once unmeasured, then alternately, `repeats` times each."""
    ours(), theirs()
    pairs = [(ours(), theirs()) for _ in range(repeats)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def comparison(
    name: str,
    goal: str,
    ours: list[Cost],
    theirs: list[Cost],
    work: tuple[float, float, str],
    peers_peak_mib: int | None = None,
    facts: Facts | None = None,
) -> Row:
    """The row of our rate ÷ theirs, as the median of the repeats.

    `work` is (ours, theirs, unit) of one repeat.
    """
    mine, others, unit = work
    ratios = [(mine / a.wall) / (others / b.wall) for a, b in zip(ours, theirs, strict=True)]
    on_processors = [(mine / a.cpu) / (others / b.cpu) for a, b in zip(ours, theirs, strict=True)]
    rates = [amount / float(np.median([cost.wall for cost in costs])) for amount, costs in ((mine, ours), (others, theirs))]
    return Row(
        name,
        goal,
        round(float(np.median(ratios)), 3),
        round(min(ratios), 3),
        round(max(ratios), 3),
        round(float(np.median(on_processors)), 3),
        *rates,
        unit,
        peak_mib(),
        peers_peak_mib,
        facts or {},
    )


def peak_mib() -> int:
    """The peak memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_024


def show(row: Row, out: JsonRows) -> None:
    """Print the row as a line of JSON for `run_all.py`, and record its numbers."""
    print(json.dumps(asdict(row)), flush=True)
    record(row, out)


def record(row: Row, out: JsonRows) -> None:
    """Record the numbers of a row: the ratio, both rates, both memories and its facts."""
    out.add(row.name, row.ratio, "ratio", (row.low, row.high), REPEATS)
    out.add(f"{row.name}: by CPU seconds", row.cpu_ratio, "ratio")
    out.add(f"{row.name}: ours", row.ours, row.unit)
    out.add(f"{row.name}: theirs", row.theirs, row.unit)
    out.add(f"{row.name}: peak memory, ours", row.peak_mib, "MiB")
    if row.peers_peak_mib is not None:
        out.add(f"{row.name}: peak memory, theirs", row.peers_peak_mib, "MiB")
    for name, (value, unit) in row.facts.items():
        out.add(f"{row.name}: {name}", value, unit)


class Peer:
    """A process in the peers' environment that does one thing at each call and reports its cost."""

    def __init__(self, task: str, **settings: Any) -> None:
        if not PEERS.is_file():
            raise SystemExit(f"{PEERS} is missing; run `make peers` first")
        command = [str(PEERS), str(Path(__file__).with_name("peer.py")), task, json.dumps(settings)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.facts = self._answer()

    def __call__(self) -> Cost:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        answer = self._answer()
        self.facts |= answer
        return Cost(answer["wall"], answer["cpu"])

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise SystemExit("the peer's process ended; what it wrote above says why")
