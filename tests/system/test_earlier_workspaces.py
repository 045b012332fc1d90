"""A small workspace that an earlier version made is landed, scored, served, retrained and rolled back by the present code.

`planted/workspaces/<commit>.tar.xz` was made by that commit: `livealign simulate`, retrains of profile tiny for the last two
days, `livealign promote` of the second, and a live core that took events after the second's snapshot. Kept are the landing of
the last day, the marts, the releases, and the files of `artifacts/` that a later retrain reads.

| commit | simulated | learned from |
|---|---|---|
| 2e3d9c0 | 40 users, 150 authors, 5 days | 3 days |
| 5280a85 | 30 users, 100 authors, 4 days | 2 days |
"""

import shutil
import tarfile
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from livealign.config import LiveConfig
from livealign.dataset.corpus import load_corpus
from livealign.events.log import EventLog
from livealign.files import read_json
from livealign.home import Home
from livealign.landing.partitions import landed_days
from livealign.landing.validate import validate_landing
from livealign.live.core import LiveCore
from livealign.profiles import load_profile
from livealign.release.bundle import ADAPTER, HELD_OUT_SCORES, open_bundle
from livealign.release.decisions import read_decision
from livealign.release.models import ReleaseModels
from livealign.release.registry import (
    champion_path,
    list_releases,
    previous_release,
    promote,
    read_champion,
    read_history,
    rollback,
)
from livealign.retrain.alignment import segments_coded_by
from livealign.retrain.artifacts import DayArtifacts, read_scores
from livealign.retrain.champion import champion_scores
from livealign.retrain.tuning_policy import RECORD
from livealign.simulation.archive import simulate
from livealign.simulation.config import SimulationConfig
from tests.support.forked_retrain import forked_retrain
from tests.support.parsed_project import parsed_project

WORKSPACES = Path(__file__).parents[1] / "planted" / "workspaces"


@dataclass(frozen=True)
class Workspace:
    """What was made by an earlier commit, in a home of its own."""

    home: Home
    first: str  # release id
    second: str
    day: date  # the second release's held-out day
    train_days: int
    last_event: int  # milliseconds: when the core was asked for its last list
    simulated: SimulationConfig


MADE_BY = {  # as `Workspace`
    "2e3d9c0": (
        "2025-06-05-cb2f29322596",
        "2025-06-06-0a513956f859",
        date(2025, 6, 6),
        3,
        1_749_210_902_180,
        SimulationConfig(users=40, authors=150, days=5),
    ),
    "5280a85": (
        "2025-06-04-0b6ade20a8d6",
        "2025-06-05-de22fe3b7ce6",
        date(2025, 6, 5),
        2,
        1_749_128_656_181,
        SimulationConfig(users=30, authors=100, days=4),
    ),
}


def test_each_kept_workspace_is_tried() -> None:
    assert sorted(path.name.removesuffix(".tar.xz") for path in WORKSPACES.glob("*.tar.xz")) == sorted(MADE_BY)


