"""Keyed requests beside attacks on a running service: the share that fails.

    python -m benchmarks.load.attacks                          # about six minutes
    python -m benchmarks.load.attacks --only flood gzip_bomb --seconds 5

The service is a process of its own, with a planted release of 200 rooms. A writer sends batches of 100 events and a reader
asks for lists, both with a key, at fixed rates and from the address of the attack. A keyed request fails if it gets no answer,
or another than it wants. The goal: less than 1 % fail during any attack (`load/attackers.py` has them all).
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.json_rows import JsonRows, add_json_option
from benchmarks.load.attackers import THREADS, Attack, attacks
from benchmarks.load.bench_server import Result, Server, bench_server
from benchmarks.load.large_release import large_release, room_authors
from benchmarks.load.live_core import planted_bundle
from benchmarks.load.traffic import SEED, event_bodies, recommend_bodies

SERVICE = "bentos.live_recommender.service:LiveRecommender"
USERS, ROOMS = 1_000, 200
LISTS, BATCHES, BATCH = 10.0, 5.0, 100  # a second, of the keyed reader and writer; events of a batch
NOTHING = "nothing"  # the name of the row without an attack


@contextmanager
def attacked_server() -> Iterator[Server]:
    """A service with live rooms and known users."""
    with tempfile.TemporaryDirectory(prefix="livealign-bench-") as folder:
        planted = planted_bundle(Path(folder) / "planted")
        bundle = large_release(planted, Path(folder), ROOMS, USERS, int(time.time() * 1000))
        with bench_server(SERVICE, {"LIVEALIGN_BUNDLE": str(bundle)}) as server:
            server.authors = room_authors(bundle)
            yield server


@contextmanager
def under(attack: Attack | None, port: int) -> Iterator[None]:
    """The attack, in THREADS threads, for the time of the block."""
    stop = threading.Event()
    with ThreadPoolExecutor(THREADS) as threads, ExitStack() as ends:
        ends.callback(stop.set)
        running = [threads.submit(attack, port, stop) for _ in range(THREADS)] if attack is not None else []
        yield
        stop.set()
        for one in running:
            one.result()  # an attack that failed attacked nobody


def measure(server: Server, attack: Attack | None, seconds: float) -> Result:
    """The keyed requests during an attack: how many, the share that failed, and their latencies."""
    events = event_bodies(int(BATCHES * seconds), BATCH, server.authors, USERS)
    with under(attack, server.port), ThreadPoolExecutor(2) as threads:
        lists = threads.submit(server.load, "/recommend", recommend_bodies(USERS), rate=LISTS, seconds=seconds)
        written = threads.submit(server.load, "/events", events, rate=BATCHES, seconds=seconds)
        found = {"lists": lists.result(), "events": written.result()}
    asked = sum(load["requests"] for load in found.values())
    failed = asked - sum(load["answered"] for load in found.values())
    first = next((load["first_error"] for load in found.values() if load["first_error"]), "")
    p99 = {name: load["milliseconds"].get("p99") for name, load in found.items()}
    return {"requests": asked, "failed": failed, "share": failed / asked, "p99": p99, "first_error": first}


def main() -> None:
    """Print and record a row for each attack."""
    every = attacks()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each attack (default: %(default)s)")
    parser.add_argument("--only", nargs="*", choices=sorted(every), help="default: all")
    add_json_option(parser)
    arguments = parser.parse_args()
    out, chosen = JsonRows(arguments.json, SEED), arguments.only or list(every)
    print(f"{'attack':<22}{'requests':>10}{'failed':>8}{'share':>8}{'lists p99':>12}{'events p99':>12}")
    with attacked_server() as server:
        for name in (NOTHING, *chosen):
            found: dict[str, Any] = measure(server, every.get(name), arguments.seconds)
            p99 = [f"{value:>9.1f} ms" if value is not None else f"{'–':>12}" for value in found["p99"].values()]
            counts = f"{found['requests']:>10}{found['failed']:>8}{found['share']:>8.1%}"
            print(f"{name:<22}{counts}{''.join(p99)}  {found['first_error']}", flush=True)
            out.add(f"{name}: keyed requests that failed", found["share"], "share")
            for kind, value in found["p99"].items():
                out.add(f"{name}: {kind}, p99", value, "ms")
    out.write()


if __name__ == "__main__":
    main()
