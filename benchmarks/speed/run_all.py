"""`make bench`: all rows of the speed table as one Markdown table.

Each benchmark runs in a process of its own.

    python -m benchmarks.speed.run_all --only encoder tuning
"""

import argparse
import json
import os
import subprocess
import sys
from datetime import UTC, datetime

from benchmarks.json_rows import ROOT, JsonRows, add_json_option, machine
from benchmarks.speed.rows import Row, record
from livealign.profiles import load_profile

BENCHMARKS = ("encoder", "tuning", "tick", "codes", "ranker", "retrieval")


def main() -> int:
    """Run the benchmarks; returns 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    add_json_option(parser)
    arguments = parser.parse_args()
    out = JsonRows(arguments.json, load_profile("laptop").seed)
    rows: list[Row] = []
    failed = []
    for name in arguments.only:
        command = [sys.executable, "-m", f"benchmarks.speed.{name}"]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        rows += [Row(**json.loads(line)) for line in done.stdout.splitlines() if line.startswith("{")]
        failed += [name] if done.returncode else []
    print(f"{this_machine()}, {datetime.now(UTC).date()}\n")
    print("| row | to reach | ratio (lowest to highest) | by CPU seconds | ours | theirs | peak MiB, ours / theirs |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        spread = f"{row.ratio} ({row.low} to {row.high})"
        memory = f"{row.peak_mib:,} / {row.peers_peak_mib or 'same process'}"
        ours, theirs = (f"{rate:,.1f} {row.unit}" for rate in (row.ours, row.theirs))
        facts = ", ".join(f"{name} {value:.4g} {unit}" for name, (value, unit) in row.facts.items())
        label = f"{row.name} ({facts})" if facts else row.name
        print("| " + " | ".join(map(str, (label, row.goal, spread, row.cpu_ratio, ours, theirs, memory))) + " |")
        record(row, out)
    for name in failed:
        out.add(f"{name}: failed", None, "no number")
    out.write()
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def this_machine() -> str:
    """One line about the machine and how busy it is."""
    about = machine()
    return f"{about['processor']}, {about['cores']} cores, torch {about['torch']}, load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main())
