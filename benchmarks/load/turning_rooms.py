"""Live rooms that turn to what a user likes: how fast they climb, and if they stay.

    make retrain && .venv/bin/python -m benchmarks.load.turning_rooms        # about seven minutes, little processor time
    .venv/bin/python -m benchmarks.load.turning_rooms --titles scripts

The service is a process of its own, with the champion of a simulated platform and its real LLM, in real windows of 30 seconds.
Each pair is a user and a room (`turning_plan.py`). The room's author is new to the user, and the room talks of another topic
first, in the simulator's words (`turning_words.py`). Then all rooms of pairs turn at once; the others keep their topic. Every
five seconds each user's list of all rooms is asked for, and not recorded. Once a window a user of no pair is shown every room,
as on a platform with viewers: content is averaged over shown windows.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.json_rows import BOOTSTRAP, JsonRows, add_json_option
from benchmarks.load.bench_server import bench_server
from benchmarks.load.large_release import FIRST_ROOM
from benchmarks.load.turning_plan import Stage, people_of, plan
from benchmarks.load.turning_words import ENGLISH, IN_SCRIPTS, release_now, told
from livealign.client import Client
from livealign.client_types import SentEvent
from livealign.home import Home
from livealign.live.answers import MAX_K
from livealign.release.bundle import open_bundle
from livealign.release.contents import read_vocabulary
from livealign.release.registry import champion_path
from livealign.simulation.config import WINDOW_MS
from tests.support.repeated import InThread

SERVICE = "bentos.live_recommender.service:LiveRecommender"
WINDOW, STEP = WINDOW_MS // 1000, 5  # seconds
BEFORE = 4  # windows of the first topic
TOP = 5
ASKED = (-STEP, 35, 65)  # seconds after the turn
FALL = 20  # places
RESAMPLED = 2_000
Ranks = NDArray[np.int64]


class Feeder(InThread):
    """Sends each event when its time has come, until the block ends."""

    def __init__(self, client: Client, events: Sequence[SentEvent]) -> None:
        super().__init__()
        self._client, self._events = client, events
        self.problem: str | None = None

    def work(self) -> None:
        """Send the events, in their order, soon after they are due."""
        sent = 0
        while sent < len(self._events) and not self.over.wait(0.5):
            now, due = time.time() * 1000, sent
            while due < len(self._events) and self._events[due]["at"] <= now:
                due += 1
            answer = self._client.events(self._events[sent:due]) if due > sent else None
            sent = due
            if answer and (answer["rejected"] or answer.get("late")):
                self.problem = f"{answer.get('late')} late, rejected: {answer['rejections'][:1]}"


def watch(client: Client, stage: Stage, turn: float, before: int, after: int) -> dict[int, Ranks]:
    """The ranks of all rooms in the lists of the pairs' users, by the seconds after the turn.

    Args:
        turn: its time, epoch seconds. before, after: windows that are watched.

    Returns:
        [pairs, rooms] for each time; 1 is first.
    """
    ranks = {}
    for second in range(-before * WINDOW + STEP, after * WINDOW + STEP, STEP):
        time.sleep(max(0.0, turn + second - time.time()))
        if second % WINDOW == WINDOW // 2:
            client.recommend(stage.watchers[second // WINDOW % len(stage.watchers)], k=MAX_K, surface="bench")
        if second >= ASKED[0]:
            ranks[second] = np.stack([_ranks(client, pair.user_id, len(stage.first)) for pair in stage.pairs])
    return ranks


def _ranks(client: Client, user_id: int, rooms: int) -> Ranks:
    listed = [room["room_id"] - FIRST_ROOM for room in client.recommend(user_id, k=MAX_K, record=False)["rooms"]]
    assert sorted(listed) == list(range(rooms)), f"not all {rooms} rooms are live, or others are"
    return 1 + np.argsort(listed)


def fallen(ranks: Ranks, places: int = FALL) -> NDArray[np.bool_]:
    """Whether each pair's room was once more than `places` below its best rank so far.

    Args:
        ranks: [times, pairs], by time.
    """
    below: NDArray[np.bool_] = (ranks - np.minimum.accumulate(ranks) > places).any(axis=0)
    return below


def seconds_to_top(ranks: Ranks, seconds: Sequence[int], top: int = TOP) -> NDArray[np.float64]:
    """The time at which each pair's room was first at the top [pairs]; infinite if it never was."""
    reached = ranks <= top
    first: NDArray[np.float64] = np.where(reached.any(axis=0), np.asarray(seconds, float)[reached.argmax(axis=0)], math.inf)
    return first


