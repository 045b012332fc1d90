"""Time, memory and rows of landing N Twitch channels that are live on one evening.

    python -m benchmarks.speed.chat_landing [--channels 50 100 200 1000]

Each size runs in a process of its own, so that its peak memory is its own. The negatives of a play are bounded, so all
three numbers should grow with the messages.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

from benchmarks.json_rows import JsonRows, add_json_option
from livealign.platforms.registry import land

EVENING = datetime(2025, 9, 22, 18)
CHATTERS, SECONDS = 30, 3_600
UNITS = {"channels": "channels", "messages": "rows", "impressions": "rows", "wall_s": "s", "cpu_s": "s", "peak_mb": "MB"}


def write_channels(archive: Path, channels: int) -> None:
    """`channels` broadcasts that begin within half an hour, one message of each chatter."""
    for number in range(channels):
        start = EVENING + timedelta(seconds=1_800 * number // channels)
        folder = archive / f"channel{number}" / f"{start:%Y-%m-%d_%H-%M-%S} - an evening - {number + 1}"
        folder.mkdir(parents=True)
        vod = {"vod_id": number + 1, "title": "an evening", "created_at": f"{start}", "duration": SECONDS}
        (folder / "vod.json").write_text(json.dumps(vod))
        messages = [
            {
                "id": f"{number}-{who}",
                "contentOffsetSeconds": 60 + 100 * who,
                "commenter": {"id": f"{number * CHATTERS + who + 1}", "login": f"fan{who}", "displayName": f"Fan{who}"},
                "message": {"fragments": [{"text": f"line {who} of channel {number}"}], "userBadges": []},
            }
            for who in range(CHATTERS)
        ]
        (folder / "verbose_chat.json").write_text(json.dumps(messages))


def measure(channels: int) -> dict[str, float]:
    """Land one evening in this process."""
    with tempfile.TemporaryDirectory() as name:
        archive = Path(name) / "archive"
        write_channels(archive, channels)
        wall, cpu = time.perf_counter(), time.process_time()
        summary = land("twitch", archive, Path(name) / "landing")
        return {
            "channels": channels,
            "messages": channels * CHATTERS,
            "impressions": summary.tables["impressions"].landed,
            "wall_s": round(time.perf_counter() - wall, 1),
            "cpu_s": round(time.process_time() - cpu, 1),
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000),
        }


def main() -> None:
    """Measure each size in a process of its own, and print one JSON line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, nargs="+", default=[50, 100, 200, 1_000])
    parser.add_argument("--here", action="store_true", help="measure in this process (used for each size)")
    add_json_option(parser)
    given = parser.parse_args()
    if given.here:
        for channels in given.channels:
            print(json.dumps(measure(channels)))
        return
    out = JsonRows(given.json)
    for channels in given.channels:
        command = [sys.executable, "-m", "benchmarks.speed.chat_landing", "--here", "--channels", str(channels)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        print(done.stdout, end="")
        out.add_all(f"{channels} channels", json.loads(done.stdout), UNITS)
    out.write()


if __name__ == "__main__":
    main()
