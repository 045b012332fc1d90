"""Readers and rankers on one Redis log: lists a second, staleness, a killed reader.

    python -m benchmarks.load.roles                                  # about five minutes for each set of processes; needs root
    python -m benchmarks.load.roles --sets 1+1 1+2 --share 0.3       # readers + rankers; 1+0 is one process that is both

Every process is in a network namespace of its own, as on a machine of its own, and so is Redis: they talk across virtual links.
Every process is held to the same share of a core, so that a set of more processes has more of the machine and not only more to
share. Each ranker has a load generator of its own, which is not held. Lists are logged, so every process also follows the
impressions of all others. Of several readers one is killed at the end, while lists are asked for and rooms speak.

The goals: lists a second at least 0.85 × the rankers × those of one reader and one ranker; each window of a room read once; the
99th percentile of staleness as with one process; the rooms of a killed reader fresh again within 60 seconds; no acknowledged
event lost.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.json_rows import JsonRows, add_json_option
from benchmarks.load.bench_server import Result, Server, bench_server
from benchmarks.load.cpu_share import core_share
from benchmarks.load.generator import UNITS
from benchmarks.load.large_release import FIRST_ROOM, large_release, room_authors
from benchmarks.load.traffic import SEED, WINDOW, Speakers, recommend_bodies
from livealign.config import LiveConfig
from livealign.events.models import milliseconds_of
from livealign.events.redis_log import RedisLog
from livealign.home import Home
from livealign.release.bundle import open_bundle
from livealign.release.registry import champion_path
from tests.support.network import Network, network
from tests.support.redis_server import DURABLE, RedisServer
from tests.support.served_metrics import served

SERVICE = "bentos.live_recommender.service:LiveRecommender"
USERS = 1_000
STEADY_RATE = 2.0  # lists a second at each ranker, while staleness is sampled
FRESH_SECONDS = 60.0  # after the death of a reader, at most
FIRST = "10.78.0.1"  # the address of Redis and the load generators
LATENESS = LiveConfig().lateness_seconds
UNITS_OF_ALL = UNITS | {
    "lists_per_second": "lists/s",
    "of_one_ranker": "share",
    "staleness_seconds": "s",
    "windows_spoken": "windows",
    "windows_read": "windows",
    "fresh_after_seconds": "s",
    "events_acknowledged": "events",
    "events_lost": "events",
    "gib": "GiB",
    "samples": "samples",
    "problem": "text",
}


class Processes:
    """The readers and rankers of one set; one process that is both answers and reads."""

    def __init__(self, readers: list[Server], rankers: list[Server]) -> None:
        self.readers, self.rankers = readers, rankers

    def load(self, seconds: float, **options: float) -> list[Result]:
        """The load generator at each ranker at once."""
        with ThreadPoolExecutor(len(self.rankers)) as threads:
            return list(
                threads.map(
                    lambda ranker: ranker.load("/recommend", recommend_bodies(USERS), seconds=seconds, **options), self.rankers
                )
            )

    def windows_read(self) -> float:
        """Windows that went through a language model so far, over all readers."""
        encoded = 'livealign_refreshed_rooms_total{outcome="encoded"}'
        return sum(served(reader.port, encoded, reader.key, reader.host) for reader in self.readers)

    def oldest_end(self, rooms: int) -> float:
        """The end of the oldest window that a speaking room's content is of, at any ranker.

        In seconds since 1970; 0 where a room has none.
        """
        oldest = time.time()
        for ranker in self.rankers:
            page = ranker.get("/rooms?limit=200&search=broadcast")["rooms"]
            for room in page:
                if room["room_id"] < FIRST_ROOM + rooms:
                    ended = room["windows"] and milliseconds_of(room["windows"][0]["ended_at"]) / 1000
                    oldest = min(oldest, ended or 0.0)
        return oldest


@contextmanager
def processes(of: Network, roles: Sequence[str], variables: dict[str, str], share: float) -> Iterator[Processes]:
    """The processes of a set, each in a namespace, held to their share of a core once ready."""
    with ExitStack() as stack:

        def start(role: str, address: str) -> Server:
            within = of.command(address)
            return stack.enter_context(bench_server(SERVICE, {**variables, "LIVEALIGN_ROLE": role}, address, within))

        started = [(role, start(role, address)) for role, address in zip(roles, of.addresses[1:], strict=True)]
        for number, (role, server) in enumerate(started):
            stack.enter_context(core_share(f"{role}-{number}", server.process.pid, share))
        yield Processes(
            [server for role, server in started if role != "ranker"], [server for role, server in started if role != "reader"]
        )


def measure(readers: int, rankers: int, bundle: Path, models: Path, share: float, news: int, seconds: float) -> Result:
    """One set of processes on a Redis of its own: its highest rate, then its staleness."""
    roles = ["both"] if not rankers else ["reader"] * readers + ["ranker"] * rankers
    addresses = [f"10.78.0.{2 + number}" for number in range(len(roles))]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="livealign-bench-"))
        of = stack.enter_context(network(FIRST, *addresses))
        stack.enter_context(of.inside(FIRST))
        redis = RedisServer(Path(folder), FIRST).start(*DURABLE)
        stack.callback(redis.kill)
        variables = {"LIVEALIGN_BUNDLE": str(bundle), "LIVEALIGN_MODELS": str(models), "LIVEALIGN_REDIS_URL": redis.url}
        all_of_them = stack.enter_context(processes(of, roles, variables, share))
        for ranker in all_of_them.rankers:
            ranker.authors = room_authors(bundle)
        result = _measured(all_of_them, redis.url, news, seconds)
        return result | (_killed(all_of_them, redis.url, news) if readers > 1 else {})


def _measured(all_of_them: Processes, url: str, news: int, seconds: float) -> Result:
    ages: list[float] = []
    with Speakers(all_of_them.rankers[0], news) as speakers:
        time.sleep(2 * WINDOW + 15)  # until every room has been read
        highest = all_of_them.load(seconds, connections=4)
        with ThreadPoolExecutor(1) as background:
            steady = background.submit(all_of_them.load, 2 * WINDOW, rate=STEADY_RATE)
            while not steady.done():
                page = all_of_them.rankers[-1].get("/rooms?limit=200&search=broadcast")
                ages += [room["content_age_seconds"] for room in page["rooms"] if room["windows"]]
                time.sleep(3.0)
    tick = (time.time() // WINDOW + 1) * WINDOW + LATENESS
    time.sleep(tick - time.time() + 15)  # what was said last is read
    spoken = _spoken(url)
    read = all_of_them.windows_read()
    rates = [result["per_second"] for result in highest]
    return {
        "lists_per_second": {"sum": round(sum(rates), 1), "each": rates},
        "highest_rate": highest,
        "steady": steady.result(),
        "staleness_seconds": {f"p{q}": round(float(np.percentile(ages, q)), 1) for q in (50, 99)} | {"samples": len(ages)},
        "windows_spoken": spoken,
        "windows_read": read,
        "gib": {
            "readers": [server.memory() for server in all_of_them.readers],
            "rankers": [server.memory() for server in all_of_them.rankers],
        },
        "problem": speakers.problem,
    }


def _killed(all_of_them: Processes, url: str, news: int) -> Result:
    """Kill a reader while rooms speak and lists are asked for; returns what followed."""
    with Speakers(all_of_them.rankers[0], news) as speakers, ThreadPoolExecutor(1) as background:
        asked = background.submit(all_of_them.load, 2 * FRESH_SECONDS, rate=STEADY_RATE)
        time.sleep(WINDOW - time.time() % WINDOW + WINDOW / 2)  # in the middle of a window in which every room speaks
        process = psutil.Process(all_of_them.readers[0].process.pid)
        for one in (process, *process.children(recursive=True)):
            one.kill()
        killed, fresh_after = time.time(), None
        while fresh_after is None and time.time() < killed + FRESH_SECONDS + WINDOW:
            time.sleep(1.0)
            if all_of_them.oldest_end(news) > killed:
                fresh_after = round(time.time() - killed, 1)
    kept = {json.loads(record)["event_id"] for _, record in RedisLog.open(url).read()}
    return {
        "fresh_after_seconds": fresh_after,
        "lists_beside_a_dead_reader": asked.result(),
        "events_acknowledged": len(speakers.acknowledged),
        "events_lost": sum(event_id not in kept for event_id in speakers.acknowledged),
    }


def _spoken(url: str) -> int:
    """Windows of rooms in which anything was said, by the log."""
    records = (json.loads(record) for _, record in RedisLog.open(url).read())
    said: Counter[tuple[int, int]] = Counter(
        (record["room_id"], record["at"] // int(1000 * WINDOW)) for record in records if record["kind"] in ("comment", "speech")
    )
    return len(said)


def main() -> None:
    """Measure each set of processes and print one line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--platform", default="simulator")
    parser.add_argument("--bundle", type=Path, help="the release to serve; default: the champion")
    parser.add_argument(
        "--sets", nargs="*", default=["1+0", "1+1", "1+2", "2+4"], help="readers+rankers (default: %(default)s)"
    )
    parser.add_argument("--share", type=float, default=0.2, help="of a core, for each process (default: %(default)s)")
    parser.add_argument("--rooms", type=int, default=1_000)
    parser.add_argument("--news", type=int, default=100, help="rooms that speak in every window (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the highest rate (default: %(default)s)")
    add_json_option(parser)
    arguments = parser.parse_args()
    out, found = JsonRows(arguments.json, SEED), dict[str, Any]()
    home = Home.from_environment(arguments.platform)
    source = (arguments.bundle or champion_path(home.releases)).resolve()
    for name in arguments.sets:
        readers, rankers = (int(number) for number in name.split("+"))
        with tempfile.TemporaryDirectory(prefix="livealign-bench-") as scratch:
            now = int(time.time() * 1000)
            bundle = large_release(open_bundle(source).path, Path(scratch), arguments.rooms, USERS, now)
            result = measure(readers, rankers, bundle, home.models, arguments.share, arguments.news, arguments.seconds)
        one = found.get("1+1", {}).get("lists_per_second", {}).get("sum")
        if one and rankers:
            result["of_one_ranker"] = round(result["lists_per_second"]["sum"] / one / rankers, 3)
        found[name] = result
        print(json.dumps({name: result}), flush=True)
    out.add_all("roles", found, UNITS_OF_ALL)
    out.write()


if __name__ == "__main__":
    main()
