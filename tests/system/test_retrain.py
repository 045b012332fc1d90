"""`make retrain` on the tiny profile, with real processes: its results, and bad data that stops it.

Kills are in test_faults.py.
"""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livealign.days import partition
from livealign.files import read_json
from livealign.home import Home
from livealign.release.bundle import open_bundle
from livealign.release.registry import champion_path, read_champion
from livealign.retrain.artifacts import DayArtifacts
from livealign.simulation.archive import simulate
from livealign.simulation.config import SimulationConfig

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FIRST_DAY, SECOND_DAY = "2025-06-03", "2025-06-04"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("archive") / "simulator"
    simulate(SimulationConfig.tiny(), out)
    return out


def retrain(home: Path, archive: Path, *options: str) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEALIGN_", "DAGSTER_"))}
    environment.update(LIVEALIGN_HOME=str(home), DO_NOT_TRACK="1", BENTOML_DO_NOT_TRACK="true", DAGSTER_DISABLE_TELEMETRY="1")
    command = [sys.executable, "-m", "orchestration.retrain", "--profile", "tiny", "--archive", str(archive), *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def undisturbed(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A workspace in which one retrain ran to its end; the tests go on in it, in their order: each run costs a minute."""
    root = tmp_path_factory.mktemp("undisturbed") / "home"
    code, log = retrain(root, archive, "--day", FIRST_DAY)
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
    assert "new_words" in summary["drift"]["columns"]
    assert "score" not in summary["drift"]["columns"], "there is no champion yet whose scores could be compared"
    for page in ("report.html", "drift.html"):
        assert (undisturbed.root / "reports" / "latest" / page).stat().st_size > 10_000


def test_a_second_retrain_of_the_same_day_makes_the_same_release(undisturbed: Home, archive: Path) -> None:
    before = read_champion(undisturbed.releases)
    code, log = retrain(undisturbed.root, archive, "--day", FIRST_DAY)
    assert code == 0, log
    assert summary_of(undisturbed)["bundle"]["release_id"] == before
    assert read_champion(undisturbed.releases) == before


def test_a_challenger_is_held_against_the_champion_on_the_day_that_neither_saw(undisturbed: Home, archive: Path) -> None:
    champion = read_champion(undisturbed.releases)
    code, log = retrain(undisturbed.root, archive, "--day", SECOND_DAY)
    assert code == 0, log
    promotion = summary_of(undisturbed)["promotion"]
    assert {"score", "surprise"} <= set(summary_of(undisturbed)["drift"]["columns"]), "the champion's, of both days"
    assert promotion["release"] != champion
    assert promotion["rule"] in {"not_worse", "worse", "slice_worse"}
    promoted = promotion["decision"] == "promote"
    assert read_champion(undisturbed.releases) == (promotion["release"] if promoted else champion)
    assert champion is not None
    before, after = (open_bundle(undisturbed.releases / release) for release in (champion, promotion["release"]))
    artifacts = DayArtifacts.of(undisturbed, date.fromisoformat(SECOND_DAY))
    assert read_json(artifacts.adapter / "tuning.json")["went_on_from"] == champion, "an ordinary day keeps the adapter"
    assert read_json(artifacts.alignment / "towers.json")["went_on_from"] == champion, "and starts from its towers"
    assert after.manifest["codebook_version"] == before.manifest["codebook_version"], "so that codes keep their meaning"
    assert read_json(artifacts.codes / "health.json")["churn_per_retrain"]["known"] > 0


def test_a_failed_data_test_stops_everything_downstream_and_the_champion_stays(undisturbed: Home, archive: Path) -> None:
    champion = read_champion(undisturbed.releases)
    # A ledger that does not add up: somebody changed the landing area behind the landing code's back.
    ledger = partition(undisturbed.landing, "ledger", date.fromisoformat(FIRST_DAY))
    table = pq.ParquetFile(ledger).read()
    lost = table.set_column(table.schema.get_field_index("landed"), "landed", pa.array([0] * len(table), pa.int64()))
    pq.write_table(lost, ledger)
    code, log = retrain(undisturbed.root, archive, "--day", SECOND_DAY)
    assert code == 1, log
    assert "▶ llm_adapter" not in log
    assert read_champion(undisturbed.releases) == champion


def test_a_missing_archive_is_one_line_with_its_remedy(tmp_path: Path) -> None:
    code, log = retrain(tmp_path / "home", tmp_path / "nowhere", "--platform", "twitch")
    assert code == 1
    assert "nowhere" in log
    assert "Traceback" not in log
