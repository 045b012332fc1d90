"""Events a second that are validated, deduplicated and durable.

    python -m benchmarks.load.events [--folder F]

Batches of 500 decoded events, half comments and half likes, from one thread, each batch acknowledged after its fsync; medians
of the runs. The folder decides which disk is measured.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.json_rows import REPEATS, JsonRows, add_json_option
from livealign.events.intake import EventIntake
from livealign.events.log import EventLog
from livealign.platforms.served import count_events

BATCH = 500


def batch(number: int, now: int) -> list[dict[str, Any]]:
    """One batch of distinct events."""
    common = {"at": now, "author_id": 1}
    return [
        {"event_id": f"{number}-{i}", "room_id": i % 300, "user_id": i, **common}
        | ({"kind": "comment", "text": f"message {i} of batch {number}, of usual length"} if i % 2 else {"kind": "like"})
        for i in range(BATCH)
    ]


def measure(folder: Path, count: int) -> dict[str, float]:
    """Events a second, by step."""
    batches = [batch(number, int(time.time() * 1000)) for number in range(count)]
    rates = {}
    with EventLog(folder) as log:
        intake = EventIntake.open(log)
        start = time.perf_counter()
        accepted = sum(len(intake.ingest(events).accepted) for events in batches)
        rates["ingest, durable"] = accepted / (time.perf_counter() - start)
    assert accepted == count * BATCH
    with EventLog(folder) as log:
        start = time.perf_counter()
        EventIntake.open(log)
        rates["ids at start"] = accepted / (time.perf_counter() - start)
    start = time.perf_counter()
    assert count_events(folder).events == accepted
    rates["read for landing"] = accepted / (time.perf_counter() - start)
    return rates


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the logs are written; default: the system's temporary folder")
    parser.add_argument("--batches", type=int, default=200, help="of 500 events, a run (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="(default: %(default)s)")
    add_json_option(parser)
    arguments = parser.parse_args()
    out = JsonRows(arguments.json)
    runs = []
    for _ in range(arguments.runs):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            runs.append(measure(Path(folder), arguments.batches))
    for name in runs[0]:
        rates = sorted(run[name] for run in runs)
        print(f"{name:<18} {statistics.median(rates):>10,.0f} events/s   ({rates[0]:,.0f} to {rates[-1]:,.0f})")
        out.add(name, statistics.median(rates), "events/s", (rates[0], rates[-1]), REPEATS)
    out.write()


if __name__ == "__main__":
    main()
