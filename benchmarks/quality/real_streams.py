"""The information in text on real streams, within one channel: Twitch VOD chat archives.

    python -m benchmarks.quality.real_streams --archive ../shared/data/twitch_archive --folder /tmp/streams [--steps 240]

Within a channel the author ID says nothing. Broadcasts are split by time, three quarters to learn from. There are two tasks,
each for the frozen LLM, for the LLM tuned on pairs of whole broadcasts (`livealign.tuning.broadcast_pairs`), and for the
controls:

1. Who comes. For every viewer of a channel and each of its later broadcasts: whether the viewer chats there. The score is the
   similarity of its title to the mean of those that the viewer came to, less those that the viewer stayed away from. GAUC
   within viewer and channel, beside the same with titles permuted within the channel.
2. Which broadcast it is. Of all later broadcasts of the channel, find the second half by the first, and the words by the title.
   A broadcast is the mean of the words in 24 windows. Differences are bootstrapped over broadcasts.

All vectors are centred on their channel's earlier broadcasts and compared by their cosine. Landed days, the tuned adapter and
the embeddings stay in the folder and are used again.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.json_rows import BOOTSTRAP, ROOT, JsonRows, add_json_option
from benchmarks.quality.controls import has_minilm, hour_weekday_content, minilm_content, tfidf_content
from livealign.home import Home
from livealign.llm.backbone import load_backbone, use_physical_cores
from livealign.llm.encoder import Encoder
from livealign.llm.segment_text import sorted_window_texts
from livealign.metrics import gauc, user_auc
from livealign.platforms.registry import archive_days, land
from livealign.profiles import Profile, load_profile
from livealign.tuning.adapter import tune_adapter
from livealign.tuning.broadcast_pairs import choose_broadcast_pairs, talking_by_room, title_text, words_text

PROJECT = ROOT / "dbt_project"
WINDOWS = 24  # of a broadcast that are read
TRAIN_SHARE = 0.75
FEWEST_VISITS = 3  # of a viewer to a channel, in the earlier broadcasts
PERMUTATIONS = 200
TUNING = {
    "batch_size": 12,
    "broadcast_windows": 8,
    "learning_rate": 1e-3,
    "temperature": 0.2,
    "validate_every": 20,
    "patience": 1_000,
}

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Broadcasts:
    """B broadcasts in the order of time, and the viewers who chatted in them."""

    room_id: Ints
    channel: Ints
    started_at: Ints  # epoch milliseconds
    is_train: NDArray[np.bool_]
    titles: list[str]
    said: list[str]  # [B * WINDOWS], a broadcast's windows together, in the order of time
    viewers: Ints  # [v, 2] viewer, row of the broadcast

    def centred(self, vectors: NDArray) -> Floats:
        """Unit vectors [B, d] after subtracting the mean of the channel's earlier broadcasts."""
        vectors = vectors.astype(np.float32)
        for channel in np.unique(self.channel):
            mine = self.channel == channel
            vectors[mine] -= vectors[mine & self.is_train].mean(0)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


class Content(NamedTuple):
    """The vectors of one reader: of titles, and of the words in the windows."""

    titles: Floats  # [B, d]
    said: Floats | None = None  # [B, WINDOWS, d]


