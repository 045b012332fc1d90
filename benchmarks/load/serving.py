"""The speed of the running service: one server process, the load from another, one machine.

    make bench-serving                        # everything but the soak: about six minutes
    make bench-serving SOAK=600               # with ten minutes of steady load, memory watched

It serves a release of this workspace whose snapshot is replaced by a platform of the requested size (`large_release.py`), by
BentoML, as `make serve` does, with the real LLM. In the same run a BentoML endpoint that does nothing is measured
(`noop_service.py`).
"""

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.json_rows import JsonRows, add_json_option
from benchmarks.load.bench_server import Result, Server, bench_server
from benchmarks.load.generator import UNITS
from benchmarks.load.large_release import large_release, room_authors
from benchmarks.load.traffic import SEED, WINDOW, Speakers, event_bodies, recommend_bodies
from livealign.config import LiveConfig
from livealign.home import Home
from livealign.release.bundle import open_bundle
from livealign.release.registry import champion_path

UNITS_OF_ALL = UNITS | {
    "load": "runnable processes",
    "rooms": "rooms",
    "users": "users",
    "release": "id",
    "events_per_second": "events/s",
    "rooms_with_news": "rooms",
    "staleness_seconds": "s",
    "samples": "samples",
    "last_tick_seconds": "s",
    "degraded": "yes or no",
    "windows_waiting": "windows",
    "problem": "text",
    "gib_at_start": "GiB",
    "gib_after": "GiB",
    "gib": "GiB",
    "gib_per_hour_second_half": "GiB/hour",
    "share_of_noop": "share",
}


def measure_lists(server: Server, users: int, seconds: float) -> Result:
    """`/recommend` at 50 a second, then at the highest rate."""
    bodies = recommend_bodies(users)
    server.load("/recommend", bodies, rate=50, seconds=3)
    return {
        "at_50_per_second": server.load("/recommend", bodies, rate=50, seconds=seconds),
        "highest_rate": server.load("/recommend", bodies, seconds=seconds / 2, connections=16),
    }


def measure_noop(seconds: float) -> Result:
    """The highest rate of a BentoML endpoint that does nothing.

    In BentoML's threads and on its event loop.
    """
    body = [b'{"user_id": 1, "k": 10}']
    with bench_server("benchmarks.load.noop_service:Noop", {}) as server:
        return {name: server.load(f"/{name}", body, seconds=seconds, connections=16) for name in ("nothing", "nothing_async")}


def measure_events(server: Server, users: int, batches: int) -> Result:
    """Batches of 500 events, each answered after its fsync."""
    bodies = event_bodies(batches, 500, server.authors, users)
    result = server.load("/events", bodies, seconds=120, requests=len(bodies), connections=4)
    return {**result, "events_per_second": round(result["per_second"] * 500)}


def measure_refresh(server: Server, rooms: int, users: int, seconds: float) -> Result:
    """The staleness of rooms' content with news in every window of `rooms` rooms.

    Fifty lists a second are made meanwhile, as in the measurement without a refresh.
    """
    ages: list[float] = []
    with Speakers(server, rooms) as speakers:
        time.sleep(2 * WINDOW + 15)  # until every room has been encoded once
        done = threading.Event()

        def sample() -> None:
            while not done.wait(2.0):
                for offset in range(0, rooms, 200):
                    page = server.get(f"/rooms?limit=200&offset={offset}")
                    ages.extend(room["content_age_seconds"] for room in page["rooms"])

        sampler = threading.Thread(target=sample)
        sampler.start()
        lists = server.load("/recommend", recommend_bodies(users), rate=50, seconds=seconds)
        done.set()
        sampler.join()
        status = server.get("/status")
    percentiles = {f"p{q}": round(float(np.percentile(ages, q)), 1) for q in (50, 99)}
    return {
        "rooms_with_news": rooms,
        "staleness_seconds": {**percentiles, "max": round(max(ages), 1), "samples": len(ages)},
        "last_tick_seconds": status["last_tick_seconds"],
        "degraded": status["degraded"],
        "windows_waiting": status["windows_waiting"],
        "lists": lists,
        "problem": speakers.problem,
    }


