"""The decision of a night: two releases with planted scores, and where the pointer stands afterwards."""

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from livealign.dataset.corpus import load_corpus
from livealign.dataset.examples import TASKS
from livealign.errors import BackboneError, BundleError
from livealign.evaluation.frame import held_out_frame
from livealign.evaluation.held_out import ScoredDay
from livealign.files import read_json, replace_json
from livealign.home import Home
from livealign.ranking import ranker
from livealign.ranking.variants import RELEASE
from livealign.release.bundle import RANKER, Bundle, write_bundle
from livealign.release.decisions import decision_file, read_decision, unscored_days
from livealign.release.registry import promote, read_champion
from livealign.retrain import champion as champion_module
from livealign.retrain import release
from livealign.retrain.release import _champion, decide_promotion
from tests.planted.night import Night, plant_night
from tests.release.test_bundle import FIELDS


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Night:
    return plant_night(tmp_path_factory.mktemp("night") / "home")


@pytest.fixture
def night(planted: Night, tmp_path: Path) -> Night:
    return planted.copied(tmp_path / "home")


@pytest.fixture
def good(night: Night) -> NDArray:
    """The true probabilities of the held-out impressions."""
    return night.planted.truth(night.corpus.test.impression_id)[0]


@pytest.fixture
def poor(good: NDArray) -> NDArray:
    """Says nothing of the clicks."""
    return np.random.default_rng(0).permutation(good)


def decide(night: Night, checks: dict[str, bool] | None = None) -> dict[str, Any]:
    return decide_promotion(
        night.corpus,
        night.challenger.path,
        night.home,
        night.profile.dataset,
        night.profile,
        {"codes: codebook_is_healthy": True} if checks is None else checks,
    )


def test_a_better_challenger_becomes_the_champion_and_a_rerun_decides_the_same(
    night: Night, good: NDArray, poor: NDArray
) -> None:
    night.plant_scores(champion=poor, challenger=good)
    record = decide(night)
    assert (record["decision"], record["rule"], record["against"]) == ("promote", "not_worse", night.champion.release_id)
    numbers = record["numbers"]
    assert numbers["low"] > 0, "the challenger is surely better"
    assert numbers["difference"] == pytest.approx(numbers["challenger"]["gauc"] - numbers["champion"]["gauc"], abs=1e-9)
    assert numbers["challenger"]["n_users"] == numbers["champion"]["n_users"] >= night.profile.promotion.min_users
    assert {f"the {one} was not trained on {night.corpus.day}" for one in ("champion", "challenger")} <= set(numbers["checks"])
    assert read_champion(night.home.releases) == night.challenger.release_id
    assert read_json(night.artifacts.release / "promotion.json")["champion"] == night.challenger.release_id
    assert decide(night) == record
    assert read_decision(night.home.releases, night.challenger.release_id) == record


def test_a_better_champion_stays(night: Night, good: NDArray, poor: NDArray) -> None:
    night.plant_scores(champion=good, challenger=poor)
    record = decide(night)
    assert (record["decision"], record["rule"]) == ("keep", "worse")
    assert record["numbers"]["high"] < 0
    assert read_champion(night.home.releases) == night.champion.release_id
    assert read_json(night.artifacts.release / "promotion.json")["champion"] == night.champion.release_id


def test_a_failed_guard_keeps_a_better_challenger(night: Night, good: NDArray, poor: NDArray) -> None:
    night.plant_scores(champion=poor, challenger=good)
    record = decide(night, {"codes: codebook_is_healthy": False, "ledger: it adds up": True})
    assert (record["decision"], record["rule"]) == ("keep", "failed_checks")
    assert "codes: codebook_is_healthy" in record["reason"]
    assert "ledger" not in record["reason"]
    assert read_champion(night.home.releases) == night.champion.release_id


def test_a_damaged_challenger_is_refused_and_that_is_written_down(night: Night, good: NDArray, poor: NDArray) -> None:
    night.plant_scores(champion=poor, challenger=good)
    file = night.challenger.path / RANKER
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(BundleError, match="damaged"):
        decide(night)
    record = read_decision(night.home.releases, night.challenger.release_id)
    assert record is not None
    assert (record["decision"], record["rule"]) == ("keep", "failed_checks")
    assert RANKER in record["reason"]
    assert read_champion(night.home.releases) == night.champion.release_id


def test_a_damaged_champion_gives_way(night: Night, good: NDArray, poor: NDArray) -> None:
    night.plant_scores(champion=good, challenger=poor)
    file = night.champion.path / RANKER
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    record = decide(night)
    assert (record["decision"], record["rule"]) == ("promote", "champion_damaged")
    assert read_champion(night.home.releases) == night.challenger.release_id


