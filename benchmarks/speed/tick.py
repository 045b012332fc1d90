"""The number of rooms that one tick of 30 seconds can refresh.

    python -m benchmarks.speed.tick --rooms 100 1000 10000

The tuned encoder runs on rooms' new texts, at growing numbers of rooms. The ratio is rooms a second ÷ that of the smallest
number of rooms: 1.0 means that the cost is proportional to the rooms. Only the encoder is measured; the rest is a few
hundredths of a tick. More rooms than a tick holds are refreshed in rotation, oldest first. Ten thousand rooms take minutes:
name fewer rooms or repeats to save time.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.json_rows import JsonRows, add_json_option
from benchmarks.speed.encoder import fresh_adapter, simulated_texts
from benchmarks.speed.rows import comparison, cost_of, in_turns, show
from livealign.home import Home
from livealign.llm.backbone import load_backbone
from livealign.llm.encoder import Encoder
from livealign.profiles import load_profile

TICK_SECONDS = 30


def main() -> int:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Home.from_environment("simulator").models)
    parser.add_argument("--rooms", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--repeats", type=int, default=5)
    add_json_option(parser)
    arguments = parser.parse_args()
    profile = load_profile("laptop")
    out = JsonRows(arguments.json, profile.seed)
    backbone = load_backbone(profile.backbone, arguments.models)
    with tempfile.TemporaryDirectory() as folder:
        encoder = Encoder.load(backbone, fresh_adapter(backbone, profile, Path(folder)), profile.encoder, profile.segments)
    texts = simulated_texts(max(arguments.rooms), profile.seed)
    fewest = arguments.rooms[0]
    for rooms in arguments.rooms[1:]:
        ours, theirs = in_turns(
            lambda rooms=rooms: cost_of(lambda: encoder.encode(texts[:rooms])),
            lambda: cost_of(lambda: encoder.encode(texts[:fewest])),
            arguments.repeats,
        )
        a_tick = TICK_SECONDS * rooms / sorted(cost.wall for cost in ours)[len(ours) // 2]
        facts = {f"in {TICK_SECONDS} s": (a_tick, "rooms")}
        name = f"tick of {rooms} rooms: rooms/s ÷ those of {fewest} rooms"
        show(comparison(name, "", ours, theirs, (rooms, fewest, "rooms/s"), facts=facts), out)
    out.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
