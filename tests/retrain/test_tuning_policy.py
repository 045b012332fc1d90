"""When the LLM is tuned fully, and what it goes on from on other days: a truth table over policies, drift and releases."""

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from livealign.config import RetuneConfig
from livealign.errors import BackboneError, LiveAlignError
from livealign.files import replace_json
from livealign.llm.adapter_folder import adapter_sha256
from livealign.llm.backbone import Backbone
from livealign.llm.model_folder import Identity
from livealign.profiles import Profile, load_profile
from livealign.release.bundle import open_bundle, write_bundle
from livealign.release.registry import previous_release, promote, rollback
from livealign.retrain.tuning_policy import RECORD, TuningPlan, choose_tuning, continued_from, write_tuning
from livealign.tuning.adapter import copy_adapter
from tests.release.test_bundle import FIELDS

DAY = date(2025, 6, 10)
BACKBONE = cast(Backbone, SimpleNamespace(sha256="abc", identity=Identity("abc", "abc"), name="planted", n_layers=30))


@dataclass(frozen=True)
class Made:
    """How the release before was made."""

    last_full_tune: str | None = "2025-06-09"
    rank: int = 8
    sha256: str = "abc"
    half_life_seconds: float = 20.0
    prefix_tokens: int = 0
    number_type: str = "auto"
    frozen: bool = False


def release(releases: Path, day: str, made: Made | None = None) -> str:
    made = made or Made()
    profile = load_profile("laptop")
    config = replace(
        profile,
        finetune=replace(profile.finetune, rank=made.rank, frozen=made.frozen),
        dataset=replace(profile.dataset, half_life_seconds=made.half_life_seconds),
        frames=replace(profile.frames, prefix_tokens=made.prefix_tokens),
        encoder=replace(profile.encoder, number_type=made.number_type),
    ).of_a_release()
    fields: dict[str, Any] = {**FIELDS, "config": config, "backbone": {"id": "planted", "sha256": made.sha256}}
    parts = {"adapter/adapter_model.safetensors": day.encode()}
    if made.last_full_tune:
        replace_json(releases / "scratch.json", {"last_full_tune": made.last_full_tune})
        parts["adapter/tuning.json"] = (releases / "scratch.json").read_bytes()
    return write_bundle(
        releases, parts, fields | {"data_window": {"start": "2025-06-02", "train_end": "2025-06-07", "end": day}}
    ).name


def chosen(
    releases: Path, made: Made, policy: str = "on_drift", drifted: list[date] | None = None, asked: str = "", age: int = 7
) -> TuningPlan:
    profile: Profile = replace(load_profile("laptop"), retune=RetuneConfig(policy=policy, max_age_days=age))
    bundle = open_bundle(releases / release(releases, "2025-06-09", made))
    return choose_tuning(DAY, profile, BACKBONE, bundle, drifted or [], asked)


def test_the_first_release_is_tuned_fully() -> None:
    tuning = choose_tuning(DAY, load_profile("laptop"), BACKBONE, None)
    assert tuning.full
    assert tuning.last_full_tune == DAY
    assert tuning.warm_start is None


def test_an_ordinary_day_keeps_the_adapter_of_the_champion(tmp_path: Path) -> None:
    tuning = chosen(tmp_path, Made())
    assert not tuning.full
    assert tuning.steps == load_profile("laptop").finetune.warm_steps == 0
    assert tuning.reason.startswith("Kept the adapter of 2025-06-09-")
    assert tuning.warm_start is not None
    assert (tuning.warm_start / "adapter_model.safetensors").is_file()
    assert tuning.last_full_tune == date(2025, 6, 9)
    assert tuning.continued_from is not None
    assert tuning.continued_from.startswith("2025-06-09-")


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
        (Made(half_life_seconds=60.0), "weekly", [], "", "another dataset.half_life_seconds"),
        (Made(prefix_tokens=4), "weekly", [], "", "an LLM that reads other pictures or none"),
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


def test_an_llm_that_reads_pictures_is_tuned_anew_for_another_image_encoder(tmp_path: Path) -> None:
    bundle = open_bundle(tmp_path / release(tmp_path, "2025-06-09", Made(prefix_tokens=4)))
    laptop = load_profile("laptop")
    same = replace(laptop, frames=replace(laptop.frames, prefix_tokens=4))
    assert not choose_tuning(DAY, same, BACKBONE, bundle).full
    other = replace(same, frames=replace(same.frames, backbone="pixels"))
    assert "other pictures" in choose_tuning(DAY, other, BACKBONE, bundle).reason


def test_a_frozen_llm_takes_no_step_and_follows_no_tuned_one(tmp_path: Path) -> None:
    laptop = load_profile("laptop")
    frozen = replace(laptop, finetune=replace(laptop.finetune, frozen=True, warm_steps=20))
    first = choose_tuning(DAY, frozen, BACKBONE, None)
    assert (first.full, first.steps) == (True, 0)
    assert first.reason == "Left frozen, as finetune.frozen says: there is no earlier release to start from."
    tuned = open_bundle(tmp_path / release(tmp_path, "2025-06-09"))
    assert "another finetune.frozen" in choose_tuning(DAY, frozen, BACKBONE, tuned).reason
    del tuned.manifest["config"]["finetune"]["frozen"]  # as releases were before the setting
    assert "another finetune.frozen" in choose_tuning(DAY, frozen, BACKBONE, tuned).reason
    assert not choose_tuning(DAY, laptop, BACKBONE, tuned).full
    before = open_bundle(tmp_path / release(tmp_path, "2025-06-09", Made(frozen=True)))
    kept = choose_tuning(DAY, frozen, BACKBONE, before)
    assert (kept.full, kept.steps) == (False, 0)


