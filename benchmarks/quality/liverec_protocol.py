"""LiveRec's own protocol on a landed workspace, for numbers beside those of its paper.

    livealign land --platform liverec --archive FOLDER      # with 100k.csv, and a start date
    python -m benchmarks.quality.liverec_protocol [--part valid|test] [--towers]

Protocol (Rappaz, McAuley, Aberer, RecSys 2021, and the code published with it): steps of ten minutes; the last 250 steps are
the test, the 250 before them the validation, everything before is for training. Of each user's rows that end before a part's
end, the latest is the target if it begins within the part; the 16 before it are the history. Candidates are all streamers with
a viewer at the target's step. A target is a repeat where its streamer is among the latest 15 of the history (their code's
rule), else new. With one target a user, Recall@k is HR@k.

Where scores are equal, a metric is its expectation over all orders of the equals; published code breaks ties by sort order.
`--towers` adds LiveAlign's towers of ids, trained on the marts of the days before the validation (`make retrain
PLATFORM=liverec ARCHIVE=FOLDER` builds them), with the history up to the target.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.json_rows import JsonRows, add_json_option
from livealign.errors import LandingError
from livealign.home import Home

STEP_MS = 600_000
PART_STEPS = 250
HISTORY = 16
KS = (1, 5, 10)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Views(NamedTuple):
    """n rows as landed; streamers and users as codes, steps from the first row's on."""

    user: Ints  # [n]
    author: Ints  # [n]
    start: Ints  # [n]
    stop: Ints  # [n], not included
    user_ids: Ints  # [users]
    author_ids: Ints  # [authors]
    origin: int  # Unix milliseconds of step 0


@dataclass(frozen=True)
class Targets:
    """t targets, one a user, with what came before."""

    user: Ints  # [t]
    author: Ints  # [t]
    step: Ints  # [t]
    history: Ints  # [t, HISTORY] authors, oldest first, −1 in front of a short one
    repeat: NDArray[np.bool_]  # [t]


Scorer = Callable[[Ints, Ints], Floats]  # (targets [t], live authors [m]) → scores [t, m]


