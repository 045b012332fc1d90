"""A setting on its way: through the workspace to the stage it is for, and into the release's manifest and lineage."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from livealign.alignment.towers import Alignment
from livealign.config import EncoderConfig
from livealign.dataset.corpus import LEXICAL, TUNED, load_corpus
from livealign.errors import BackboneError
from livealign.files import replace_json
from livealign.llm.backbone import Backbone, load_backbone
from livealign.llm.fitting import layers_of
from livealign.llm.lexical import fit_lexicon
from livealign.profiles import load_profile
from livealign.ranking.variants import RELEASE
from livealign.release.bundle import ALIGNMENT, LEXICON, open_bundle
from livealign.release.lineage import lineage_of
from livealign.retrain.alignment import align, encode
from livealign.retrain.artifacts import DayArtifacts
from livealign.retrain.recommenders import rank
from livealign.retrain.release import build_bundle
from livealign.settings import GivenValue
from livealign.tuning.adapter import tune_adapter
from orchestration.resources import Workspace
from tests.planted.release import plant_platform
from tests.planted.text_pairs import planted_pairs


@pytest.mark.parametrize(
    ("given_layers", "depth", "expected"),
    [
        ((2, 6), 30, (2, 6)),
        ((0.067, 0.2), 30, (2, 6)),
        ((0, 1.0), 30, (0, 30)),
        ((0.067, 0.2), 2, (0, 1)),
        ((0.15, 0.2), 5, (0, 1)),
        ((0, 1), 30, (0, 1)),
        ((0.5, 1.0), 12, (6, 12)),
    ],
)
def test_layers_are_a_number_or_a_share_of_the_depth(
    given_layers: tuple[float, float], depth: int, expected: tuple[int, int]
) -> None:
    backbone = cast(Backbone, SimpleNamespace(n_layers=depth, name="planted"))
    config = EncoderConfig(first_adapted_layer=given_layers[0], exit_layer=given_layers[1])
    assert layers_of(backbone, config) == expected


@pytest.mark.parametrize("layers", [(0, 40), (6, 6), (0.5, 0.2), (0, 2.5)])
def test_layers_beyond_the_depth_are_one_line_that_says_the_depth(layers: tuple[float, float], tmp_path: Path) -> None:
    backbone = load_backbone("tiny", tmp_path)
    with pytest.raises(BackboneError, match=rf"'tiny', which has {backbone.n_layers} layers; set 0 <= "):
        layers_of(backbone, EncoderConfig(first_adapted_layer=layers[0], exit_layer=layers[1]))


def test_the_gpu_profile_runs_all_layers_of_its_backbone() -> None:
    assert load_profile("gpu").encoder.exit_layer == 1.0
    assert load_profile("gpu").encoder.first_adapted_layer == 0


def test_a_changed_setting_reaches_its_stage_and_is_recorded_in_the_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = 'profile = "tiny"\n[finetune]\nsteps = 3\nbatch_size = 4\n[encoder]\nexit_layer = 0.5\nfirst_adapted_layer = 0\n'
    (tmp_path / "livealign.toml").write_text(toml + "[codes]\nlevels = 1\n[retention]\nreleases = 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIVEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LIVEALIGN_PLATFORM", "simulator")
    monkeypatch.setenv("LIVEALIGN_DAYS", "2")
    workspace = Workspace.from_environment([GivenValue.flag("--set", "alignment.dim=8")])
    home, profile = workspace.home, workspace.profile
    home.activate()
    planted = plant_platform(home.marts)
    day = planted.days[-1]
    artifacts = DayArtifacts.of(home, day)
    backbone = load_backbone(profile.backbone, home.models)
    report = tune_adapter(backbone, planted_pairs(64), profile.segments, profile.encoder, profile.finetune, artifacts.adapter)
    assert len(report.losses) == 3

    corpus = load_corpus(home.marts, day, workspace.dataset)
    assert len(corpus.train_days) == len(workspace.training_days(day)) == 2
    corpus = corpus.with_content(TUNED, planted.segment_ids, planted.vectors)
    texts = ["a text"] * (len(corpus.segment_ids) - 1)
    lexicon = fit_lexicon(texts, corpus.segment_room_id[1:], profile.lexical)
    corpus = corpus.with_content(LEXICAL, corpus.segment_ids[1:], lexicon.encode(texts))
    artifacts.embeddings.mkdir(parents=True)
    lexicon.save(artifacts.embeddings / LEXICON)
    align(corpus, profile, artifacts)
    encode(corpus, profile, artifacts, texts)
    rank(corpus, profile, artifacts)
    replace_json(artifacts.evaluation / "evaluation.json", {"variants": {RELEASE: {"gauc": 0.6}}, "differences": {}})
    reference = tmp_path / "reference"
    reference.mkdir()
    (reference / "x.json").write_text("{}")
    bundle = build_bundle(corpus, home, profile, reference, workspace.settings)

    assert Alignment.load(bundle.file(ALIGNMENT)).config.dim == 8
    manifest = open_bundle(bundle.path).manifest
    assert manifest["settings"] == {
        "alignment.dim": {"value": 8, "from": "--set"},
        "codes.levels": {"value": 1, "from": "livealign.toml"},
        "dataset.train_days": {"value": 2, "from": "LIVEALIGN_DAYS"},
        "encoder.exit_layer": {"value": 0.5, "from": "livealign.toml"},
        "encoder.first_adapted_layer": {"value": 0, "from": "livealign.toml"},
        "finetune.batch_size": {"value": 4, "from": "livealign.toml"},
        "finetune.steps": {"value": 3, "from": "livealign.toml"},
    }
    assert manifest["config"]["encoder"]["exit_layer"] == backbone.n_layers // 2, (
        "whole layers, to be read without the backbone"
    )
    assert "retention" not in manifest["config"]
    assert "finetune.steps = 3 (livealign.toml)" in lineage_of(manifest, home).steps()
    older = {name: value for name, value in manifest.items() if name != "settings"}
    assert lineage_of(older, home).settings == {}
