"""A reading budget in seconds: the rate is measured once, and reruns read the same windows."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from livealign.dataset.corpus import RAW, TUNED
from livealign.errors import LiveAlignError
from livealign.llm.backbone import load_backbone
from livealign.llm.encoder import Encoder
from livealign.operation_config import ReadingConfig
from livealign.profiles import Profile, load_profile
from livealign.retrain.content import EmbeddingReport, embed_segments
from livealign.retrain.reading_budget import RECORD, reading_line
from livealign.retrain.reading_rate import RATE, reading_cores, reading_rate, windows_within
from livealign.tuning.adapter import tune_adapter
from tests.planted.release import plant_platform
from tests.planted.text_pairs import planted_pairs
from tests.retrain.test_engines import add_texts

TEXTS = [f"window {row % 50} of a broadcast" for row in range(80)]
ROOMS = np.arange(80)


@pytest.mark.parametrize(
    ("seconds", "windows", "expected"),
    [(0, 0, 0), (0, 7, 7), (10, 0, 500), (10, 7, 7), (10, 900, 500), (1, 0, 50)],
)
def test_the_smaller_of_both_bounds_holds(seconds: int, windows: int, expected: int) -> None:
    assert windows_within(ReadingConfig(windows, seconds), rate=25.0, cores=2) == expected


def test_a_budget_reads_one_window_at_least() -> None:
    assert windows_within(ReadingConfig(seconds_per_day=1), rate=0.01, cores=1) == 1


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, profile = tmp_path_factory.mktemp("adapter"), load_profile("tiny")
    backbone = load_backbone("tiny", folder, device="cpu")
    tune_adapter(backbone, planted_pairs(40), profile.segments, profile.encoder, profile.finetune, folder / "adapter")
    return folder / "adapter"


def encoder_of(adapter: Path) -> Encoder:
    profile = load_profile("tiny")
    return Encoder.load(load_backbone("tiny", adapter.parent, device="cpu"), adapter, profile.encoder, profile.segments)


def test_the_rate_is_measured_once_and_read_from_then_on(adapter: Path, tmp_path: Path) -> None:
    encoder = encoder_of(adapter)
    rate = reading_rate(encoder, tmp_path, TEXTS, ROOMS)
    file = tmp_path / encoder.version(tuned=False) / RATE
    record = json.loads(file.read_text())
    assert record == {"texts_in_a_second": rate, "texts": 50, "format": 1}
    assert 0 < rate < 1e7
    assert reading_rate(encoder, tmp_path, [], ROOMS[:0]) == rate
    assert reading_cores(encoder, None) >= 1
    file.write_text("{")
    with pytest.raises(LiveAlignError, match=r"rate\.json is damaged .*; delete it, then retrain, which measures it again"):
        reading_rate(encoder, tmp_path, TEXTS, ROOMS)


def test_without_a_text_there_is_no_rate(adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(LiveAlignError, match=r"no window has a text .* set reading\.seconds_per_day to 0"):
        reading_rate(encoder_of(adapter), tmp_path, ["", ""], ROOMS[:2])


def test_the_stage_reads_within_the_seconds_and_a_rerun_reads_the_same(adapter: Path, tmp_path: Path) -> None:
    profile: Profile = load_profile("tiny")
    planted, marts = plant_platform(tmp_path / "marts", days=3), tmp_path / "marts"
    add_texts(marts, dict(zip(planted.segment_ids.tolist(), planted.segment_topic.tolist(), strict=True)))

    def embedded(name: str, reading: ReadingConfig) -> tuple[EmbeddingReport, list[bytes]]:
        report = embed_segments(
            *(marts, planted.days[-1], profile.dataset, replace(profile, reading=reading)),
            adapter=adapter,
            models=tmp_path,
            cache=tmp_path / "cache",
            out=tmp_path / name,
        )
        return report, [(tmp_path / name / f"{kind}.npy").read_bytes() for kind in (RAW, TUNED)]

    encoder = encoder_of(adapter)
    folder = tmp_path / "cache" / encoder.version(tuned=False)
    folder.mkdir(parents=True)
    (folder / RATE).write_text(json.dumps({"texts_in_a_second": 3.5}))
    cores = reading_cores(encoder, None)
    report, files = embedded("first", ReadingConfig(seconds_per_day=6))
    record = json.loads((tmp_path / "first" / RECORD).read_text())
    assert record["windows_per_day"] == 21 * cores
    assert report.read == 3 * 21 * cores < report.segments
    assert 0 < report.read_share < 1
    assert f"reading.seconds_per_day = 6, at {3.5 * cores} texts a second {21 * cores} windows a day" in reading_line(record)
    again, same = embedded("again", ReadingConfig(seconds_per_day=6))
    assert same == files
    assert again.cached == again.distinct_texts
    assert embedded("windows", ReadingConfig(windows_per_day=21 * cores))[1] == files

    (folder / RATE).unlink()
    embedded("measured", ReadingConfig(seconds_per_day=6))
    assert json.loads((folder / RATE).read_text())["texts"] > 0
