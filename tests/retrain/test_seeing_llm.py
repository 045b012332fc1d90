"""A retrain whose LLM reads pictures: tuned on those of its pairs, and run on those of its segments."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from livealign.dataset.corpus import FRAMES, RAW, TUNED
from livealign.dataset.marts import read_mart
from livealign.days import partition
from livealign.errors import BackboneError
from livealign.frames.decode import picture_name, webp_of
from livealign.ids import segment_ids
from livealign.llm.backbone import load_backbone
from livealign.llm.encoder import Encoder
from livealign.llm.pooling import write_token_weights
from livealign.llm.prefix import Projector
from livealign.profiles import load_profile
from livealign.retrain.content import embed_segments, with_training_pictures
from livealign.tuning.adapter import tune_adapter
from livealign.tuning.pairs import NO_USER, TextPairs
from tests.planted.marts import Planted
from tests.planted.release import plant_platform, planted_picture
from tests.planted.room_texts import random_adapter
from tests.planted.vision_language import counted_loads, saved
from tests.retrain.test_engines import add_texts

TINY = load_profile("tiny")
SEEING = replace(TINY, frames=replace(TINY.frames, prefix_tokens=4))


class Workspace:
    """Planted marts in which the rooms with an even id have pictures."""

    def __init__(self, root: Path) -> None:
        self.root, self.marts, self.landing = root, root / "marts", root / "landing"
        self.planted: Planted = plant_platform(self.marts, days=3)
        topics = dict(zip(self.planted.segment_ids.tolist(), self.planted.segment_topic.tolist(), strict=True))
        add_texts(self.marts, topics)
        self.seen: set[int] = set()
        for day in self.planted.days:
            segments = read_mart(self.marts, "segments", [day], ("segment_id", "room_id", "window"))
            rows = [row for row in segments.to_pylist() if row["room_id"] % 2 == 0]
            ids = [row["segment_id"] for row in rows]
            self.seen.update(ids)
            # Planted ids are no hashes of room and window, as those of the warehouse are: pairs find their pictures by these.
            hashed = segment_ids([row["room_id"] for row in rows], [row["window"] for row in rows]).tolist()
            paths = [self.picture(topics[segment]) for segment in ids]
            file = partition(self.marts, "segment_frames", day)
            file.parent.mkdir(parents=True)
            of_segment = pa.array([*ids, *hashed], pa.int64())
            # A room for each: no picture stands still.
            columns = {"segment_id": of_segment, "room_id": of_segment, "window": of_segment, "frame_path": paths * 2}
            pq.write_table(pa.table(columns), file)

    def picture(self, topic: int) -> str:
        pixels = planted_picture(topic)
        path = f"pictures/{picture_name(pixels)}.webp"
        (self.landing / path).parent.mkdir(parents=True, exist_ok=True)
        (self.landing / path).write_bytes(webp_of(pixels))
        return path

    def pairs(self) -> TextPairs:
        """A pair of each window of the first days: what the host says, twice."""
        days: list[date] = list(self.planted.days[:-1])
        rows = read_mart(self.marts, "segments", days, ("room_id", "window", "speech_text")).to_pydict()
        room, window = np.array(rows["room_id"]), np.array(rows["window"])
        texts = rows["speech_text"]
        return TextPairs(texts, [f"{text} again" for text in texts], room, room, window, window, np.full(len(room), NO_USER))

    def embed(self, adapter: Path, out: Path, landing: Path | None) -> dict[str, np.ndarray]:
        folders = {"adapter": adapter, "models": self.root, "cache": self.root / "cache", "out": out, "landing": landing}
        embed_segments(self.marts, self.planted.days[-1], SEEING.dataset, SEEING, **folders)
        return {file.stem: np.load(file, allow_pickle=False) for file in out.glob("*.npy")}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("workspace"))


def seeing_pairs(workspace: Workspace) -> TextPairs:
    folders = {"models": workspace.root, "cache": workspace.root / "cache"}
    days = list(workspace.planted.days[:-1])
    return with_training_pictures(workspace.pairs(), workspace.marts, workspace.landing, days, SEEING, **folders)


def test_pairs_get_the_pictures_of_their_windows_and_none_where_the_llm_reads_none(workspace: Workspace) -> None:
    pairs, days = workspace.pairs(), list(workspace.planted.days[:-1])
    folders = {"models": workspace.root, "cache": workspace.root / "cache"}
    assert with_training_pictures(pairs, workspace.marts, workspace.landing, days, TINY, **folders) is pairs
    found = seeing_pairs(workspace)
    assert found.pictures is not None
    assert found.pictures.tokens == 4
    has = (found.picture >= 0).reshape(2, -1).any(axis=0)
    assert not has[pairs.left_room % 2 == 1].any()
    assert has[pairs.left_room % 2 == 0].mean() > 0.5


def test_segments_are_embedded_with_their_pictures_by_the_tuned_llm_alone(workspace: Workspace) -> None:
    adapter, backbone = workspace.root / "adapter", load_backbone("tiny", workspace.root, device="cpu")
    tune_adapter(backbone, seeing_pairs(workspace), SEEING.segments, SEEING.encoder, SEEING.finetune, adapter)
    assert Encoder.load(backbone, adapter, SEEING.encoder).projector is not None
    seeing = workspace.embed(adapter, workspace.root / "seeing", workspace.landing)
    blind = workspace.embed(adapter, workspace.root / "blind", None)
    assert FRAMES not in seeing  # pictures are no source of their own
    assert seeing[RAW].tobytes() == blind[RAW].tobytes()
    has = np.array([segment in workspace.seen for segment in seeing["segment_ids"].tolist()])
    assert 0 < has.sum() < len(has)
    change = np.abs(seeing[TUNED] - blind[TUNED]).max(axis=1)
    assert (change[has] > 1e-3).all()
    assert (change[~has] < 1e-4).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Gemma3", "Qwen2_5_VL"])
def test_a_vision_language_model_is_tuned_and_embeds_with_the_tokens_of_its_own_tower(
    name: str, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, loads = saved(name, tmp_path / "model"), counted_loads(monkeypatch)
    profile = replace(SEEING, backbone=str(folder), frames=replace(SEEING.frames, backbone=str(folder), prefix_tokens=4))
    backbone, days = load_backbone(str(folder), tmp_path, seeing=True), list(workspace.planted.days[:-1])
    folders = {"models": tmp_path, "cache": tmp_path / "cache"}
    places = (workspace.marts, workspace.landing)
    pairs = with_training_pictures(workspace.pairs(), *places, days, profile, **folders, backbone=backbone)
    finetune = replace(profile.finetune, steps=1)
    tune_adapter(backbone, pairs, profile.segments, profile.encoder, finetune, tmp_path / "adapter")
    vectors = []
    for landing in (workspace.landing, None):
        out = tmp_path / f"out {landing is None}"
        settings = {**folders, "adapter": tmp_path / "adapter", "out": out, "landing": landing}
        embed_segments(workspace.marts, workspace.planted.days[-1], profile.dataset, profile, **settings)
        vectors.append(np.load(out / f"{TUNED}.npy", allow_pickle=False).astype(np.float32))
    has = np.isin(np.load(out / "segment_ids.npy", allow_pickle=False), list(workspace.seen))
    change = np.abs(vectors[0] - vectors[1]).max(axis=1)
    assert change[has].min() > 10 * change[~has].max()
    assert loads == [folder] * 3  # once for the tuning and once for each embedding


def test_an_adapter_of_another_image_encoder_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    backbone = load_backbone("tiny", workspace.root, device="cpu")
    adapter = random_adapter(backbone, tmp_path / "adapter")
    write_token_weights(torch.ones(backbone.vocabulary), adapter)
    Projector.fresh(backbone, np.ones((2, 192), np.float32), 4, "another", 3).save(adapter)
    with pytest.raises(BackboneError, match="pictures of another encoder than pixels; tune it fully"):
        workspace.embed(adapter, tmp_path / "out", workspace.landing)


def test_the_settings_of_a_release_name_how_pictures_are_read() -> None:
    assert "frames" not in TINY.of_a_release()
    assert SEEING.of_a_release()["frames"] == {"backbone": "pixels", "prefix_tokens": 4}
