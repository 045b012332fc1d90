"""Five million events through one live core: the last million compared with the first.

    python -m benchmarks.load.soak                  # five million events
    python -m benchmarks.load.soak --scale 0.1      # a tenth of everything: events, users, and what is remembered

Comments, likes, impressions and plays in batches of 500, each durable, in 30-second windows that are refreshed. More
users come than `max_users`, and more events than ids are remembered, so that everything that forgets does. Lists are made
between the batches. The goals: the last million at least 0.9 times as fast as the first, and lists as fast at its end. On a
machine that does other work too, compare by the processor's time.
"""

import argparse
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.json_rows import JsonRows, add_json_option
from benchmarks.load.live_core import WORDS, Clock, event, planted_bundle
from livealign.config import LiveConfig
from livealign.events.log import EventLog
from livealign.live.core import LiveCore

BATCH = 500
BLOCKS = 5
SHARES = (0.4, 0.2, 0.2, 0.1, 0.1)  # of the kinds of events
WINDOW_BATCHES = 200  # a window of the clock holds so many batches


class Platform:
    """Random users in random rooms; a play ends two windows after its start."""

    def __init__(self, rng: np.random.Generator, rooms: int, users: int) -> None:
        self._rng, self._rooms, self._users = rng, rooms, users
        self._watching: deque[dict[str, Any]] = deque()

    def batch(self, at: int) -> list[dict[str, Any]]:
        """One batch of events."""
        kinds = self._rng.choice(["comment", "like", "impression", "play_started", "play_ended"], BATCH, p=SHARES)
        rooms, users = (self._rng.integers(0, most, BATCH).tolist() for most in (self._rooms, self._users))
        words = self._rng.choice(WORDS, (BATCH, 3))
        events = []
        for kind, room, user, text in zip(kinds.tolist(), rooms, users, words, strict=True):
            if kind == "play_ended" and self._watching and self._watching[0]["at"] <= at - 60_000:
                play = self._watching.popleft()
                events.append(event(kind, play["room_id"], at, user_id=play["user_id"], play_id=play["event_id"]))
            elif kind == "play_started":
                events.append(event(kind, room, at, user_id=user))
                self._watching.append(events[-1])
            elif kind == "comment":
                events.append(event(kind, room, at, user_id=user, text=" ".join(text)))
            else:
                events.append(event("like" if kind == "play_ended" else kind, room, at, user_id=user))
        return events


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of events, users and remembered things")
    parser.add_argument("--rooms", type=int, default=200)
    parser.add_argument("--bundle", type=Path)
    add_json_option(parser)
    asked = parser.parse_args()
    block_size, users, known = int(1_000_000 * asked.scale), int(300_000 * asked.scale), LiveConfig()
    config = LiveConfig(event_ids=int(known.event_ids * asked.scale), max_users=int(known.max_users * asked.scale))
    out = JsonRows(asked.json, seed=1)
    rng, clock = np.random.default_rng(out.seed), Clock()
    with tempfile.TemporaryDirectory() as folder:
        bundle = asked.bundle or planted_bundle(Path(folder) / "planted")
        core = LiveCore.open(bundle, EventLog(Path(folder) / "log"), Path("none"), config, clock)
        at = int(clock() * 1000)
        core.ingest([event("room_started", room, at, title=f"room {room}") for room in range(asked.rooms)])
        platform = Platform(rng, asked.rooms, users)
        rates, p99s = [], []
        for block in range(BLOCKS):
            spent, used, took = 0.0, 0.0, []
            for number in range(block_size // BATCH):
                batch = platform.batch(int(clock() * 1000))
                began, began_cpu = time.perf_counter(), time.process_time()
                core.ingest(batch)
                spent, used = spent + time.perf_counter() - began, used + time.process_time() - began_cpu
                if number % 10 == 0:
                    began = time.perf_counter()
                    core.recommend(int(rng.integers(0, users)), 10)
                    took.append(1_000 * (time.perf_counter() - began))
                    core._journal.flush()  # the thread of the journal does not run here
                if number % WINDOW_BATCHES == WINDOW_BATCHES - 1:
                    clock.ahead += 30
                    core.tick()
            rates.append((block_size / spent, block_size / used))
            p99s.append(float(np.percentile(took, 99)))
            done, (wall, processor) = (block + 1) * block_size, rates[-1]
            speed = f"{wall:>8,.0f} a second, {processor:>8,.0f} a processor second"
            print(f"events {done:>10,}: {speed}, lists p99 {p99s[-1]:.1f} ms", flush=True)
            out.add(f"events a second, block {block + 1}", rates[-1][0], "events/s")
            out.add(f"events a processor second, block {block + 1}", rates[-1][1], "events/s")
            out.add(f"lists p99, block {block + 1}", p99s[-1], "ms")
        wall, processor = (rates[-1][place] / rates[0][place] for place in (0, 1))
        print(f"last block over first: {wall:.2f} by the clock, {processor:.2f} by the processor's time")
        out.add("last block over first", wall, "share")
        out.add("last block over first, processor's time", processor, "share")
        core.stop()
    out.write()


if __name__ == "__main__":
    main()
