"""A night of the planted platform: a retrained day and two releases that can score it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from livealign.dataset.corpus import Corpus, load_corpus
from livealign.dataset.examples import TASKS
from livealign.home import Home
from livealign.profiles import Profile, load_profile
from livealign.release.bundle import Bundle, open_bundle
from livealign.release.registry import promote
from livealign.retrain.artifacts import DayArtifacts
from livealign.retrain.champion import champion_scores
from tests.planted.live_release import HIDDEN, with_encoder
from tests.planted.marts import Planted
from tests.planted.release import WORDS, plant_platform, plant_release


@dataclass(frozen=True)
class Night:
    """A workspace before the promotion of its last day."""

    home: Home
    planted: Planted
    corpus: Corpus
    profile: Profile
    champion: Bundle
    challenger: Bundle

    @property
    def artifacts(self) -> DayArtifacts:
        """The artifacts of the night's day."""
        return DayArtifacts.of(self.home, self.corpus.day)

    def copied(self, root: Path) -> "Night":
        """The same night in a home of its own, which a test may change."""
        shutil.copytree(self.home.root, root)
        home = Home(root, self.home.platform)
        champion, challenger = (open_bundle(home.releases / own.release_id) for own in (self.champion, self.challenger))
        return Night(home, self.planted, self.corpus, self.profile, champion, challenger)

    def champion_scores(self) -> NDArray[np.float32]:
        """The champion's own scores of the day."""
        return champion_scores(self.champion, self.corpus, self.home, self.profile.dataset)

    def plant_scores(self, champion: NDArray, challenger: NDArray) -> None:
        """Write click scores [n] of the last day for both releases, where a retrain leaves them."""
        self.champion_scores()  # also writes the record of their inputs
        np.save(self.artifacts.champion / f"{self.champion.release_id}.npy", _as_tasks(champion), allow_pickle=False)
        self.artifacts.ranker.mkdir(parents=True, exist_ok=True)
        np.save(self.artifacts.ranker / "scores.npy", _as_tasks(challenger), allow_pickle=False)


def plant_night(root: Path, champion_days: int = 2) -> Night:
    """Plant the platform and two releases that were not trained on its last day.

    The first one is the champion.

    Args:
        champion_days: training days that the champion's manifest names; 1 leaves it two days that it has not seen.
    """
    home, profile = Home(root, "planted"), load_profile("tiny")
    planted = plant_platform(home.marts, users=60, rooms_per_day=16, requests_per_day=120, days=3, dim=HIDDEN)
    _say_topics(planted)
    home.releases.mkdir(parents=True)
    plain = plant_release(root / "plain", planted)
    first, *_, before, day = planted.days
    window = {"start": first.isoformat(), "train_end": before.isoformat(), "end": day.isoformat()}
    windows = [{**window, "train_end": planted.days[champion_days - 1].isoformat()}, window]
    champion, challenger = (
        open_bundle(with_encoder(plain, home.releases, number, data_window=own).bundle) for number, own in enumerate(windows)
    )
    shutil.rmtree(root / "plain")
    promote(home.releases, champion.release_id)
    corpus = load_corpus(home.marts, day, profile.dataset)
    return Night(home, planted, corpus, profile, champion, challenger)


def _say_topics(planted: Planted) -> None:
    """Add texts to the mart `segments`: the host names the topic of the window."""
    topics = dict(zip(planted.segment_ids.tolist(), planted.segment_topic.tolist(), strict=True))
    for path in sorted((planted.marts / "segments").glob("dt=*/part-0.parquet")):
        table = pq.ParquetFile(path).read().drop_columns(["title", "category"])
        speech = [f"now we play {WORDS[topics[segment]]}" for segment in table["segment_id"].to_pylist()]
        started = table["started_at"].cast(pa.int64()).to_numpy()
        columns = {
            "window": pa.array(started // 30_000),
            "title": pa.array(["a room"] * len(speech)),
            "category": pa.nulls(len(speech), pa.string()),
            "speech_text": pa.array(speech),
            "chat_text": pa.nulls(len(speech), pa.string()),
        }
        for name, column in columns.items():
            table = table.append_column(name, column)
        pq.write_table(table, path)


def _as_tasks(click: NDArray) -> NDArray[np.float32]:
    """Click scores [n] as scores of all tasks [n, tasks]."""
    return np.tile(np.asarray(click, np.float32)[:, None], (1, len(TASKS)))
