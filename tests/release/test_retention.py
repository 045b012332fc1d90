"""Pruning deletes old files, keeps what champion and rollback need, and survives a kill."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from livealign.days import partition
from livealign.errors import BundleError
from livealign.events.intake import EventIntake
from livealign.events.log import EventLog
from livealign.events.log_files import log_files
from livealign.home import Home
from livealign.operation_config import RetentionConfig
from livealign.release.challengers import serve
from livealign.release.decisions import write_decision
from livealign.release.promotion import Decision
from livealign.release.registry import CHALLENGERS, list_releases, promote, read_champion, rollback
from livealign.release.retention import Pruning, plan_pruning, prune
from tests.release.test_registry import release

FIRST = date(2025, 1, 1)
DAYS = [FIRST + timedelta(days=number) for number in range(28)]
POLICY = RetentionConfig(
    landing_days=10, marts_days=6, artifacts_days=4, reports_days=5, encoder_versions=2, releases=3, rollback_champions=1
)


def fill(path: Path, size: int = 10) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """28 days of everything; releases of the days 20 to 27, the 20th, 21st and 22nd of which were promoted in turn."""
    home = Home(tmp_path, "simulator")
    home.activate()
    for day in DAYS:
        for table in ("impressions", "ledger", "rejects/impressions"):
            fill(partition(home.landing, table, day))
        for table in ("interactions", "int_user_days"):
            fill(partition(home.warehouse_tables, table, day), size=100)
        published = partition(home.marts, "interactions", day)
        published.parent.mkdir(parents=True)
        published.hardlink_to(partition(home.warehouse_tables, "interactions", day))
        fill(home.artifacts / day.isoformat() / "ranker" / "scores.npy")
        fill(home.reports / day.isoformat() / "summary.json")
    for number, version in enumerate(("old", "middle", "new")):
        fill(home.embedding_cache / version / "shard.arrow")
        os.utime(home.embedding_cache / version, (number, number))
    for number in range(20, 28):
        one = release(home.releases, number)
        write_decision(home.releases, one, None, Decision("keep", "worse", "Kept, because.", {}))
        fill(home.bento(one) / "bento.yaml")
        if number <= 22:
            promote(home.releases, one)
    return home


def names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir() if not path.name.startswith(".")}


def test_what_is_old_goes_and_what_is_needed_stays(home: Home) -> None:
    planned = plan_pruning(home, POLICY)
    assert planned.problems == []
    assert sum(one.bytes for one in planned.removals if one.kind == "mart") == 100 * len(
        [one for one in planned.removals if one.path.parent.parent == home.marts]
    )
    prune(home, planned)
    # Releases: the three newest, the champion of day 22 and the one before it.
    ids = {name for name in names(home.releases) if name.startswith("2025") and not name.endswith(".json")}
    assert {one[8:10] for one in ids} == {"21", "22", "25", "26", "27"}
    assert names(home.bentos) == ids
    assert {name.removesuffix(".decision.json") for name in names(home.releases) if name.endswith(".decision.json")} == ids
    # Both were made from the days 1 to 22 (the planted window), so their partitions stay beside the newest days.
    for root in (home.marts / "interactions", home.landing / "impressions", home.landing / "rejects" / "impressions"):
        assert {f"dt={day}" for day in DAYS[:22]} <= names(root)
    assert names(home.embedding_cache) == {"middle", "new"}


def test_without_a_champion_only_the_newest_days_stay(home: Home) -> None:
    (home.releases / "champion").unlink()
    (home.releases / "history.jsonl").unlink()
    prune(home, plan_pruning(home, POLICY))
    assert names(home.marts / "interactions") == {f"dt={day}" for day in DAYS[-6:]}
    assert names(home.warehouse_tables / "interactions") == {f"dt={day}" for day in DAYS[-6:]}, "or it would be published again"
    assert names(home.warehouse_tables / "int_user_days") == {f"dt={day}" for day in DAYS[-10:]}
    for table in ("impressions", "ledger", "rejects/impressions"):
        assert names(home.landing / table) == {f"dt={day}" for day in DAYS[-10:]}
    assert {name for name in names(home.artifacts) if name != "embedding_cache"} == {day.isoformat() for day in DAYS[-4:]}
    assert names(home.reports) == {day.isoformat() for day in DAYS[-5:]}


def test_a_dry_run_touches_nothing(home: Home) -> None:
    before = sorted(home.root.rglob("*"))
    planned = plan_pruning(home, POLICY)
    assert planned.removals
    assert sorted(home.root.rglob("*")) == before


def test_every_rollback_that_the_policy_promises_still_works(home: Home) -> None:
    champion = read_champion(home.releases)
    prune(home, plan_pruning(home, POLICY))
    before = rollback(home.releases)
    assert before[8:10] == "21"
    assert home.bento(before).is_dir()
    with pytest.raises(BundleError, match="no release bundle"):
        rollback(home.releases)  # further back than the policy keeps
    assert read_champion(home.releases) == before
    promote(home.releases, str(champion))


def test_a_release_that_became_champion_after_the_plan_stays(home: Home) -> None:
    planned = plan_pruning(home, POLICY)
    doomed = next(name for name in names(home.releases) if name[8:10] == "24" and not name.endswith(".json"))
    assert home.releases / doomed in {one.path for one in planned.removals}
    promote(home.releases, doomed)
    prune(home, planned)
    promote(home.releases, next(name for name in names(home.releases) if name[8:10] == "22" and not name.endswith(".json")))
    assert rollback(home.releases) == doomed
    assert home.bento(doomed).is_dir()
    assert (home.marts / "interactions" / f"dt={DAYS[22]}").is_dir()


def test_the_days_of_a_first_champion_that_was_promoted_after_the_plan_stay(home: Home) -> None:
    (home.releases / "champion").unlink()
    (home.releases / "history.jsonl").unlink()
    planned = plan_pruning(home, POLICY)
    promote(home.releases, max(name for name in names(home.releases) if not name.endswith(".json")))
    prune(home, planned)
    for root in (home.marts / "interactions", home.landing / "impressions"):
        assert {f"dt={day}" for day in DAYS[:22]} <= names(root)  # the planted window


def test_while_the_challengers_cannot_be_read_every_release_stays(home: Home) -> None:
    (home.releases / CHALLENGERS).write_text("xx")
    planned = plan_pruning(home, POLICY)
    assert set(planned.protected) == {one.release_id for one in list_releases(home.releases)}
    assert any("challengers.json" in problem for problem in planned.problems)
    prune(home, planned)
    assert set(planned.protected) <= names(home.releases)


def test_a_challenger_that_is_served_stays_also_when_it_was_served_after_the_plan(home: Home) -> None:
    ids = [one.release_id for one in list_releases(home.releases)]
    early, late = (one for one in ids if one[8:10] in ("23", "24"))
    serve(home.releases, early, 0.1)
    planned = plan_pruning(home, POLICY)
    assert early in planned.protected
    serve(home.releases, late, 0.1)
    prune(home, planned)
    assert {early, late} <= names(home.releases) & names(home.bentos)


def test_one_day_of_a_clock_that_jumped_costs_one_day(home: Home) -> None:
    (home.releases / "champion").unlink()
    (home.releases / "history.jsonl").unlink()
    fill(home.marts / "interactions" / "dt=2099-01-01" / "part-0.parquet")
    prune(home, plan_pruning(home, POLICY))
    assert names(home.marts / "interactions") == {"dt=2099-01-01", *(f"dt={day}" for day in DAYS[-5:])}


def test_without_a_readable_champion_nothing_is_planned(home: Home) -> None:
    (home.releases / "champion").write_text("what?")
    with pytest.raises(BundleError, match="no release id"):
        plan_pruning(home, POLICY)


def test_a_protected_release_that_is_damaged_is_told_and_kept(home: Home) -> None:
    champion = read_champion(home.releases)
    (home.releases / str(champion) / "manifest.json").write_text("{")
    planned = plan_pruning(home, POLICY)
    assert str(champion) in planned.problems[0]
    assert home.releases / str(champion) not in {one.path for one in planned.removals}


def test_a_pruning_that_was_killed_is_finished_by_the_next(home: Home) -> None:
    program = """