def read_views(landing: Path) -> Views:
    """All plays of a landing folder.

    Raises:
        LandingError: there are none.
    """
    paths = sorted(landing.glob("plays/dt=*/part-0.parquet"))
    tables = [pq.ParquetFile(path).read(["user_id", "author_id", "entered_at", "left_at"]) for path in paths]
    rows = pa.concat_tables(tables) if tables else pa.table({})
    if not len(rows):
        raise LandingError(f"{landing} has no plays; run livealign land --platform liverec first")
    columns = [rows[name].cast(pa.int64()).to_numpy() for name in rows.column_names]
    user_ids, user = np.unique(columns[0], return_inverse=True)
    author_ids, author = np.unique(columns[1], return_inverse=True)
    origin = int(columns[2].min())
    start, stop = ((column - origin) // STEP_MS for column in columns[2:])
    return Views(user, author, start, stop, user_ids, author_ids, origin)


def pivots(views: Views) -> tuple[int, int, int]:
    """The first step of validation, the first of test, and the last step."""
    last = int(max(views.start.max(), views.stop.max()))
    return last - 2 * PART_STEPS, last - PART_STEPS, last


def find_targets(views: Views, begin: int, end: int) -> Targets:
    """Each user's latest row before `end` with its history, if it begins at `begin` or later."""
    rows = np.flatnonzero(views.stop < end)
    rows = rows[np.lexsort((views.stop[rows], views.start[rows], views.user[rows]))]
    user = views.user[rows]
    last = np.flatnonzero(np.r_[user[1:] != user[:-1], True]) if len(rows) else rows
    first = np.searchsorted(user, user[last])
    kept = (last > first) & (views.start[rows[last]] >= begin) & (views.start[rows[last]] < end)
    last, first = last[kept], first[kept]
    back = last[:, None] - np.arange(HISTORY, 0, -1)
    history = np.where(back >= first[:, None], views.author[rows[np.maximum(back, 0)]], -1)
    target = rows[last]
    repeat = (history[:, 1:] == views.author[target][:, None]).any(1)
    return Targets(views.user[target], views.author[target], views.start[target], history, repeat)


def evaluate(views: Views, targets: Targets, scorer: Scorer) -> tuple[dict[str, dict[str, float]], int]:
    """HR and NDCG for all, repeat and new targets; and the number of targets that were not live."""
    values = np.full((len(targets.step), 2 * len(KS)), np.nan)
    for step in np.unique(targets.step):
        here = np.flatnonzero(targets.step == step)
        live = np.unique(views.author[(views.start <= step) & (views.stop > step)])
        place = np.searchsorted(live, targets.author[here])
        there = (
            (place < len(live)) & (live[np.minimum(place, len(live) - 1)] == targets.author[here]) if len(live) else place < 0
        )
        here, place = here[there], place[there]
        if len(here):
            values[here] = expected_metrics(scorer(here, live), place)
    judged = ~np.isnan(values[:, 0])
    groups = {"all": judged, "repeat": judged & targets.repeat, "new": judged & ~targets.repeat}
    names = [f"HR@{k}" for k in KS] + [f"NDCG@{k}" for k in KS]
    means = {
        group: {**dict(zip(names, values[mask].mean(0).tolist(), strict=True)), "targets": float(mask.sum())}
        for group, mask in groups.items()
        if mask.any()
    }
    return means, int((~judged).sum())


def expected_metrics(scores: Floats, place: Ints) -> Floats:
    """[t, 6] HR and NDCG at 1, 5, 10 of columns `place` [t] of scores [t, m], equals averaged."""
    own = scores[np.arange(len(place)), place][:, None]
    above = (scores > own).sum(1)[:, None]
    equal = (scores == own).sum(1)[:, None]
    k = np.array(KS)
    gains = np.r_[0.0, np.cumsum(1 / np.log2(np.arange(max(KS)) + 2))]
    high = np.clip(above + equal, 0, k)
    low = np.minimum(above, k)
    return np.concatenate([(high - low) / equal, (gains[high] - gains[low]) / equal], axis=1)


def baselines(views: Views, targets: Targets) -> dict[str, Scorer]:
    """Scorers without training; popularity counts the rows that end before the validation."""
    seen = views.author[views.stop < pivots(views)[0]]
    popularity = np.bincount(seen, minlength=len(views.author_ids)).astype(float)
    share = popularity / (popularity.max() + 1)  # below 1: breaks ties, decides nothing else

    def repeats(rows: Ints, live: Ints) -> Floats:
        return (targets.history[rows][:, :, None] == live).sum(1).astype(float)

    def recent(rows: Ints, live: Ints) -> Floats:
        hits = targets.history[rows][:, :, None] == live
        return (hits * np.arange(1, HISTORY + 1)[None, :, None]).max(1).astype(float)

    return {
        "chance": lambda rows, live: np.zeros((len(rows), len(live))),
        "popularity": lambda rows, live: np.tile(popularity[live], (len(rows), 1)),
        "repeat (times seen)": repeats,
        "repeat, then popularity": lambda rows, live: repeats(rows, live) + share[live],
        "most recent, then popularity": lambda rows, live: recent(rows, live) + share[live],
    }


def table(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """A Markdown table: one row a scorer and group."""
    names = [f"HR@{k}" for k in KS] + [f"NDCG@{k}" for k in KS]
    lines = [f"| scorer | targets | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for scorer, groups in results.items():
        for group, values in groups.items():
            cells = " | ".join(f"{values[name]:.4f}" for name in names)
            lines.append(f"| {scorer} | {group} ({values['targets']:,.0f}) | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table of the landed workspace of platform `liverec`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", choices=("valid", "test"), default="test")
    parser.add_argument("--towers", action="store_true", help="also LiveAlign's towers, from the workspace's marts")
    parser.add_argument("--landing", type=Path, help="default: of platform liverec in LIVEALIGN_HOME")
    add_json_option(parser)
    given = parser.parse_args()
    out = JsonRows(given.json)
    home = Home.from_environment("liverec")
    views = read_views(given.landing or home.landing)
    valid, test, end = pivots(views)
    targets = find_targets(views, *((valid, test) if given.part == "valid" else (test, end)))
    scorers = baselines(views, targets)
    if given.towers:
        from benchmarks.quality.liverec_towers import tower_scorer

        scorers["LiveAlign's id towers"] = tower_scorer(home.marts, views, targets)
    results = {}
    for name, scorer in scorers.items():
        results[name], absent = evaluate(views, targets, scorer)
    print(f"{len(views.user):,} rows, {len(views.user_ids):,} users, {len(views.author_ids):,} streamers, {end + 1:,} steps")
    print(f"{len(targets.step):,} targets, {targets.repeat.mean():.1%} repeats; {absent} not live themselves left out\n")
    print(table(results))
    out.add_all(given.part, results, {"targets": "targets"})
    out.write()


if __name__ == "__main__":
    main()