def test_a_champion_whose_models_are_of_another_version_gives_way_and_the_reason_says_so(
    night: Night, good: NDArray, poor: NDArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.plant_scores(champion=good, challenger=poor)
    shutil.rmtree(night.artifacts.champion)
    monkeypatch.setattr(ranker, "_FORMAT", "ranker/99")
    record = decide(night)
    assert (record["decision"], record["rule"]) == ("promote", "champion_unreadable")
    assert "this version cannot read the champion's models" in record["reason"]
    assert "is no ranker of this version" in record["reason"]
    assert read_champion(night.home.releases) == night.challenger.release_id


def test_a_champion_without_its_backbone_stays_for_some_days_and_each_decision_says_how_long(
    night: Night, good: NDArray, poor: NDArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.plant_scores(champion=good, challenger=poor)
    shutil.rmtree(night.artifacts.champion)

    def missing(*_: object) -> None:
        raise BackboneError("no folder of backbones holds it; fetch it")

    monkeypatch.setattr(champion_module, "load_encoder", missing)
    record = decide(night)
    assert (record["decision"], record["rule"]) == ("keep", "champion_not_scored")
    assert "fetch it" in record["reason"]
    assert "gives way after 3 such days in a row, and this is day 1" in record["reason"]
    assert decide(night)["reason"] == record["reason"], "the same day again is no further day"
    for number in (1, 2):  # the decisions about two more challengers
        earlier = f"2025-02-0{number}-0123456789ab"
        numbers = record["numbers"] | {"challenger": {"day": earlier[:10]}}
        about = {**record, "release": earlier, "numbers": numbers, "decided_at": f"2025-02-0{number}T00:00:00+00:00"}
        replace_json(decision_file(night.home.releases, earlier), about)
    record = decide(night)
    assert (record["decision"], record["rule"]) == ("promote", "champion_not_scored")
    assert "could not be scored on 3 days in a row" in record["reason"]


def test_only_days_without_a_comparison_in_between_are_counted(night: Night) -> None:
    releases, champion = night.home.releases, night.champion.release_id

    def decided(day: int, rule: str, against: str = champion) -> None:
        record = {"release": f"2025-02-0{day}-0123456789ab", "against": against, "decision": "keep", "rule": rule, "reason": ""}
        record |= {"numbers": {"challenger": {"day": f"2025-02-0{day}"}}, "decided_at": f"2025-02-0{day}T00:00:00+00:00"}
        replace_json(decision_file(releases, str(record["release"])), record)

    assert unscored_days(releases, champion) == set()
    decided(1, "champion_not_scored")
    decided(2, "worse")
    decided(3, "champion_not_scored")
    decided(4, "champion_not_scored")
    assert unscored_days(releases, champion) == {"2025-02-03", "2025-02-04"}
    decided(5, "champion_not_scored", against="2025-01-01-0123456789ab")
    assert unscored_days(releases, champion) == set()


def test_a_challenger_without_scores_is_kept(night: Night, good: NDArray, poor: NDArray) -> None:
    night.plant_scores(champion=poor, challenger=good)
    (night.artifacts.ranker / "scores.npy").unlink()
    assert decide(night)["rule"] == "missing_metrics"
    assert read_champion(night.home.releases) == night.champion.release_id


def plant_earlier_day(night: Night) -> None:
    """The day before the last, scored by the truth as the challenger's method would have."""
    before = night.planted.days[-2]
    earlier = load_corpus(night.home.marts, before, night.profile.dataset)
    truth = night.planted.truth(earlier.test.impression_id)[0]
    scores = np.tile(truth.astype(np.float32)[:, None], (1, len(TASKS)))
    night.artifacts.rolling.mkdir(parents=True)
    frame = held_out_frame(earlier, night.home.marts, night.profile.evaluation)
    ScoredDay(frame, {RELEASE: scores}).save(night.artifacts.rolling / f"{before}.npz")


def test_a_day_that_the_champion_was_trained_on_is_not_compared_on(night: Night, good: NDArray, poor: NDArray) -> None:
    plant_earlier_day(night)
    night.plant_scores(champion=poor, challenger=good)
    record = decide(night)
    assert record["rule"] == "not_worse"
    assert "days" not in record["numbers"]["champion"], "only the last day is new to it"
    assert not night.artifacts.champion_on(night.planted.days[-2]).exists()


def test_an_older_champion_scores_every_day_that_is_new_to_it(tmp_path: Path) -> None:
    night = plant_night(tmp_path / "home", champion_days=1)
    good = night.planted.truth(night.corpus.test.impression_id)[0]
    plant_earlier_day(night)
    night.plant_scores(champion=np.random.default_rng(0).permutation(good), challenger=good)
    alone = night.artifacts.champion / f"{night.champion.release_id}.npy"
    record = decide(night)
    days = [day.isoformat() for day in night.planted.days[-2:]]
    assert (record["decision"], record["rule"]) == ("promote", "not_worse")
    for side in ("champion", "challenger"):
        assert record["numbers"][side]["days"] == days
    own = np.load(night.artifacts.champion_on(night.planted.days[-2]) / alone.name)
    assert len(own) == len(load_corpus(night.home.marts, night.planted.days[-2], night.profile.dataset).test)
    assert alone.exists(), "the scores of the last day are not replaced by those of an earlier one"


def test_a_champion_is_not_scored_on_a_day_that_it_was_trained_on(tmp_path: Path) -> None:
    home = Home(tmp_path, "planted")
    window = {"start": "2025-03-01", "train_end": "2025-03-04", "end": "2025-03-05"}
    promote(home.releases, write_bundle(home.releases, {"a": b"1"}, FIELDS | {"data_window": window}).name)
    for number, unseen in ((3, False), (4, False), (5, True)):
        day = date(2025, 3, number)
        champion, checks = _champion(home, day, {"healthy": True})
        assert checks == {"healthy": True, f"the champion was not trained on {day}": unseen}
        assert isinstance(champion, Bundle) == unseen


def test_the_decision_is_on_disk_before_the_pointer_moves(
    night: Night, good: NDArray, poor: NDArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.plant_scores(champion=poor, challenger=good)

    def killed(releases: Path, release_id: str, reason: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(release, "promote", killed)
    with pytest.raises(KeyboardInterrupt):
        decide(night)
    assert read_champion(night.home.releases) == night.champion.release_id
    record = read_decision(night.home.releases, night.challenger.release_id)
    assert record is not None
    assert record["decision"] == "promote"