def main() -> None:
    """Print and record both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, required=True, help="folder of channels")
    parser.add_argument("--folder", type=Path, required=True, help="work there and keep what was made")
    parser.add_argument("--models", type=Path, default=Home.from_environment("simulator").models)
    parser.add_argument("--steps", type=int, default=240, help="of tuning (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=17)
    add_json_option(parser)
    arguments = parser.parse_args()
    out = JsonRows(arguments.json, arguments.seed)
    use_physical_cores()
    profile = load_profile("laptop")
    tuning = replace(profile.finetune, steps=arguments.steps, seed=arguments.seed, **TUNING)
    profile = replace(profile, finetune=tuning)
    segments = warehouse(arguments.archive.resolve(), arguments.folder)
    broadcasts, train_segments = read_broadcasts(arguments.folder / "landing", segments, profile)
    adapter = arguments.folder / f"adapter_{arguments.steps}_{arguments.seed}"
    backbone = load_backbone(profile.backbone, arguments.models)
    if not adapter.exists():
        pairs = choose_broadcast_pairs(train_segments, profile.segments, tuning)
        report = tune_adapter(backbone, pairs, profile.segments, profile.encoder, tuning, adapter, progress=show_steps)
        print(
            f"validation loss {report.validation_losses[0]:.3f} → {min(report.validation_losses):.3f}, {report.seconds:.0f} s"
        )
        out.add("tuning: validation loss before", report.validation_losses[0], "nats")
        out.add("tuning: lowest validation loss", min(report.validation_losses), "nats")
        out.add("tuning", report.seconds, "s")
    encoder = Encoder.load(backbone, adapter, profile.encoder, profile.segments)
    contents = vectors_of_all(broadcasts, encoder, arguments.folder / f"vectors_{encoder.version(tuned=True)}.npz")
    who_comes(broadcasts, contents, arguments.seed, out)
    which_broadcast(broadcasts, contents, arguments.seed, out)
    out.write()


def show_steps(done: int, total: int) -> None:
    """Print the progress of the tuning, every 20 steps."""
    if done % 20 == 0:
        print(f"tuned {done} of {total} steps", flush=True)


def warehouse(archive: Path, folder: Path) -> pa.Table:
    """The mart `segments` of all days; landed and built once."""
    landing, mart = folder / "landing", folder / "tables" / "segments"
    if not mart.exists():
        days = archive_days("twitch", archive)
        land("twitch", archive, landing, days)
        project = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
        outputs = ["--target-path", str(folder / "target"), "--log-path", str(folder)]
        environment = {"LIVEALIGN_LANDING": str(landing), "LIVEALIGN_WAREHOUSE_FILE": str(folder / "warehouse.duckdb")}
        environment |= {"LIVEALIGN_START_DAY": str(days[0]), "LIVEALIGN_END_DAY": str(days[-1])}
        dbt = str(Path(sys.executable).parent / "dbt")
        command = [dbt, "run", "--quiet", "--select", "+segments", *project, *outputs]
        subprocess.run(command, env=os.environ | environment, check=True)
    files = sorted(mart.glob("dt=*/*.parquet"))
    return pa.concat_tables([pq.read_table(file, partitioning=None) for file in files])


def read_broadcasts(landing: Path, segments: pa.Table, profile: Profile) -> tuple[Broadcasts, pa.Table]:
    """The broadcasts with enough words, and the segments of those to learn from."""
    rooms, window_texts, _ = sorted_window_texts(segments)
    by_room = {int(rooms[rows[0]]): rows for rows in talking_by_room(rooms, window_texts) if len(rows) >= WINDOWS}
    known = (
        duckdb.read_parquet(f"{landing}/rooms/dt=*/*.parquet")
        .aggregate("room_id, any_value(author_id), epoch_ms(min(started_at)) as started_at", "room_id")
        .order("started_at, room_id")
        .fetchall()
    )
    known = [row for row in known if row[0] in by_room]
    room_id, channel, started_at = (np.array(column, dtype=np.int64) for column in zip(*known, strict=True))
    is_train = np.arange(len(known)) < TRAIN_SHARE * len(known)
    place = {room: row for row, room in enumerate(room_id.tolist())}
    plays = (
        duckdb.read_parquet(f"{landing}/plays/dt=*/*.parquet").project("user_id, room_id").distinct().order("all").fetchall()
    )
    viewers = np.array([(user, place[room]) for user, room in plays if room in place], dtype=np.int64)
    chosen = [by_room[room][np.linspace(0, len(by_room[room]) - 1, WINDOWS).astype(int)] for room in room_id.tolist()]
    titles = [title_text(window_texts[rows[0]], profile.segments) for rows in chosen]
    said = [words_text(window_texts[row], profile.segments) for rows in chosen for row in rows.tolist()]
    to_learn_from = segments.filter(pa.array(np.isin(segments["room_id"].to_numpy(), room_id[is_train])))
    return Broadcasts(room_id, channel, started_at, is_train, titles, said, viewers), to_learn_from


def vectors_of_all(broadcasts: Broadcasts, encoder: Encoder, cache: Path) -> dict[str, Content]:
    """The vectors of the frozen and tuned LLM, TF-IDF, MiniLM if installed, and the clock."""
    texts, count = [*broadcasts.titles, *broadcasts.said], len(broadcasts.titles)
    if not cache.exists():
        frozen, tuned = (vectors.astype(np.float32) for vectors in encoder.encode_raw_and_tuned(texts))
        vectors_of = {"frozen LLM": frozen, "tuned LLM": tuned}
        vectors_of["TF-IDF"] = tfidf_content(texts, np.r_[broadcasts.is_train, np.repeat(broadcasts.is_train, WINDOWS)])
        if has_minilm():
            vectors_of["MiniLM"] = minilm_content(texts)
        np.savez(cache, **vectors_of)
    with np.load(cache, allow_pickle=False) as vectors:
        contents = {name: Content(vectors[name][:count], vectors[name][count:].reshape(count, WINDOWS, -1)) for name in vectors}
    return contents | {"hour and weekday": Content(hour_weekday_content(broadcasts.started_at))}


class Visits(NamedTuple):
    """The visits of one viewer to one channel, as rows of broadcasts."""

    came: Ints  # earlier ones
    stayed_away: Ints  # earlier ones since the first visit
    later: Ints
    label: NDArray[np.bool_]  # of the later ones: whether the viewer came


def visits(broadcasts: Broadcasts) -> list[Visits]:
    """The visits of every viewer and channel with enough data.

    That is: enough earlier visits, and later broadcasts both with the viewer and without.
    """
    of_viewer: dict[tuple[int, int], list[int]] = {}
    for viewer, row in broadcasts.viewers.tolist():
        of_viewer.setdefault((viewer, int(broadcasts.channel[row])), []).append(row)
    visits_of = []
    for (_, channel), rows in of_viewer.items():
        mine = np.flatnonzero(broadcasts.channel == channel)
        earlier, later = mine[broadcasts.is_train[mine]], mine[~broadcasts.is_train[mine]]
        came = np.intersect1d(rows, earlier)
        label = np.isin(later, rows)
        if len(came) >= FEWEST_VISITS and label.any() and not label.all():
            visits_of.append(Visits(came, np.setdiff1d(earlier[earlier >= came[0]], came), later, label))
    return visits_of


def who_comes(broadcasts: Broadcasts, contents: dict[str, Content], seed: int, out: JsonRows) -> None:
    """Print and record the first table."""
    of_viewers = visits(broadcasts)
    groups = np.repeat(np.arange(len(of_viewers)), [len(viewer.later) for viewer in of_viewers])
    labels = np.concatenate([viewer.label for viewer in of_viewers]).astype(np.float64)

    def within_viewers(vectors: Floats) -> float:
        scores = []
        for viewer in of_viewers:
            avoided = vectors[viewer.stayed_away].mean(0) if len(viewer.stayed_away) else 0.0
            scores.append(vectors[viewer.later] @ (vectors[viewer.came].mean(0) - avoided))
        return gauc(user_auc(np.concatenate(scores), labels, groups))

    print(f"\n{len(of_viewers)} viewers of a channel, {len(labels):,} viewers × later broadcasts, {labels.mean():.3f} came")
    out.add("who comes: viewers of a channel", len(of_viewers), "viewers")
    out.add("who comes: viewers × later broadcasts", len(labels), "pairs")
    out.add("who comes: came", labels.mean(), "share")
    print(f"{'title read by':<20}{'GAUC':>8}{'shuffled':>10}{'± (1.96 s.d.)':>15}{'p':>8}")
    for name, content in contents.items():
        vectors = broadcasts.centred(content.titles)
        score = within_viewers(vectors)
        null = np.array([within_viewers(vectors[rows]) for rows in permuted(broadcasts, seed)])
        p = (1 + (null >= score).sum()) / (1 + len(null))
        print(f"{name:<20}{score:8.4f}{null.mean():10.4f}{1.96 * null.std():15.4f}{p:8.3f}", flush=True)
        around = (null.mean() - 1.96 * null.std(), null.mean() + 1.96 * null.std())
        out.add(f"who comes, title read by {name}", score, "GAUC")
        out.add(f"who comes, title read by {name}: shuffled", null.mean(), "GAUC", around, "95 %, permutations")
        out.add(f"who comes, title read by {name}: p", p, "probability")


def permuted(broadcasts: Broadcasts, seed: int) -> Iterator[Ints]:
    """Rows of broadcasts, permuted within their channel."""
    rng = np.random.default_rng(seed)
    for _ in range(PERMUTATIONS):
        rows = np.arange(len(broadcasts.channel))
        for channel in np.unique(broadcasts.channel):
            mine = np.flatnonzero(broadcasts.channel == channel)
            rows[mine] = rng.permutation(mine)
        yield rows


def which_broadcast(broadcasts: Broadcasts, contents: dict[str, Content], seed: int, out: JsonRows) -> None:
    """Print and record the second table."""
    tasks: dict[str, dict[str, tuple[NDArray, NDArray]]] = {"first half → second half": {}, "title → what was said": {}}
    for name, content in contents.items():
        if content.said is None:
            continue
        whole, (first, second) = content.said.mean(1), (half.mean(1) for half in np.split(content.said, 2, axis=1))
        tasks["first half → second half"][name] = ranks(broadcasts, first, second)
        tasks["title → what was said"][name] = ranks(broadcasts, content.titles, whole)
    rng = np.random.default_rng(seed)
    for task, by_reader in tasks.items():
        print(f"\n{task:<28}{'AUC':>8}{'MRR':>8}{'R@1':>8}   AUC over the frozen LLM (95 %)")
        drawn = rng.integers(0, (~broadcasts.is_train).sum(), (2_000, (~broadcasts.is_train).sum()))
        for name, (rank, others) in by_reader.items():
            auc = 1 - (rank - 1) / others
            gain = auc - (1 - (by_reader["frozen LLM"][0] - 1) / others)
            low, high = np.quantile(gain[drawn].mean(1), (0.025, 0.975))
            print(
                f"{name:<28}{auc.mean():8.4f}{(1 / rank).mean():8.4f}{(rank == 1).mean():8.4f}   "
                f"{gain.mean():+.4f} [{low:+.4f}, {high:+.4f}]"
            )
            out.add(f"{task}, {name}: AUC", auc.mean(), "AUC")
            out.add(f"{task}, {name}: MRR", (1 / rank).mean(), "MRR")
            out.add(f"{task}, {name}: R@1", (rank == 1).mean(), "share")
            out.add(f"{task}, {name}: AUC over the frozen LLM", gain.mean(), "AUC", (low, high), BOOTSTRAP)


def ranks(broadcasts: Broadcasts, queries: Floats, answers: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The rank of each later broadcast's answer among its channel's, and the number of others."""
    asked, answering = broadcasts.centred(queries), broadcasts.centred(answers)
    rank, others = [], []
    for channel in np.unique(broadcasts.channel):
        mine = np.flatnonzero((broadcasts.channel == channel) & ~broadcasts.is_train)
        likeness = asked[mine] @ answering[mine].T
        rank += (likeness >= likeness.diagonal()[:, None]).sum(1).tolist()
        others += [len(mine) - 1] * len(mine)
    return np.array(rank, dtype=np.float64), np.array(others, dtype=np.float64)


if __name__ == "__main__":
    main()
