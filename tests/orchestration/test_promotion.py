"""The asset `promotion`: guard results and the smoke test of the Bento reach the decision on disk."""

from typing import Any

import numpy as np
import pytest
from dagster import AssetCheckResult, DagsterInstance, asset, asset_check, materialize

from livealign.dataset.corpus import RAW, TUNED
from livealign.files import replace_json
from livealign.home import Home
from livealign.profiles import load_profile
from livealign.release.decisions import read_decision
from livealign.retrain.artifacts import DayArtifacts
from orchestration.assets.release import promotion
from orchestration.check_results import blocking_keys
from orchestration.partitions import days
from orchestration.resources import Workspace
from tests.planted.marts import plant_marts


@asset(partitions_def=days)
def codes() -> None: ...


CHALLENGER, EARLIER = "2025-03-02-0123456789ab", "2025-03-02-ba9876543210"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A day before its promotion. The bundle is missing, so that every way to decide ends before a model is read."""
    home, profile = Home(tmp_path_factory.mktemp("home"), "planted"), load_profile("tiny")
    home.activate()
    marts = plant_marts(home.marts, users=10, authors=4, rooms_per_day=4, requests_per_day=10, days=2, dim=4)
    artifacts = DayArtifacts.of(home, marts.days[-1])
    artifacts.embeddings.mkdir(parents=True)
    for name, values in (("segment_ids", marts.segment_ids), (RAW, marts.vectors), (TUNED, marts.vectors)):
        np.save(artifacts.embeddings / f"{name}.npy", values, allow_pickle=False)
    replace_json(artifacts.release / "bundle.json", {"release_id": CHALLENGER})
    return Workspace(home, home.archive, profile, profile.dataset)


def decided(workspace: Workspace, healthy: bool, smoke_tested: str) -> dict[str, Any]:
    """The decision that the asset leaves on disk.

    Args:
        healthy: the result of a blocking check of the codes. smoke_tested: id of the release whose Bento answered.
    """

    @asset_check(asset=codes, blocking=True, partitions_def=days)
    def is_healthy() -> AssetCheckResult:
        return AssetCheckResult(passed=healthy)

    home = workspace.home
    (day,) = (path.name for path in home.artifacts.iterdir())
    replace_json(home.artifacts / day / "release" / "bento.json", {"release_id": smoke_tested})
    with DagsterInstance.ephemeral() as instance:
        materialize([codes, is_healthy], instance=instance, partition_key=day, raise_on_error=False)
        done = materialize(
            [promotion(blocking_keys([is_healthy]))],
            instance=instance,
            partition_key=day,
            resources={"workspace": workspace},
            raise_on_error=False,
        )
    assert not done.success, "the challenger's bundle is missing"
    record = read_decision(home.releases, CHALLENGER)
    assert record is not None
    return record


@pytest.mark.parametrize("healthy", [True, False])
@pytest.mark.parametrize("smoke_tested", [CHALLENGER, EARLIER], ids=["this release", "an earlier release"])
def test_a_failed_guard_and_a_bento_that_did_not_answer_are_reasons_against_a_release(
    healthy: bool, smoke_tested: str, planted: Workspace
) -> None:
    record = decided(planted, healthy, smoke_tested)
    checks = record["numbers"]["checks"]
    assert (record["decision"], record["rule"]) == ("keep", "failed_checks")
    assert checks["codes: is_healthy"] is healthy
    assert checks["the Bento of this release answered"] is (smoke_tested == CHALLENGER)
    assert ("codes: is_healthy" in record["reason"]) is not healthy
    assert ("the Bento of this release answered" in record["reason"]) is (smoke_tested != CHALLENGER)
