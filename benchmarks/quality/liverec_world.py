"""A made-up archive in LiveRec's format, of any size, with planted repeat behaviour.

    python -m benchmarks.quality.liverec_world out/ --users 2000 --streamers 400 --days 12

The same seed gives the same bytes. Every streamer is live for some hours at about the same time of each day. A viewer comes
back to the live streamer watched most lately with a planted chance; else popularity and the viewer's taste for one of eight
kinds of streamers decide.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.json_rows import JsonRows, add_json_option
from livealign.errors import LiveAlignError
from livealign.platforms.liverec.adapter import SETTINGS

STEPS_A_DAY = 144
START = "2019-04-01T00:00:00Z"
KINDS = 8
REMEMBERED = 16  # visits back that a viewer may return to


def write_world(
    folder: Path,
    users: int = 2_000,
    streamers: int = 400,
    days: int = 12,
    visits_a_day: float = 1.5,
    repeat: float = 0.6,
    seed: int = 17,
) -> Path:
    """Write 100k.csv and liverec.json; returns the CSV.

    Args:
        folder: is made; must be empty.
        users: viewers.
        streamers: channels.
        days: of ten-minute steps; the protocol's test and validation take the last 500 steps.
        visits_a_day: of a viewer, on average.
        repeat: chance that a visit goes back to a streamer seen before, where one is live.
        seed: of everything.

    Raises:
        LiveAlignError: something is in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise LiveAlignError(f"{folder} is not empty; choose another folder")
    rng = np.random.default_rng(seed)
    begins, ends = _schedule(rng, streamers, days)
    popularity = (1.0 + np.arange(streamers)) ** -0.9
    taste = np.where(np.arange(KINDS) == rng.integers(0, KINDS, users)[:, None], 6.0, 1.0)
    kind = rng.integers(0, KINDS, streamers)
    steps = np.sort(rng.integers(0, days * STEPS_A_DAY, rng.poisson(users * visits_a_day * days)))
    seen: list[list[int]] = [[] for _ in range(users)]
    free_at = np.zeros(users, np.int64)
    path = folder / "100k.csv"
    with path.open("w") as file:
        for step in steps:
            day = step // STEPS_A_DAY
            live = np.flatnonzero((begins[day] <= step) & (step < ends[day]))
            user = int(rng.integers(users))
            if not len(live) or free_at[user] > step:
                continue
            streamer = _choose(rng, live, seen[user], popularity * taste[user, kind], repeat)
            stop = min(int(step + 1 + rng.geometric(0.3)), int(ends[day, streamer]))
            seen[user] = [*seen[user], streamer][-REMEMBERED:]
            free_at[user] = stop
            file.write(f"{user + 1},{10_000_000 + day * streamers + streamer},streamer{streamer},{step},{stop}\n")
    (folder / SETTINGS).write_text(json.dumps({"start": START}))
    return path


def _schedule(rng: np.random.Generator, streamers: int, days: int) -> tuple[np.ndarray, np.ndarray]:
    """First step and the step after the last [days, streamers] of each day's broadcast."""
    usual, length = rng.integers(0, STEPS_A_DAY - 40, streamers), rng.integers(12, 40, streamers)
    begins = np.arange(days)[:, None] * STEPS_A_DAY + np.maximum(usual + rng.integers(-6, 7, (days, streamers)), 0)
    return begins, begins + length


def _choose(rng: np.random.Generator, live: np.ndarray, seen: list[int], appeal: np.ndarray, repeat: float) -> int:
    known = [streamer for streamer in seen if streamer in live]
    if known and rng.random() < repeat:
        return int(np.bincount(known).argmax())
    weights = appeal[live] / appeal[live].sum()
    return int(rng.choice(live, p=weights))


def main() -> None:
    """Write the archive that the arguments describe."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--streamers", type=int, default=400)
    parser.add_argument("--days", type=int, default=12)
    parser.add_argument("--repeat", type=float, default=0.6)
    parser.add_argument("--seed", type=int, default=17)
    add_json_option(parser)
    given = parser.parse_args()
    out = JsonRows(given.json, given.seed)
    path = write_world(given.folder, given.users, given.streamers, given.days, repeat=given.repeat, seed=given.seed)
    rows = sum(1 for _ in path.open())
    print(f"{path}: {rows:,} rows")
    out.add("rows", rows, "rows")
    out.write()


if __name__ == "__main__":
    main()