@pytest.fixture(params=MADE_BY)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    with tarfile.open(WORKSPACES / f"{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    home = Home(tmp_path / "home", "simulator")
    home.workspace.parent.mkdir(parents=True)
    (tmp_path / "workspace").rename(home.workspace)
    return Workspace(home, *MADE_BY[request.param])


def test_its_landing_keeps_the_contract(kept: Workspace) -> None:
    assert landed_days(kept.home.landing) == [kept.day]
    assert [problem for problem in validate_landing(kept.home.landing) if problem.severity == "error"] == []


def test_its_releases_are_listed_rolled_back_and_promoted(kept: Workspace) -> None:
    releases = kept.home.releases
    assert {release.release_id for release in list_releases(releases)} == {kept.first, kept.second}
    assert read_champion(releases) == kept.second
    rollback(releases)
    assert read_champion(releases) == kept.first
    promote(releases, kept.second, "tried again")
    assert read_champion(releases) == kept.second
    assert len(read_history(releases)) == 4


def test_its_decisions_and_the_records_of_its_retrain_are_read(kept: Workspace) -> None:
    for release_id in (kept.first, kept.second):
        decision = read_decision(kept.home.releases, release_id)
        assert decision is not None
        assert decision["release"] == release_id
    artifacts = DayArtifacts.of(kept.home, kept.day)
    assert read_json(artifacts.release / "bundle.json")["release_id"] == kept.second
    assert len(read_scores(artifacts)) == len(np.load(artifacts.ranker / HELD_OUT_SCORES)["click"])


def test_the_next_retrain_goes_on_from_its_champion(kept: Workspace) -> None:
    previous = previous_release(kept.home.releases, kept.day + timedelta(days=1))
    assert previous is not None
    assert previous.release_id == kept.second
    assert ReleaseModels(previous).alignment.sizes.users > 1
    coded = segments_coded_by(previous)
    assert coded is not None
    assert len(coded.segment_ids) > 1_000
    assert read_json(previous.path / ADAPTER / RECORD)["last_full_tune"] <= kept.day.isoformat()


def test_its_champion_scores_the_day_as_it_did_then(kept: Workspace) -> None:
    champion = open_bundle(champion_path(kept.home.releases))
    dataset = replace(load_profile("tiny").dataset, train_days=kept.train_days)
    corpus = load_corpus(kept.home.marts, kept.day, dataset)
    scores = champion_scores(champion, corpus, kept.home, dataset)[:, 0]
    with np.load(champion.file(HELD_OUT_SCORES), allow_pickle=False) as stored:
        then = dict(zip(stored["impression_id"].tolist(), stored["click"].tolist(), strict=True))
    before = np.array([then[impression] for impression in corpus.test.impression_id.tolist()])
    assert len(scores) == len(then)
    assert np.corrcoef(scores, before)[0, 1] > 0.99
    assert np.abs(scores - before).mean() < 0.01


def assert_serves(kept: Workspace, live: Path, release_id: str) -> None:
    """A core of the champion, on the event log and the checkpoint in the folder, has rooms and gives lists."""
    champion, now = champion_path(kept.home.releases), [kept.last_event]

    def clock() -> float:
        return now[0] / 1000

    log = EventLog(live / "log", clock)
    core = LiveCore.open(champion, log, kept.home.models, LiveConfig(), clock, checkpoint=live / "checkpoint.npz")
    try:
        now[0] = max(now[0], core.state.clock)  # a release of a later day knows later rooms
        assert core.status().problems == ()
        assert core.rooms(limit=100)
        known = next(iter(np.load(champion / "vocabulary" / "users.npy")[1:].tolist()))
        answer = core.recommend(int(known), 5)
        assert len(answer.rooms) == 5
        assert answer.model_version == release_id
    finally:
        core.stop()


def test_its_release_serves_beside_its_event_log_and_checkpoint(kept: Workspace, tmp_path: Path) -> None:
    assert_serves(kept, tmp_path / "live", kept.second)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_it_is_retrained_for_the_day_after_and_serves_and_goes_back(kept: Workspace, tmp_path: Path) -> None:
    archive, day = tmp_path / "archive", kept.day + timedelta(days=1)
    simulate(replace(kept.simulated, days=kept.simulated.days + 1), archive)
    shutil.move(parsed_project(tmp_path / "parsed", "simulator"), kept.home.dbt)
    arguments = ("--profile", "tiny", "--archive", str(archive), "--day", str(day), "--days", str(kept.train_days))
    arguments += ("--set", "drift.permutations=100")
    code, said = forked_retrain(kept.home.root, tmp_path / "retrain.log", *arguments)
    assert code == 0, said[-3_000:]
    releases = kept.home.releases
    (made,) = {release.release_id for release in list_releases(releases)} - {kept.first, kept.second}
    decision = read_decision(releases, made)
    assert decision is not None
    assert decision["against"] == kept.second
    assert decision["rule"] in {"not_worse", "worse", "slice_worse", "tie", "too_few_users"}, decision["reason"]
    if read_champion(releases) != made:
        promote(releases, made, "tried")
    assert_serves(kept, tmp_path / "live", made)
    rollback(releases)
    assert_serves(kept, tmp_path / "live", kept.second)
