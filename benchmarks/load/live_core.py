"""The live core alone, without HTTP, at the size of a large platform.

    python -m benchmarks.load.live_core --rooms 10000 --users 100000 --news 800
    --bundle FOLDER --models FOLDER   a release and its backbone; default: a planted one with the tiny backbone

Measured one after another: memory of the state, events a second (durable), lists alone at a steady rate, a refresh of `news`
rooms, and lists during a refresh. Run it on an idle machine: other work on it changes every number.
"""

import argparse
import gc
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.json_rows import JsonRows, add_json_option
from livealign.config import LiveConfig
from livealign.events.log import EventLog
from livealign.live.answers import TickReport
from livealign.live.core import LiveCore

WORDS = (
    "chess",
    "rook",
    "boss",
    "song",
    "queue",
    "heal",
    "bake",
    "dough",
    "goal",
    "paint",
    "lap",
    "gg",
    "nice",
    "wow",
    "again",
)


class Clock:
    """The wall clock plus an offset that can grow."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def planted_bundle(folder: Path) -> Path:
    """A small release with the tiny backbone."""
    from tests.planted.live_release import plant_live_releases

    return plant_live_releases(folder)[0].bundle


def fill(core: LiveCore, clock: Clock, rooms: int, users: int, rng: np.random.Generator) -> None:
    """Start rooms, and give every user a history of 20 engagements and some shown rooms."""
    now = int(clock() * 1000)
    for start in range(0, rooms, 500):
        numbers = range(start, min(rooms, start + 500))
        core.ingest([event("room_started", room, now, title=f"room {room} of the evening") for room in numbers])
    length, state = core.state.users.history_length, core.state
    with state.lock:
        known = state.table["coded_row"]
        for user in range(users):
            picked = rng.integers(0, len(known), length)
            state.users.replace_history(user, known[picked], now - np.arange(length, dtype=np.int64) * 60_000)
            state.users.show(user, None, state.table["room_id"][picked[:10]], known[picked[:10]], now)


_number = 0


def event(kind: str, room: int, at: int, **fields: Any) -> dict[str, Any]:
    """One event with a new id."""
    global _number
    _number += 1
    return {"kind": kind, "event_id": f"b{_number}", "at": at, "room_id": room, "author_id": 900 + room % 2_000, **fields}


def news(clock: Clock, rooms: int, rng: np.random.Generator) -> list[list[dict[str, Any]]]:
    """Six messages in each of the first `rooms` rooms, in batches of 500."""
    at = int(clock() * 1000)
    comments = [
        event("comment", room, at, user_id=int(rng.integers(0, 100_000)), text=" ".join(rng.choice(WORDS, 5)))
        for room in range(rooms)
        for _ in range(6)
    ]
    return [comments[start : start + 500] for start in range(0, len(comments), 500)]


def lists(core: LiveCore, seconds: float, rate: float, users: int, record: bool = True) -> np.ndarray:
    """Milliseconds of each list at a steady rate from one thread, waiting included."""
    rng, took, start = np.random.default_rng(5), [], time.perf_counter()
    for number in range(int(seconds * rate)):
        due = start + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        core.recommend(int(rng.integers(0, users)), 10, record=record)
        took.append(1_000 * (time.perf_counter() - due))
    return np.array(took)


def show_lists(name: str, took: np.ndarray, out: JsonRows) -> None:
    """Print and record the quantiles of the lists' times."""
    p50, p99 = np.percentile(took, [50, 99])
    print(f"{name:<34} p50 {p50:7.1f} ms   p99 {p99:7.1f} ms   most {took.max():7.1f} ms   ({len(took)} lists)")
    for what, milliseconds in (("p50", p50), ("p99", p99), ("most", took.max())):
        out.add(f"{name}, {what}", milliseconds, "ms")


def refresh(core: LiveCore, clock: Clock) -> TickReport:
    """End the window and run its refresh."""
    clock.ahead += 30 - clock() % 30 + 2.1
    return core.tick()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--models", type=Path, default=Path("none"))
    parser.add_argument("--rooms", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--news", type=int, default=800)
    parser.add_argument("--seconds", type=float, default=20.0)
    add_json_option(parser)
    asked = parser.parse_args()
    out = JsonRows(asked.json, seed=1)
    rng, process, clock = np.random.default_rng(out.seed), psutil.Process(), Clock()
    with tempfile.TemporaryDirectory() as folder:
        bundle = asked.bundle or planted_bundle(Path(folder) / "planted")
        core = LiveCore.open(
            bundle, EventLog(Path(folder) / "log"), asked.models, LiveConfig(), clock, checkpoint=Path(folder) / "state.npz"
        )
        gc.collect()
        empty = process.memory_info().rss
        fill(core, clock, asked.rooms, asked.users, rng)
        gc.collect()
        held = process.memory_info().rss
        of_them = (held - empty) / 2**30
        print(f"{asked.rooms:,} rooms, {asked.users:,} users: {held / 2**30:.2f} GiB, of which {of_them:.2f} for them")
        out.add(f"memory, {asked.rooms:,} rooms and {asked.users:,} users", held / 2**30, "GiB")
        out.add(f"memory, {asked.rooms:,} rooms and {asked.users:,} users: for them", of_them, "GiB")
        batches = [batch for _ in range(5) for batch in news(clock, min(5_000, asked.rooms), rng)]
        began = time.perf_counter()
        for batch in batches:
            core.ingest(batch)
        count = sum(len(batch) for batch in batches)
        rate = count / (time.perf_counter() - began)
        print(f"{'events, durable, batches of 500':<34} {rate:,.0f} a second ({count:,})")
        out.add("events, durable, batches of 500", rate, "events/s")
        refresh(core, clock)
        lists(core, 2, 50, asked.users)
        show_lists("lists at 50 a second", lists(core, asked.seconds, 50, asked.users), out)
        for batch in news(clock, asked.news, rng):
            core.ingest(batch)
        report = refresh(core, clock)
        print(
            f"{'refresh':<34} {report.encoded} of {report.rooms_with_news} rooms in {report.seconds:.1f} s, the LLM "
            f"{report.encode_seconds:.1f} s: {30 * report.encoded / report.seconds:,.0f} rooms in 30 s"
        )
        out.add("refresh: rooms with news", report.rooms_with_news, "rooms")
        out.add("refresh: rooms encoded", report.encoded, "rooms")
        out.add("refresh", report.seconds, "s")
        out.add("refresh: the LLM", report.encode_seconds, "s")
        out.add("refresh: rooms in 30 s", 30 * report.encoded / report.seconds, "rooms")
        for batch in news(clock, asked.news, rng):
            core.ingest(batch)
        worker = threading.Thread(target=refresh, args=(core, clock))
        worker.start()
        took = []
        while worker.is_alive():
            took.append(lists(core, 1, 20, asked.users))
        show_lists("lists at 20 a second in a refresh", np.concatenate(took), out)
        began = time.perf_counter()
        core.checkpoint()
        size = (Path(folder) / "state.npz").stat().st_size
        seconds = time.perf_counter() - began
        print(f"{'checkpoint':<34} {seconds:.1f} s, {size / 2**20:.0f} MiB")
        out.add("checkpoint", seconds, "s")
        out.add("checkpoint: size", size / 2**20, "MiB")
        core.stop()
        at_end = process.memory_info().rss / 2**30
        print(f"memory at the end: {at_end:.2f} GiB")
        out.add("memory at the end", at_end, "GiB")
    out.write()


if __name__ == "__main__":
    main()
