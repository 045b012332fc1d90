"""When the LLM is tuned fully, and what it goes on from on other days: a truth table over policies, drift and releases."""

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from livealign.backbone import Backbone
from livealign.bundle import open_bundle, write_bundle
from livealign.config import Profile, RetuneConfig, load_profile
from livealign.errors import LiveAlignError
from livealign.files import replace_json
from livealign.predecessor import predecessor
from livealign.releases import promote, rollback
from livealign.retune import RECORD, Tuning, choose_tuning, write_tuning
from tests.test_bundle import FIELDS

DAY = date(2025, 6, 10)
BACKBONE = cast(Backbone, SimpleNamespace(sha256="abc", name="planted"))


@dataclass(frozen=True)
class Made:
    """How the release before was made."""

    last_full_tune: str | None = "2025-06-09"
    rank: int = 8
    sha256: str = "abc"


def release(releases: Path, day: str, made: Made | None = None) -> str:
    made = made or Made()
    profile = load_profile("laptop")
    config = replace(profile, finetune=replace(profile.finetune, rank=made.rank)).to_dict()
    fields: dict[str, Any] = {**FIELDS, "config": config, "backbone": {"id": "planted", "sha256": made.sha256}}
    parts = {"adapter/adapter_model.safetensors": day.encode()}
    if made.last_full_tune:
        replace_json(releases / "scratch.json", {"last_full_tune": made.last_full_tune})
        parts["adapter/tuning.json"] = (releases / "scratch.json").read_bytes()
    return write_bundle(releases, parts, fields | {"data_window": {"start": "2025-06-02", "end": day}}).name


def chosen(
    releases: Path, made: Made, policy: str = "on_drift", drifted: list[date] | None = None, asked: str = "", age: int = 7
) -> Tuning:
    profile: Profile = replace(load_profile("laptop"), retune=RetuneConfig(policy=policy, max_age_days=age))
    bundle = open_bundle(releases / release(releases, "2025-06-09", made))
    return choose_tuning(DAY, profile, BACKBONE, bundle, drifted or [], asked)


def test_the_first_release_is_tuned_fully() -> None:
    tuning = choose_tuning(DAY, load_profile("laptop"), BACKBONE, None)
    assert tuning.full
    assert tuning.last_full_tune == DAY
    assert tuning.warm_start is None


def test_an_ordinary_day_goes_on_from_the_champion_for_a_few_steps(tmp_path: Path) -> None:
    tuning = chosen(tmp_path, Made())
    assert not tuning.full
    assert tuning.steps == load_profile("laptop").finetune.warm_steps < load_profile("laptop").finetune.steps
    assert tuning.warm_start is not None
    assert (tuning.warm_start / "adapter_model.safetensors").is_file()
    assert tuning.last_full_tune == date(2025, 6, 9)
    assert tuning.went_on_from is not None
    assert tuning.went_on_from.startswith("2025-06-09-")


@pytest.mark.parametrize(
    ("made", "policy", "drifted", "asked", "why"),
    [
        (Made(), "daily", [], "", "every day"),
        (Made(), "on_drift", [date(2025, 6, 9)], "", "content drifted on 2025-06-09"),
        (Made(), "on_drift", [date(2025, 6, 8)], "", ""),  # that day was learned from by the full tune since
        (Made(), "weekly", [date(2025, 6, 9)], "", ""),
        (Made(last_full_tune="2025-06-04"), "weekly", [], "", ""),
        (Made(last_full_tune="2025-06-03"), "weekly", [], "", "7 days old"),
        (Made(last_full_tune="2025-06-03"), "on_drift", [], "", "7 days old"),
        (Made(), "weekly", [], "a person wants it", "a person wants it"),
        (Made(rank=4), "weekly", [], "", "another finetune.rank"),
        (Made(sha256="other"), "weekly", [], "", "another backbone"),
        (Made(last_full_tune=None), "weekly", [], "", "does not say when"),
    ],
)
def test_what_asks_for_a_full_tune_and_what_does_not(
    tmp_path: Path, made: Made, policy: str, drifted: list[date], asked: str, why: str
) -> None:
    tuning = chosen(tmp_path, made, policy, drifted, asked)
    assert tuning.full == bool(why), tuning.reason
    assert why in tuning.reason
    assert tuning.last_full_tune == (DAY if tuning.full else date.fromisoformat(made.last_full_tune or ""))


def test_the_choice_is_kept_without_anything_that_differs_from_run_to_run(tmp_path: Path) -> None:
    tuning = chosen(tmp_path / "releases", Made())
    for name in ("a", "b"):
        write_tuning(tuning, tmp_path / name)
    assert (tmp_path / "a" / RECORD).read_bytes() == (tmp_path / "b" / RECORD).read_bytes()


def test_a_policy_that_there_is_not_is_refused() -> None:
    with pytest.raises(LiveAlignError, match="choose one of daily, weekly, on_drift"):
        RetuneConfig(policy="monthly")


def test_a_day_goes_on_from_the_newest_champion_before_it_however_often_it_is_retrained(tmp_path: Path) -> None:
    eighth, ninth, tenth = (release(tmp_path, f"2025-06-{day:02d}") for day in (8, 9, 10))
    assert predecessor(tmp_path, DAY) is None, "a bundle that was never champion is none"
    for one in (eighth, ninth, tenth):
        promote(tmp_path, one)
    found = predecessor(tmp_path, DAY)
    assert found is not None
    assert found.release_id == ninth, "not the champion of that very day"
    assert predecessor(tmp_path, date(2025, 6, 8)) is None


def test_a_release_that_was_rolled_back_or_is_damaged_is_not_gone_on_from(tmp_path: Path) -> None:
    seventh, eighth, ninth = (release(tmp_path, f"2025-06-{day:02d}") for day in (7, 8, 9))
    for one in (seventh, eighth, ninth):
        promote(tmp_path, one)
    rollback(tmp_path)
    found = predecessor(tmp_path, DAY)
    assert found is not None
    assert found.release_id == eighth
    (tmp_path / eighth / "adapter" / "adapter_model.safetensors").write_bytes(b"torn")
    found = predecessor(tmp_path, DAY)
    assert found is not None
    assert found.release_id == seventh
