"""Speed and memory of the simulator.

    python -m benchmarks.speed.simulator --impressions 10000000

There are as many users as that many impressions need in eight days, and one author for 3 users. Prints seconds, peak memory
and impressions a second.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.json_rows import JsonRows, add_json_option
from livealign.simulation.archive import simulate
from livealign.simulation.config import SimulationConfig

IMPRESSIONS_PER_USER_DAY = 90.0  # of the default config, measured, rounded down
USERS_PER_AUTHOR = 3


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--impressions", type=int, default=10_000_000, help="at least so many (default: %(default)s)")
    parser.add_argument("--days", type=int, default=8)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--out", type=Path, help="keep the archive there; default: a temporary folder")
    add_json_option(parser)
    arguments = parser.parse_args()
    out = JsonRows(arguments.json, arguments.seed)
    users = max(1, round(arguments.impressions / (IMPRESSIONS_PER_USER_DAY * arguments.days)))
    config = SimulationConfig(users=users, authors=max(20, users // USERS_PER_AUTHOR), days=arguments.days, seed=arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        summary = simulate(config, arguments.out or Path(folder) / "archive", _print_day)
        seconds = time.perf_counter() - started
        size = sum(path.stat().st_size for path in summary.out.rglob("*") if path.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1_024)
    for table, rows in summary.rows.items():
        print(f"{table:12s} {rows:12,}")
        out.add(f"rows of {table}", rows, "rows")
    made = summary.rows["impressions"]
    print(f"{config.users:,} users, {config.authors:,} authors, {config.days} days, archive {size / 2**30:.2f} GiB")
    print(f"{made:,} impressions in {seconds:.1f} s ({made / seconds:,.0f}/s), peak {peak / 2**30:.2f} GiB")
    for name, value, unit in (
        ("users", config.users, "users"),
        ("authors", config.authors, "authors"),
        ("days", config.days, "days"),
        ("archive", size / 2**30, "GiB"),
        ("time", seconds, "s"),
        ("rate", made / seconds, "impressions/s"),
        ("peak memory", peak / 2**30, "GiB"),
    ):
        out.add(name, value, unit)
    out.write()


def _print_day(done: int, total: int) -> None:
    print(f"day {done}/{total}", flush=True)


if __name__ == "__main__":
    main()