@pytest.mark.parametrize(("theirs", "mine"), [("auto", "int8"), ("int8", "auto")])
def test_another_number_type_keeps_the_adapter_which_was_tuned_in_the_same_numbers(
    tmp_path: Path, theirs: str, mine: str
) -> None:
    def of(number_type: str) -> Profile:
        laptop = load_profile("laptop")
        return replace(laptop, encoder=replace(laptop.encoder, number_type=number_type))

    bundle = open_bundle(tmp_path / release(tmp_path, "2025-06-09", Made(number_type=theirs)))
    tuning = choose_tuning(DAY, of(mine), BACKBONE, bundle)
    assert not tuning.full, tuning.reason


def test_the_choice_is_kept_without_anything_that_differs_from_run_to_run(tmp_path: Path) -> None:
    tuning = chosen(tmp_path / "releases", Made())
    for name in ("a", "b"):
        write_tuning(tuning, tmp_path / name)
    assert (tmp_path / "a" / RECORD).read_bytes() == (tmp_path / "b" / RECORD).read_bytes()


def test_what_follows_from_the_adapter_goes_on_only_where_the_adapter_did(tmp_path: Path) -> None:
    eighth, ninth = (open_bundle(tmp_path / release(tmp_path, f"2025-06-{day:02d}")) for day in (8, 9))
    laptop = load_profile("laptop")
    write_tuning(choose_tuning(DAY, laptop, BACKBONE, ninth), tmp_path / "kept")
    write_tuning(choose_tuning(DAY, laptop, BACKBONE, ninth, asked="a person wants it"), tmp_path / "tuned")
    assert continued_from(tmp_path / "kept", ninth) is ninth
    assert continued_from(tmp_path / "kept", eighth) is None, "another champion since"
    assert continued_from(tmp_path / "kept", None) is None
    assert continued_from(tmp_path / "tuned", ninth) is None
    assert continued_from(tmp_path / "nowhere", ninth) is None


def test_a_kept_adapter_is_the_same_adapter_without_its_report(tmp_path: Path) -> None:
    for name, content in (("adapter_model.safetensors", "weights"), ("adapter_config.json", '{"r": 8, "lora_alpha": 16}')):
        (tmp_path / "former").mkdir(exist_ok=True)
        (tmp_path / "former" / name).write_text(content)
    (tmp_path / "former" / "finetune.json").write_text("{}")
    copy_adapter(tmp_path / "former", tmp_path / "kept")
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert adapter_sha256(tmp_path / "kept") == adapter_sha256(tmp_path / "former")
    with pytest.raises(BackboneError, match="holds no adapter"):
        copy_adapter(tmp_path, tmp_path / "none")


def test_a_policy_that_there_is_not_is_refused() -> None:
    with pytest.raises(LiveAlignError, match="set one of daily, weekly, on_drift"):
        RetuneConfig(policy="monthly")


def test_a_day_goes_on_from_the_newest_champion_before_it_however_often_it_is_retrained(tmp_path: Path) -> None:
    eighth, ninth, tenth = (release(tmp_path, f"2025-06-{day:02d}") for day in (8, 9, 10))
    assert previous_release(tmp_path, DAY) is None, "a bundle that was never champion is none"
    for one in (eighth, ninth, tenth):
        promote(tmp_path, one)
    found = previous_release(tmp_path, DAY)
    assert found is not None
    assert found.release_id == ninth, "not the champion of that very day"
    assert previous_release(tmp_path, date(2025, 6, 8)) is None


def test_a_release_that_was_rolled_back_or_is_damaged_is_not_gone_on_from(tmp_path: Path) -> None:
    seventh, eighth, ninth = (release(tmp_path, f"2025-06-{day:02d}") for day in (7, 8, 9))
    for one in (seventh, eighth, ninth):
        promote(tmp_path, one)
    rollback(tmp_path)
    found = previous_release(tmp_path, DAY)
    assert found is not None
    assert found.release_id == eighth
    (tmp_path / eighth / "adapter" / "adapter_model.safetensors").write_bytes(b"torn")
    found = previous_release(tmp_path, DAY)
    assert found is not None
    assert found.release_id == seventh


def test_an_adapter_that_has_read_days_that_are_judged_is_not_kept(tmp_path: Path) -> None:
    laptop = load_profile("laptop")
    bundle = open_bundle(tmp_path / release(tmp_path, "2025-06-09", Made()))
    judged = choose_tuning(DAY, laptop, BACKBONE, bundle, read_until=date(2025, 5, 28))
    assert judged.full
    assert "was tuned on days after 2025-05-28, which are judged" in judged.reason
    assert judged.read_until == date(2025, 5, 28)
    write_tuning(judged, tmp_path / "cut")
    assert '"read_until": "2025-05-28"' in (tmp_path / "cut" / RECORD).read_text()
    # The next retrain, which may read a day more, keeps that adapter and what is known of it.
    fields = {name: value for name, value in bundle.manifest.items() if name not in ("files", "release_id", "created_at")}
    next_day = write_bundle(tmp_path / "next", {"adapter/tuning.json": (tmp_path / "cut" / RECORD).read_bytes()}, fields)
    kept = choose_tuning(DAY, laptop, BACKBONE, open_bundle(next_day), read_until=date(2025, 5, 29))
    assert not kept.full, kept.reason
    assert kept.read_until == date(2025, 5, 28)
    write_tuning(choose_tuning(DAY, laptop, BACKBONE, bundle), tmp_path / "all")
    assert "read_until" not in (tmp_path / "all" / RECORD).read_text(), "where no earlier day is judged nothing is added"
