"""Five million events through one live core: the speed of the last million compared with the first.

    python -m benchmarks.load.soak --events 5000000 --rooms 200 --users 300000

Comments, likes, impressions and plays in batches of 500, each durable, in 30-second windows without the LLM's refresh. More
users come than `max_users`, and more events than ids are remembered, so that everything that forgets does. Lists are made
between the batches. The goals: the last million at least 0.9 times as fast as the first, and lists as fast at its end.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.json_rows import JsonRows, add_json_option
from benchmarks.load.live_core import WORDS, Clock, event, planted_bundle
from livealign.config import LiveConfig
from livealign.events.log import EventLog
from livealign.live.core import LiveCore

BATCH = 500
WINDOW_BATCHES = 200  # a window of the clock holds so many batches


def batch_of(rng: np.random.Generator, at: int, rooms: int, users: int) -> list[dict[str, Any]]:
    """One batch of events of random users in random rooms."""
    kinds = rng.choice(["comment", "like", "impression", "play_started"], BATCH, p=[0.4, 0.2, 0.3, 0.1])
    room, user = rng.integers(0, rooms, BATCH).tolist(), rng.integers(0, users, BATCH).tolist()
    words = rng.choice(WORDS, (BATCH, 3))
    events = []
    for place, kind in enumerate(kinds.tolist()):
        text = {"text": " ".join(words[place])} if kind == "comment" else {}
        events.append(event(kind, room[place], at, user_id=user[place], **text))
    return events


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--block", type=int, default=1_000_000, help="events between two lines of the report")
    parser.add_argument("--rooms", type=int, default=200)
    parser.add_argument("--users", type=int, default=300_000)
    parser.add_argument("--bundle", type=Path)
    add_json_option(parser)
    asked = parser.parse_args()
    out = JsonRows(asked.json, seed=1)
    rng, clock = np.random.default_rng(out.seed), Clock()
    with tempfile.TemporaryDirectory() as folder:
        bundle = asked.bundle or planted_bundle(Path(folder) / "planted")
        core = LiveCore.open(bundle, EventLog(Path(folder) / "log"), Path("none"), LiveConfig(), clock)
        at = int(clock() * 1000)
        core.ingest([event("room_started", room, at, title=f"room {room}") for room in range(asked.rooms)])
        rates, p99s = [], []
        for block in range(asked.events // asked.block):
            spent, took = 0.0, []
            for number in range(asked.block // BATCH):
                batch = batch_of(rng, int(clock() * 1000), asked.rooms, asked.users)
                began = time.perf_counter()
                core.ingest(batch)
                spent += time.perf_counter() - began
                if number % 10 == 0:
                    began = time.perf_counter()
                    core.recommend(int(rng.integers(0, asked.users)), 10)
                    took.append(1_000 * (time.perf_counter() - began))
                    core._journal.flush()  # the thread of the journal does not run here
                if number % WINDOW_BATCHES == WINDOW_BATCHES - 1:
                    clock.ahead += 30
                    core.tick()
            rates.append(asked.block / spent)
            p99s.append(float(np.percentile(took, 99)))
            print(
                f"events {(block + 1) * asked.block:>10,}: {rates[-1]:>8,.0f} a second, lists p99 {p99s[-1]:.1f} ms", flush=True
            )
            out.add(f"events a second, block {block + 1}", rates[-1], "events/s")
            out.add(f"lists p99, block {block + 1}", p99s[-1], "ms")
        share = rates[-1] / rates[0]
        print(f"the last block at {share:.2f} times the speed of the first; list p99 {p99s[0]:.1f} → {p99s[-1]:.1f} ms")
        out.add("last block over first", share, "share")
        core.stop()
    out.write()


if __name__ == "__main__":
    main()
