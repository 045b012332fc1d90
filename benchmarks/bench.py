"""`make bench`: every row of the speed table, each benchmark in a process of its own, then one Markdown table.

python -m benchmarks.bench --only embed tuning
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

BENCHMARKS = ("embed", "tuning", "tick", "codes", "ranker", "retrieval")
ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    failed = []
    for name in arguments.only:
        command = [sys.executable, "-m", f"benchmarks.bench_{name}"]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        rows += [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        failed += [name] if done.returncode else []
    print(f"{machine()}, {datetime.now(UTC).date()}\n")
    print("| row | to reach | ratio (lowest to highest) | by CPU seconds | ours | theirs | peak MiB, ours / theirs |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        spread = f"{row['ratio']} ({row['low']} to {row['high']})"
        memory = f"{row['peak_mib']:,} / {row['peers_peak_mib'] or 'same process'}"
        cells = (row["name"], row["goal"], spread, row["cpu_ratio"], row["ours"], row["theirs"], memory)
        print("| " + " | ".join(map(str, cells)) + " |")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def machine() -> str:
    """Processor, cores, threads of torch."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main())