def report(found: dict[int, Ranks], stage: Stage, out: JsonRows) -> None:
    """Print and record the ranks before and after, the times to the top, and the falls.

    Beside them stands the rank of the rooms that have talked of the liked topic all the time.
    """
    rng, pairs, last = np.random.default_rng(out.seed), np.arange(len(stage.pairs)), max(found)
    for second in (*ASKED, last):
        ranks = found[second][pairs, pairs]
        drawn = np.median(rng.choice(ranks, (RESAMPLED, len(ranks))), axis=1)
        low, high = (float(np.percentile(drawn, q)) for q in (2.5, 97.5))
        when = "before the turn" if second < 0 else f"after {second} s"
        share, median = float((ranks <= TOP).mean()), float(np.median(ranks))
        print(f"{when:<18}median rank {median:>5.1f} [{low:.1f}, {high:.1f}]   in the top five {share:.3f}")
        out.add(f"median rank {when}", median, "rank", (low, high), BOOTSTRAP)
        out.add(f"in the top five {when}", share, "share")
    always = stage.first == np.array([pair.liked for pair in stage.pairs])[:, None]
    always[:, : len(pairs)] = False
    if always.any():
        kept = {second: float(np.median(found[second][always])) for second in (ASKED[0], last)}
        print(f"{int(always.sum())} rooms that kept the liked topic: median ranks {list(kept.values())}, before and at the end")
        for when, median in zip(("before the turn", f"after {last} s"), kept.values(), strict=True):
            out.add(f"median rank of rooms that kept the liked topic, {when}", median, "rank")
    seconds = sorted(second for second in found if second > 0)
    ranks = np.stack([found[second][pairs, pairs] for second in seconds])
    first, after_first_window = seconds_to_top(ranks, seconds), ranks[np.array(seconds) >= ASKED[1]]
    median, fell = float(np.median(first)), int(fallen(after_first_window).sum())
    when = f"{median:g} s" if math.isfinite(median) else f"more than {seconds[-1]} s"
    print(f"median time to the top five: {when}; {int(np.isfinite(first).sum())} of {len(first)} rooms reached it")
    print(f"fell back by more than {FALL} places within {seconds[-1]} s: {fell} of {len(first)} rooms")
    out.add("median time to the top five", median, "s")
    out.add(f"rooms that fell back by more than {FALL} places", fell, "rooms")


def main() -> None:
    """Serve, play, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--platform", default="simulator")
    parser.add_argument("--bundle", type=Path, help="the release to serve; default: the champion")
    parser.add_argument("--pairs", type=int, default=24, help="of a user and a room (default: %(default)s)")
    parser.add_argument("--rooms", type=int, default=72, help=f"in all, at most {MAX_K} (default: %(default)s)")
    parser.add_argument("--windows", type=int, default=8, help="observed after the turn (default: %(default)s)")
    parser.add_argument("--titles", choices=(ENGLISH, IN_SCRIPTS), default=ENGLISH, help="in scripts: six, one a room")
    parser.add_argument("--seed", type=int, default=17)
    add_json_option(parser)
    asked = parser.parse_args()
    if asked.windows < 3 or not 1 <= asked.pairs <= asked.rooms <= MAX_K:
        parser.error(f"give at least three windows and a pair, and at most {MAX_K} rooms, no fewer than pairs")
    out, home = JsonRows(asked.json, asked.seed), Home.from_environment(asked.platform)
    bundle = open_bundle((asked.bundle or champion_path(home.releases)).resolve())
    people, authors = people_of(home, bundle), read_vocabulary(bundle).authors.ids
    stage = plan(people, authors[authors > 0].tolist(), asked.pairs, asked.rooms, np.random.default_rng(asked.seed))
    with tempfile.TemporaryDirectory(prefix="livealign-bench-") as scratch:
        served = release_now(bundle, Path(scratch), int(time.time() * 1000))
        with bench_server(SERVICE, {"LIVEALIGN_BUNDLE": str(served), "LIVEALIGN_MODELS": str(home.models)}) as server:
            client = Client(f"http://127.0.0.1:{server.port}", server.key)
            first = int(time.time() // WINDOW) + 2
            scripts = asked.titles == IN_SCRIPTS
            events = told(home, stage, first, BEFORE, asked.windows, scripts, asked.seed)
            with Feeder(client, events) as feeder:
                found = watch(client, stage, (first + BEFORE) * WINDOW, BEFORE, asked.windows)
            status = client.status()
    print(f"{bundle.release_id}: {asked.pairs} pairs, {asked.rooms} rooms, titles: {asked.titles}, seed {asked.seed}")
    report(found, stage, out)
    problems = [*status["problems"], *([feeder.problem] if feeder.problem else [])]
    print(f"problems: {problems or 'none'}")
    out.write()


if __name__ == "__main__":
    main()
