"""The stage that embeds, on each engine: the same files, and one cost that says where the work was done."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from livealign.dataset.corpus import LEXICAL, RAW, TUNED, referenced_segments
from livealign.llm.backbone import load_backbone
from livealign.operation_config import MachinesConfig
from livealign.profiles import Profile, load_profile
from livealign.retrain.content import EmbeddingReport, embed_segments
from livealign.store import Store
from livealign.tuning.adapter import tune_adapter
from tests.planted.release import plant_platform, planted_text
from tests.planted.text_pairs import planted_pairs


def embedded(folder: Path, machines: MachinesConfig) -> tuple[EmbeddingReport, dict[str, bytes]]:
    """The report and the files of the stage on planted marts, with a cache of its own."""
    profile: Profile = replace(load_profile("tiny"), machines=machines)
    planted, out = plant_platform(folder / "marts", days=3), folder / "embeddings"
    add_texts(folder / "marts", dict(zip(planted.segment_ids.tolist(), planted.segment_topic.tolist(), strict=True)))
    day = planted.days[-1]
    adapter, backbone = folder / "adapter", load_backbone("tiny", folder, device="cpu")
    tune_adapter(backbone, planted_pairs(40), profile.segments, profile.encoder, profile.finetune, adapter)
    report = embed_segments(
        *(folder / "marts", day, profile.dataset, profile),
        adapter=adapter,
        models=folder,
        cache=folder / "cache",
        out=out,
    )
    ids = np.load(out / "segment_ids.npy", allow_pickle=False)
    np.testing.assert_array_equal(ids, referenced_segments(folder / "marts", day, profile.dataset))
    return report, {name: (out / f"{name}.npy").read_bytes() for name in (RAW, TUNED, LEXICAL)}


def add_texts(marts: Path, topics: dict[int, int]) -> None:
    """Give the planted segments what is said in them."""
    for path in sorted((marts / "segments").glob("dt=*/part-0.parquet")):
        segments = pq.ParquetFile(path).read()
        ids = segments["segment_id"].to_pylist()
        said = [f"{planted_text(topics[segment])} number {segment % 97}" for segment in ids]
        window = pc.divide(segments["started_at"].cast(pa.timestamp("ms")).cast(pa.int64()), 30_000)
        for name, column in (("window", window), ("speech_text", pa.array(said)), ("chat_text", pa.array([""] * len(ids)))):
            segments = segments.append_column(name, column)
        pq.write_table(segments, path)


def test_a_store_changes_no_vector_and_gets_the_shards(tmp_path: Path) -> None:
    plain, files = embedded(tmp_path / "plain", MachinesConfig())
    report, stored = embedded(tmp_path / "stored", MachinesConfig(store=str(tmp_path / "store")))
    assert stored == files
    assert report.worker_seconds == plain.worker_seconds == 0
    store = Store.open(str(tmp_path / "store"))
    assert store is not None
    versions = [path.name for path in (tmp_path / "store" / "embedding_cache").iterdir()]
    assert len(versions) == 2  # raw and tuned
    assert all(store.names(f"embedding_cache/{version}") for version in versions)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed; make setup-ray installs it")
def test_the_stage_on_ray_writes_the_files_of_the_local_one(tmp_path: Path) -> None:
    _, files = embedded(tmp_path / "local", MachinesConfig())
    report, found = embedded(tmp_path / "ray", MachinesConfig(engine="ray", store=str(tmp_path / "store")))
    assert found == files
    assert report.worker_seconds > 0
    assert report.cached == 0