import os, shutil, signal, sys
from pathlib import Path
from livealign.home import Home
from livealign.release import retention
from tests.release.test_retention import POLICY
removed = []
def die(path):
    removed.append(path)
    if len(removed) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
retention._delete = die
home = Home(Path(sys.argv[1]), "simulator")
retention.prune(home, retention.plan_pruning(home, POLICY))
"""
    twin = home.root.parent / "twin"
    shutil.copytree(home.root, twin, symlinks=True)
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program, str(twin)], env={**os.environ, "PYTHONPATH": str(root)}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(twin.rglob(".tmp-pruned-*"))
    other = Home(twin, "simulator")
    prune(other, plan_pruning(other, POLICY))
    prune(home, plan_pruning(home, POLICY))
    assert left(other) == left(home)


def left(home: Home) -> set[str]:
    return {str(path.relative_to(home.root)) for path in home.root.rglob("*") if path.name != ".lock"}


def test_closed_event_files_go_only_when_all_their_days_are_landed_and_old(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    day_seconds = 86_400
    clock = [0.0]
    with EventLog(folder, clock=lambda: clock[0]) as log:
        intake = EventIntake.open(log, clock=lambda: clock[0])
        for number in range(1, 32):  # the last three are of days that were never landed
            clock[0] = (date(2025, 1, 1) - date(1970, 1, 1)).days * day_seconds + (number - 1) * day_seconds + 43_200
            item = {
                "kind": "like",
                "event_id": f"e{number}",
                "at": int(clock[0] * 1000),
                "room_id": 1,
                "author_id": 2,
                "user_id": 3,
            }
            assert len(intake.ingest([item]).accepted) == 1
    assert len(log_files(folder)) == 31

    def gone(config: RetentionConfig) -> list[str]:
        return [one.path.name for one in plan_pruning(home, config, folder).removals if one.kind == "event log"]

    assert gone(replace(POLICY, event_log_days=25)) == [f"events-{number:08d}.log" for number in (1, 2, 3)]
    assert gone(replace(POLICY, event_log_days=0)) == [f"events-{number:08d}.log" for number in range(1, 29)]
    shutil.rmtree(home.landing / "ledger" / f"dt={DAYS[1]}")  # a day whose landing did not end
    assert gone(replace(POLICY, event_log_days=0)) == ["events-00000001.log"]
    prune(home, plan_pruning(home, replace(POLICY, event_log_days=0), folder))
    assert len(log_files(folder)) == 30


def test_nothing_to_prune_is_nothing_done(tmp_path: Path) -> None:
    home = Home(tmp_path, "simulator")
    planned = plan_pruning(home, POLICY)
    assert planned == Pruning([], [], frozenset(), [])
    assert prune(home, planned) == []
    assert list(tmp_path.iterdir()) == []


def test_an_open_log_file_and_one_that_reaches_into_a_young_day_stay(home: Home, tmp_path: Path) -> None:
    folder, seconds = tmp_path / "log", [0.0]

    def log_of(*days: int) -> EventLog:
        """A file with one event of each of the days (1 is the first), which is open."""
        log = EventLog(folder, clock=lambda: 0.0)
        for number in days:
            seconds[0] = (DAYS[number - 1] - date(1970, 1, 1)).days * 86_400 + 43_200
            event = {"kind": "like", "event_id": f"e{number}", "at": int(seconds[0] * 1000)}
            intake = EventIntake(log, lambda: seconds[0])
            assert len(intake.ingest([event | {"room_id": 1, "author_id": 2, "user_id": 3}]).accepted) == 1
        return log

    def gone() -> list[str]:
        planned = plan_pruning(home, replace(POLICY, event_log_days=10), folder)
        return [one.path.name for one in planned.removals if one.kind == "event log"]

    log = log_of(1, 2)
    assert gone() == [], "it is written to"
    log.close()
    assert gone() == ["events-00000001.log"]
    log_of(3, 25).close()
    assert gone() == ["events-00000001.log"], "day 25 is young"
