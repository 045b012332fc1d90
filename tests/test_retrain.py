"""`make retrain` on the tiny profile, with real processes: what it leaves, what a kill leaves, what bad data stops."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livealign.bundle import open_bundle
from livealign.home import Home
from livealign.releases import champion_path, read_champion
from livealign.simulation import SimulationConfig, simulate

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
KILLED_IN = ("warehouse", "segment_embeddings", "bento")  # a stage of each kind: dbt, torch, a service process


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("archive") / "simulator"
    simulate(SimulationConfig.tiny(), out)
    return out


def start(home: Path, archive: Path, log: Path, *options: str) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEALIGN_", "DAGSTER_"))}
    environment.update(LIVEALIGN_HOME=str(home), DO_NOT_TRACK="1", BENTOML_DO_NOT_TRACK="true", DAGSTER_DISABLE_TELEMETRY="1")
    command = [sys.executable, "-m", "orchestration.retrain", "--profile", "tiny", "--archive", str(archive), *options]
    with log.open("wb") as out:
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )


def retrain(home: Path, archive: Path, *options: str) -> tuple[int, str]:
    log = home.parent / f"{home.name}.log"
    process = start(home, archive, log, *options)
    return process.wait(timeout=600), log.read_text()


@pytest.fixture(scope="module")
def undisturbed(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A workspace in which one retrain ran to its end."""
    root = tmp_path_factory.mktemp("undisturbed") / "home"
    code, log = retrain(root, archive)
    assert code == 0, log
    return Home(root, "simulator")


def summary_of(home: Home) -> dict:
    return json.loads((home.root / "reports" / "latest" / "summary.json").read_text())


def test_a_first_retrain_ends_in_a_champion_and_a_summary(undisturbed: Home) -> None:
    summary = summary_of(undisturbed)
    assert summary["platform"] == "simulator"
    assert summary["profile"] == "tiny"
    assert set(summary["variants"]) >= {"popularity", "id_only", "raw_llm", "aligned_codes"}
    for metrics in (*summary["variants"].values(), *summary["oracle"].values()):
        assert {"auc", "uauc", "gauc", "ndcg@10", "n_impressions", "n_users"} <= set(metrics)
    assert summary["oracle"]["oracle"]["gauc"] > summary["oracle"]["oracle_static"]["gauc"] > 0.5
    assert summary["promotion"]["decision"] == "promote"
    assert all(cost["seconds"] > 0 and cost["peak_rss_bytes"] > 0 for cost in summary["stages"].values())
    assert {"history", "landing", "warehouse", "llm_adapter", "ranker", "bento", "promotion"} <= set(summary["stages"])
    assert open_bundle(champion_path(undisturbed.releases)).release_id == summary["bundle"]["release_id"]
    for page in ("report.html", "drift.html"):
        assert (undisturbed.root / "reports" / "latest" / page).stat().st_size > 10_000


def test_a_second_retrain_of_the_same_day_makes_the_same_release(undisturbed: Home, archive: Path) -> None:
    before = read_champion(undisturbed.releases)
    code, log = retrain(undisturbed.root, archive)
    assert code == 0, log
    assert summary_of(undisturbed)["bundle"]["release_id"] == before
    assert read_champion(undisturbed.releases) == before


@pytest.mark.parametrize("stage", KILLED_IN)
def test_a_killed_retrain_run_again_ends_like_an_undisturbed_one(
    stage: str, undisturbed: Home, archive: Path, tmp_path: Path
) -> None:
    home, log = tmp_path / "home", tmp_path / "killed.log"
    process = start(home, archive, log)
    deadline = time.monotonic() + 400
    while f"▶ {stage}" not in log.read_text() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.poll() is None, log.read_text()
    time.sleep(1.0)  # into the stage
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    code, text = retrain(home, archive)
    assert code == 0, text
    assert read_champion(Home(home, "simulator").releases) == read_champion(undisturbed.releases)


def test_a_failed_data_test_stops_everything_downstream_and_the_champion_stays(archive: Path, tmp_path: Path) -> None:
    spoilt = tmp_path / "archive"
    simulate(SimulationConfig.tiny(), spoilt)
    code, log = retrain(tmp_path / "home", spoilt, "--day", "2025-06-03")
    assert code == 0, log
    home = Home(tmp_path / "home", "simulator")
    champion = read_champion(home.releases)
    # A ledger that does not add up: somebody changed the landing area behind the landing code's back.
    ledger = home.landing / "ledger" / "dt=2025-06-02" / "part-0.parquet"
    table = pq.ParquetFile(ledger).read()
    lost = table.set_column(table.schema.get_field_index("landed"), "landed", pa.array([0] * len(table), pa.int64()))
    pq.write_table(lost, ledger)
    code, log = retrain(tmp_path / "home", spoilt, "--day", "2025-06-03")
    assert code == 1, log
    assert "▶ llm_adapter" not in log
    assert read_champion(home.releases) == champion


def test_a_challenger_is_held_against_the_champion_on_the_day_that_neither_saw(archive: Path, tmp_path: Path) -> None:
    code, log = retrain(tmp_path / "home", archive, "--day", "2025-06-03")
    assert code == 0, log
    home = Home(tmp_path / "home", "simulator")
    champion = read_champion(home.releases)
    code, log = retrain(tmp_path / "home", archive, "--day", "2025-06-04")
    assert code == 0, log
    promotion = summary_of(home)["promotion"]
    assert promotion["release"] != champion
    assert promotion["rule"] in {"not_worse", "worse", "slice_worse"}
    assert read_champion(home.releases) == (promotion["release"] if promotion["decision"] == "promote" else champion)


def test_a_missing_archive_is_one_line_with_its_remedy(tmp_path: Path) -> None:
    code, log = retrain(tmp_path / "home", tmp_path / "nowhere", "--platform", "twitch")
    assert code == 1
    assert "nowhere" in log
    assert "Traceback" not in log
