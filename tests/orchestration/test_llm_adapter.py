"""The asset of the LLM's adapter chooses layers from the settings, and keeps them with the adapter."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dagster import DagsterInstance, materialize

from livealign.home import Home
from livealign.profiles import Profile, load_profile
from livealign.retrain.encoder_choice import with_encoder_of
from orchestration.assets import content
from orchestration.resources import Workspace
from tests.planted.broadcasts import FIRST_DAY, write_broadcasts

DAY = FIRST_DAY + timedelta(days=2)
# Of a release with a deeper backbone: the tiny one has no such layer.
DEEPER = {"exit_layer": 20, "first_adapted_layer": 7, "pooling": "last", "choice": "auto"}


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as made:
        yield made


@pytest.mark.parametrize("authors", [12, 1])
def test_a_full_tune_chooses_from_the_settings_whatever_the_previous_release_chose(
    authors: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instance: DagsterInstance
) -> None:
    profile = load_profile("tiny")
    profile = replace(profile, encoder=replace(profile.encoder, choice="auto"))
    home = Home(tmp_path, "simulator")
    write_broadcasts(home.marts, authors=authors)
    manifest = {"config": {"encoder": DEEPER}, "files": {}, "backbone": {"sha256": "another"}}
    previous = SimpleNamespace(release_id="previous", path=tmp_path, manifest=manifest)
    tuned: list[Profile] = []

    def tune(workspace: Workspace, profile: Profile, *_: Any) -> dict[str, Any]:
        workspace.artifacts(DAY).adapter.mkdir(parents=True)
        tuned.append(profile)
        return {}

    monkeypatch.setattr(content, "previous_release", lambda *_: previous)
    monkeypatch.setattr(content, "days_to_tune_on", lambda *_: [FIRST_DAY, FIRST_DAY + timedelta(days=1)])
    monkeypatch.setattr(content, "_tune", tune)
    workspace = Workspace(home, home.archive, profile, profile.dataset)
    made = materialize(
        [content.llm_adapter], partition_key=str(DAY), resources={"workspace": workspace}, instance=instance
    ).asset_materializations_for_node("llm_adapter")[0]
    (used,) = tuned
    assert used == with_encoder_of(profile, workspace.artifacts(DAY).adapter)
    why = str(made.metadata["layers"].value)
    if authors == 1:
        assert why == "As the settings say: too few broadcasts to choose by."
        assert used == profile
    else:
        assert f"Layer {used.encoder.exit_layer} with pooling '{used.encoder.pooling}'" in why