def soak(server: Server, rooms: int, users: int, seconds: float) -> Result:
    """Steady news, events and lists, with the memory every fifteen seconds.

    First it sends as many events as the service remembers ids, so that bounded memory has reached its bound.
    """
    at_start, full = server.memory(), event_bodies(LiveConfig().event_ids // 500, 500, server.authors, users)
    server.load("/events", full, seconds=300, requests=len(full), connections=4)
    memory, until = [server.memory()], time.monotonic() + seconds
    lists, events = recommend_bodies(users, 20_000), None
    with Speakers(server, rooms):
        while time.monotonic() < until:
            events = server.load("/events", event_bodies(20, 500, server.authors, users), rate=2, seconds=10)
            server.load("/recommend", lists, rate=20, seconds=5)
            memory.append(server.memory())
    half = memory[len(memory) // 2 :]
    growth = float(np.polyfit(np.arange(len(half)), half, 1)[0]) * 240 if len(half) > 2 else None  # GiB an hour, 15 s a sample
    return {
        "seconds": seconds,
        "gib_at_start": at_start,
        "gib": memory,
        "gib_per_hour_second_half": growth,
        "last_events": events,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--platform", default="simulator")
    parser.add_argument("--bundle", type=Path, help="the release to serve; default: the champion")
    parser.add_argument("--rooms", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--news", type=int, nargs="*", default=[800], help="rooms with news, for the refresh")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement")
    parser.add_argument("--soak", type=float, default=0.0, help="seconds of the soak; 0: none")
    parser.add_argument("--only", nargs="*", choices=("lists", "events", "refresh", "soak"), help="default: all")
    add_json_option(parser)
    arguments = parser.parse_args()
    out = JsonRows(arguments.json, SEED)
    home = Home.from_environment(arguments.platform)
    bundle = open_bundle((arguments.bundle or champion_path(home.releases)).resolve())
    wanted = set(arguments.only or ("lists", "events", "refresh", "soak"))
    result: Result = {"release": bundle.release_id, "rooms": arguments.rooms, "users": arguments.users, "load": os.getloadavg()}

    def show(name: str, value: Any) -> None:
        result[name] = value
        print(json.dumps({name: value}), flush=True)

    with tempfile.TemporaryDirectory(prefix="livealign-bench-") as scratch:

        @contextmanager
        def release_server(rooms: int, users: int) -> Iterator[Server]:
            enlarged = large_release(bundle.path, Path(scratch), rooms, users, int(time.time() * 1000))
            with bench_server(
                "bentos.live_recommender.service:LiveRecommender",
                {"LIVEALIGN_BUNDLE": str(enlarged), "LIVEALIGN_MODELS": str(home.models)},
            ) as server:
                server.authors = room_authors(enlarged)
                yield server

        if wanted & {"lists", "events"}:
            with release_server(arguments.rooms, arguments.users) as server:
                show("gib_at_start", server.memory())
                if "lists" in wanted:
                    show("lists", measure_lists(server, arguments.users, arguments.seconds))
                if "events" in wanted:
                    show("events", measure_events(server, arguments.users, 400))
                show("gib_after", server.memory())
        if "lists" in wanted:
            show("noop", measure_noop(arguments.seconds / 3))
            ours = result["lists"]["highest_rate"]["per_second"]
            show("share_of_noop", {name: round(ours / noop["per_second"], 2) for name, noop in result["noop"].items()})
        for news in arguments.news if "refresh" in wanted else ():
            with release_server(news, arguments.users) as server:
                show(f"refresh_{news}", measure_refresh(server, news, arguments.users, 4 * WINDOW))
        if arguments.soak and "soak" in wanted:
            with release_server(arguments.rooms, arguments.users) as server:
                show("soak", soak(server, arguments.rooms // 20, arguments.users, arguments.soak))
    out.add_all("serving", result, UNITS_OF_ALL)
    out.write()


if __name__ == "__main__":
    main()
