"""Pictures of the simulated platform: seeded, off by default, and about what is aired."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from livealign.frames.decode import decode
from livealign.llm.image_encoder import load_image_encoder
from livealign.platforms.registry import land
from livealign.simulation.archive import simulate, was_simulated
from livealign.simulation.config import SimulationConfig
from livealign.simulation.frames import KINDS
from livealign.simulation.glyphs import glyph
from livealign.simulation.topics import TOPICS

SMALL: dict[str, Any] = {"users": 8, "authors": 9, "days": 1, "broadcasts": 9, "shift_day": 2, "requests_per_user_day": 1.0}
SHORT = {"min_minutes": 4.0, "mean_minutes": 6.0, "max_minutes": 8.0}


def small(frames: bool, seed: int = 3) -> SimulationConfig:
    return SimulationConfig(**SMALL, **SHORT, seed=seed, frames=frames)


def contents(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures") / "a"
    simulate(small(True), folder)
    return folder


def rows(archive: Path, pattern: str) -> list[dict]:
    return [row for path in sorted(archive.glob(pattern)) for row in pq.ParquetFile(path).read().to_pylist()]


def test_pictures_are_added_and_nothing_else_changes(archive: Path, tmp_path: Path) -> None:
    simulate(small(False), tmp_path / "b")
    with_pictures, without = contents(archive), contents(tmp_path / "b")
    more = with_pictures.keys() - without.keys()
    assert {name.split("/")[-1] for name in more} == {"frames.parquet", "part-0.parquet"}
    changed = {name for name in without if with_pictures[name] != without[name]}
    assert changed == {"simulator.json"}
    assert '"frames"' not in (tmp_path / "b" / "simulator.json").read_text()
    assert was_simulated(archive)


def test_the_same_seed_draws_the_same_pictures_and_another_draws_others(archive: Path, tmp_path: Path) -> None:
    simulate(small(True), tmp_path / "again")
    assert contents(tmp_path / "again") == contents(archive)


def test_most_rooms_have_scenes_some_a_card_and_some_nothing(archive: Path) -> None:
    kinds = {row["room_id"]: row["frames"] for row in rows(archive, "truth/frames/dt=*/*.parquet")}
    assert set(kinds.values()) == set(KINDS)
    pictures: dict[int, set[bytes]] = {}
    for row in rows(archive, "dt=*/frames.parquet"):
        pictures.setdefault(row["room_id"], set()).add(row["bytes"])
    assert pictures.keys() == {room for room, kind in kinds.items() if kind != "none"}
    for room, different in pictures.items():
        assert (len(different) == 1) == (kinds[room] == "card")


def test_they_land_without_a_reject(archive: Path, tmp_path: Path) -> None:
    summary = land("simulator", archive, tmp_path / "l")
    frames = summary.tables["frames"]
    assert frames.landed == frames.read == len(rows(archive, "dt=*/frames.parquet")) > 30
    assert frames.rejected == 0


def test_members_of_a_topic_look_more_like_each_other_than_like_members_of_other_topics() -> None:
    drawn = [
        np.asarray(glyph(topic, member).convert("RGB").resize((224, 224)))
        for topic in range(len(TOPICS))
        for member in range(6)
    ]
    colours = np.stack([pixels.reshape(-1, 3) for pixels in drawn])
    histograms = np.stack([np.histogramdd(pixels, bins=(4, 4, 4), range=[(1, 256)] * 3)[0].ravel() for pixels in colours])
    histograms /= np.linalg.norm(histograms, axis=1, keepdims=True)
    likeness = histograms @ histograms.T
    topic = np.repeat(np.arange(len(TOPICS)), 6)
    same = (topic[:, None] == topic) & ~np.eye(len(topic), dtype=bool)
    assert likeness[same].mean() > likeness[topic[:, None] != topic].mean() + 0.1
    assert len({pixels.tobytes() for pixels in drawn}) == len(drawn)


def test_a_scene_shows_its_topic(archive: Path) -> None:
    """A nearest mean over plain pixels finds the genre better than chance, though not well: pictures are cluttered."""
    kinds = {row["room_id"]: row["frames"] for row in rows(archive, "truth/frames/dt=*/*.parquet")}
    genres = {(row["room_id"], row["window"]): row["genre"] for row in rows(archive, "truth/segments/dt=*/*.parquet")}
    shown = [row for row in rows(archive, "dt=*/frames.parquet") if kinds[row["room_id"]] == "scene"]
    pixels = np.stack([decode(row["bytes"]) for row in shown])
    vectors = load_image_encoder("pixels", Path()).encode(pixels).reshape(len(pixels), -1, 3)
    light = vectors.mean(axis=1)
    light = light / light.sum(axis=1, keepdims=True)
    genre = np.array([genres[row["room_id"], int(row["at"].timestamp()) // 30] for row in shown])
    names = np.unique(genre)
    halves = np.arange(len(genre)) % 2 == 0
    means = np.stack([light[halves & (genre == name)].mean(axis=0) for name in names])
    found = names[np.argmin(((light[~halves, None] - means) ** 2).sum(-1), axis=1)]
    assert (found == genre[~halves]).mean() > 1.3 / len(names)
