"""A small workspace that an earlier version made is landed, scored, served, promoted and rolled back by the present code.

`planted/workspaces/<commit>.tar.xz` was made by that commit: `livealign simulate --users 40 --authors 150 --days 5`, retrains
of profile tiny for 2025-06-05 and 2025-06-06 (`--days 3`), `livealign promote` of the second, and a live core that took 900
events.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from livealign.config import LiveConfig
from livealign.dataset.corpus import load_corpus
from livealign.events.log import EventLog
from livealign.home import Home
from livealign.landing.partitions import landed_days
from livealign.landing.validate import validate_landing
from livealign.live.core import LiveCore
from livealign.profiles import load_profile
from livealign.release.bundle import HELD_OUT_SCORES, open_bundle
from livealign.release.registry import champion_path, list_releases, promote, read_champion, rollback
from livealign.retrain.champion import champion_scores

WORKSPACES = Path(__file__).parents[1] / "planted" / "workspaces"
DAY = date(2025, 6, 6)
FIRST, SECOND = "2025-06-05-cb2f29322596", "2025-06-06-0a513956f859"
LAST_EVENT = 1_749_210_902_180  # milliseconds: when the core was asked for its last list


@pytest.fixture(params=sorted(path.name.removesuffix(".tar.xz") for path in WORKSPACES.glob("*.tar.xz")))
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    with tarfile.open(WORKSPACES / f"{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    home = Home(tmp_path / "home", "simulator")
    home.workspace.parent.mkdir(parents=True)
    (tmp_path / "workspace").rename(home.workspace)
    return home


def test_its_landing_keeps_the_contract(home: Home) -> None:
    assert landed_days(home.landing) == [DAY]
    assert [problem for problem in validate_landing(home.landing) if problem.severity == "error"] == []


def test_its_releases_are_listed_rolled_back_and_promoted(home: Home) -> None:
    assert {release.release_id for release in list_releases(home.releases)} == {FIRST, SECOND}
    assert read_champion(home.releases) == SECOND
    rollback(home.releases)
    assert read_champion(home.releases) == FIRST
    promote(home.releases, SECOND, "tried again")
    assert read_champion(home.releases) == SECOND


def test_its_champion_scores_the_day_as_it_did_then(home: Home) -> None:
    champion = open_bundle(champion_path(home.releases))
    dataset = replace(load_profile("tiny").dataset, train_days=3)
    corpus = load_corpus(home.marts, DAY, dataset)
    scores = champion_scores(champion, corpus, home, dataset)[:, 0]
    with np.load(champion.file(HELD_OUT_SCORES), allow_pickle=False) as kept:
        then = dict(zip(kept["impression_id"].tolist(), kept["click"].tolist(), strict=True))
    before = np.array([then[impression] for impression in corpus.test.impression_id.tolist()])
    assert len(scores) == len(then)
    assert np.corrcoef(scores, before)[0, 1] > 0.99
    assert np.abs(scores - before).mean() < 0.01


def test_its_release_serves_and_its_event_log_and_checkpoint_are_read(home: Home, tmp_path: Path) -> None:
    live = tmp_path / "live"

    def clock() -> float:
        return LAST_EVENT / 1000

    core = LiveCore.open(
        champion_path(home.releases),
        EventLog(live / "log", clock),
        home.models,
        LiveConfig(),
        clock,
        checkpoint=live / "checkpoint.npz",
    )
    try:
        assert core.status().problems == ()
        assert core.rooms(limit=100)
        known = next(iter(np.load(open_bundle(champion_path(home.releases)).path / "vocabulary" / "users.npy")[1:].tolist()))
        answer = core.recommend(int(known), 5)
        assert len(answer.rooms) == 5
        assert answer.model_version == SECOND
    finally:
        core.stop()
