"""A retrain on Ray with a store: the embeddings of a local one, and a champion that another machine follows."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from livealign.home import Home
from livealign.release.registry import read_champion
from livealign.release.shared_champion import follow_champion
from livealign.simulation.archive import simulate
from livealign.simulation.config import SimulationConfig
from livealign.store import Store
from livealign.tuning.adapter import read_report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1_200),
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed; make setup-ray installs it"),
]
ROOT = Path(__file__).parents[2]


def retrain(home: Path, archive: Path, *options: str) -> Path:
    """Retrain the tiny profile, and return the artifacts of its day."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEALIGN_", "DAGSTER_"))}
    environment.update(LIVEALIGN_HOME=str(home), DO_NOT_TRACK="1", BENTOML_DO_NOT_TRACK="true", DAGSTER_DISABLE_TELEMETRY="1")
    command = [sys.executable, "-m", "orchestration.retrain", "--profile", "tiny", "--archive", str(archive), *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (artifacts,) = (home / "artifacts").glob("????-??-??")
    return artifacts


def test_a_retrain_on_ray_ends_as_a_local_one_and_is_served_elsewhere(tmp_path: Path) -> None:
    archive, where = tmp_path / "archive", tmp_path / "store"
    simulate(SimulationConfig.tiny(), archive)
    local = retrain(tmp_path / "local", archive)
    on_ray = ("--set", "machines.engine=ray", "--set", "machines.ranks=2", "--set", f"machines.store={where}")
    ray = retrain(tmp_path / "ray", archive, *on_ray)
    assert read_report(ray / "adapter").losses == pytest.approx(read_report(local / "adapter").losses, rel=1e-3)
    raw = [np.load(artifacts / "embeddings" / "raw_llm.npy", allow_pickle=False) for artifacts in (local, ray)]
    assert raw[0].tobytes() == raw[1].tobytes()
    store, there = Store.open(str(where)), Home(tmp_path / "there", "simulator")
    assert store is not None
    there.activate()
    assert follow_champion(store, there) == read_champion(Home(tmp_path / "ray", "simulator").releases)
    assert {path.name for path in where.iterdir()} >= {"adapters", "embedding_cache", "releases", "bentos", "champions"}
