"""Readers and rankers on one Redis log: lists a second, staleness, windows read.

    python -m benchmarks.load.roles                                  # about three minutes for each set of processes; needs root
    python -m benchmarks.load.roles --sets 1+1 1+2 --share 0.3       # readers + rankers; 1+0 is one process that is both

Every process is held to the same share of a core, so that a set of more processes has more of the machine and not only more to
share. Each ranker has a load generator of its own, which is not held. Lists are logged, so every process also follows the
impressions of all others. The goals: lists a second at least 0.85 × the rankers × those of one reader and one ranker; each
window of a room read once; the 99th percentile of staleness as with one process.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.json_rows import JsonRows, add_json_option
from benchmarks.load.bench_server import Result, Server, bench_server
from benchmarks.load.cpu_share import core_share
from benchmarks.load.generator import UNITS
from benchmarks.load.large_release import large_release, room_authors
from benchmarks.load.traffic import SEED, WINDOW, Speakers, recommend_bodies
from livealign.config import LiveConfig
from livealign.events.redis_log import RedisLog
from livealign.home import Home
from livealign.release.bundle import open_bundle
from livealign.release.registry import champion_path
from tests.support.redis_server import DURABLE, RedisServer
from tests.support.served_metrics import served

SERVICE = "bentos.live_recommender.service:LiveRecommender"
USERS = 1_000
STEADY_RATE = 2.0  # lists a second at each ranker, while staleness is sampled
LATENESS = LiveConfig().lateness_seconds
UNITS_OF_ALL = UNITS | {
    "lists_per_second": "lists/s",
    "of_one_ranker": "share",
    "staleness_seconds": "s",
    "windows_spoken": "windows",
    "windows_read": "windows",
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
        return sum(served(reader.port, encoded, reader.key) for reader in self.readers)


@contextmanager
def processes(readers: int, rankers: int, variables: dict[str, str], share: float) -> Iterator[Processes]:
    """The processes of a set, each held to its share of a core once it is ready."""
    roles = ["both"] if not rankers else ["reader"] * readers + ["ranker"] * rankers
    with ExitStack() as stack:
        started = [(role, stack.enter_context(bench_server(SERVICE, {**variables, "LIVEALIGN_ROLE": role}))) for role in roles]
        for number, (role, server) in enumerate(started):
            stack.enter_context(core_share(f"{role}-{number}", server.process.pid, share))
        yield Processes(
            [server for role, server in started if role != "ranker"], [server for role, server in started if role != "reader"]
        )


def measure(readers: int, rankers: int, bundle: Path, models: Path, share: float, news: int, seconds: float) -> Result:
    """One set of processes on a Redis of its own: its highest rate, then its staleness."""
    with tempfile.TemporaryDirectory(prefix="livealign-bench-") as folder:
        redis = RedisServer(Path(folder)).start(*DURABLE)
        variables = {"LIVEALIGN_BUNDLE": str(bundle), "LIVEALIGN_MODELS": str(models), "LIVEALIGN_REDIS_URL": redis.url}
        try:
            with processes(readers, rankers, variables, share) as all_of_them:
                for ranker in all_of_them.rankers:
                    ranker.authors = room_authors(bundle)
                return _measured(all_of_them, redis.url, news, seconds)
        finally:
            redis.kill()


def _measured(all_of_them: Processes, url: str, news: int, seconds: float) -> Result:
    ages: list[float] = []
    with Speakers(all_of_them.rankers[0], news) as speakers:
        time.sleep(2 * WINDOW + 15)  # until every room has been read once
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
