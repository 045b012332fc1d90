"""The workspace of a retrain and its corpus, as the quality benchmarks use them."""

import argparse
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.json_rows import add_json_option
from livealign.config import AUTO
from livealign.dataset.corpus import FRAMES, LEXICAL, Corpus, load_corpus
from livealign.days import partition
from livealign.files import read_json
from livealign.home import Home
from livealign.llm.image_encoder import load_image_encoder
from livealign.llm.texts import texts_of
from livealign.profiles import Profile, load_profile
from livealign.retrain.artifacts import DayArtifacts
from livealign.retrain.corpus import with_embeddings
from livealign.retrain.encoder_choice import RECORD, with_encoder_of
from livealign.retrain.frames import embed_frames
from livealign.retrain.lexicon import day_lexicon
from livealign.setting_types import with_value
from livealign.settings import PLATFORM_DEFAULTS


class Retrained(NamedTuple):
    """A workspace, the profile to measure with, and the held-out day."""

    home: Home
    profile: Profile
    day: date

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Retrained":
        """The workspace, profile and day of the options; by default the last retrain's day.

        The profile has the layers that the day's retrain chose, if it chose any (`encoder.choice`).
        """
        home, profile = Home.from_environment(arguments.platform), profile_of(arguments.profile, arguments.platform)
        if arguments.days:
            profile = replace(profile, dataset=replace(profile.dataset, train_days=arguments.days))
        day = arguments.day or last_held_out(home)
        return cls(home, with_chosen_layers(profile, DayArtifacts.of(home, day).adapter), day)

    def corpus(self, profile: Profile | None = None, day: date | None = None) -> Corpus:
        """The corpus of the day, or of an earlier one, with its vectors.

        The vectors are those of the retrain for `self.day`.
        """
        profile = profile or self.profile
        corpus = with_embeddings(load_corpus(self.home.marts, day or self.day, profile.dataset), self.embeddings)
        return with_lexical(corpus, self.home, profile)

    @property
    def embeddings(self) -> Path:
        """The folder of the retrain's embeddings."""
        return DayArtifacts.of(self.home, self.day).embeddings


def profile_of(name: str, platform: str) -> Profile:
    """The named profile with the platform's defaults, as a retrain has it without any settings."""
    profile = load_profile(name)
    for setting, value in PLATFORM_DEFAULTS.get(platform, {}).items():
        profile = with_value(profile, setting, value)
    return profile


def with_chosen_layers(profile: Profile, adapter: Path) -> Profile:
    """The profile with the layers and pooling that lie beside an adapter, if any do."""
    if not (adapter / RECORD).is_file():
        return profile
    return with_encoder_of(replace(profile, encoder=replace(profile.encoder, choice=AUTO)), adapter)


def with_lexical(corpus: Corpus, home: Home, profile: Profile) -> Corpus:
    """The corpus with counted words, fitted here if the retrain wrote none."""
    if LEXICAL in corpus.content:
        return corpus
    days, segment_ids = [*corpus.train_days, corpus.day], corpus.segment_ids[1:]
    texts = texts_of(home.marts, segment_ids, days, profile.segments)
    lexicon = day_lexicon(home.marts, days, segment_ids, texts, corpus.train_days[-1], profile.lexical, None)
    return corpus.with_content(LEXICAL, segment_ids, lexicon.encode(texts))


def with_frames(corpus: Corpus, home: Home, profile: Profile) -> Corpus:
    """The corpus with the vectors of pictures, seen here if the retrain read none."""
    if FRAMES in corpus.content:
        return corpus
    encoder = load_image_encoder(profile.frames.backbone, home.models)
    days = [*corpus.train_days, corpus.day]
    frames = embed_frames(home.marts, home.landing, days, corpus.segment_ids[1:], encoder, home.embedding_cache)
    return corpus.with_content(FRAMES, *frames)


def scene_rooms(home: Home, day: date) -> NDArray | None:
    """The rooms of the day whose pictures are scenes; None where it is not known."""
    kinds = _kinds_of_rooms(home, day)
    return None if kinds is None else np.array([room for room, kind in kinds.items() if kind == "scene"])


def _kinds_of_rooms(home: Home, day: date) -> dict[int, str] | None:
    path = partition(home.archive / "truth", "frames", day)
    if not path.exists():
        return None
    rows = pq.read_table(path, partitioning=None).to_pydict()
    return dict(zip(rows["room_id"], rows["frames"], strict=True))


def kinds_of_pictures(home: Home, corpus: Corpus) -> NDArray | None:
    """The kind of pictures of each held-out impression's room [n]; None without the truth."""
    kind_of = _kinds_of_rooms(home, corpus.day)
    if kind_of is None:
        return None
    return np.array([f"pictures: {kind_of.get(room, 'none')}" for room in corpus.test.room_id.tolist()])


def last_held_out(home: Home) -> date:
    """The day that the last retrain of the workspace held out."""
    return date.fromisoformat(read_json(home.reports / "latest" / "summary.json")["data_window"]["end"])


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the workspace, the day and the history; LIVEALIGN_HOME is the folder."""
    parser.add_argument("--platform", default="simulator")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--day", type=date.fromisoformat, help="held out; default: that of the last retrain")
    parser.add_argument("--days", type=int, help="of history; default: the profile's")
    add_json_option(parser)
