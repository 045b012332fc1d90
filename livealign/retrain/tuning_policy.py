"""Decide how to tune the LLM today: fully, warm-started, or not at all.

A full tune of the LLM learns what has changed. It costs minutes, all of the history has to be embedded again, and towers and
codes are trained again from scratch. On other days the champion's adapter is kept, or tuned for `finetune.warm_steps` more
steps. If it is kept, its vectors stay valid. Towers and codes then warm-start from the champion's too. The policy is
`retune.policy`; a person, or the sensor that saw content drift, may ask for a full tune on any day.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from livealign.config import RetuneConfig
from livealign.files import read_json, replace_json
from livealign.llm.backbone import Backbone
from livealign.llm.encoder import with_layers
from livealign.profiles import Profile
from livealign.release.bundle import ADAPTER, Bundle

RECORD = "tuning.json"  # beside the adapter, and with it in the bundle: no timings, so the same release has the same bytes


class Tuning(NamedTuple):
    """How the adapter of a day is tuned."""

    full: bool
    reason: str  # a sentence for people
    steps: int
    warm_start: Path | None  # folder of the adapter that the tuning starts from
    last_full_tune: date  # the day whose retrain tuned fully, this one or an earlier one
    went_on_from: str | None  # release id


def choose_tuning(
    day: date,
    profile: Profile,
    backbone: Backbone,
    before: Bundle | None,
    drifted: Sequence[date] = (),
    asked: str = "",
) -> Tuning:
    """A full tune or a warm start, with the reason.

    Args:
        before: the previous release (`livealign.release.registry`).
        drifted: earlier days whose content had drifted.
        asked: why a full tune is requested; empty without a request.
    """
    last = _last_full_tune(before)
    why = asked or _cannot_go_on(before, last, profile, backbone)
    if not why and last is not None:
        why = _due(day, last, drifted, profile.retune)
    if why or before is None or last is None:
        return Tuning(True, f"Tuned fully: {why}.", profile.finetune.steps, None, day, None)
    steps = min(profile.finetune.steps, profile.finetune.warm_steps)
    how = (
        f"Continued from the adapter of {before.release_id} for {steps} steps" if steps else f"Kept that of {before.release_id}"
    )
    reason = f"{how}: last tuned fully for {last}."
    return Tuning(False, reason, steps, before.path / ADAPTER, last, before.release_id)


def write_tuning(tuning: Tuning, adapter: Path) -> None:
    """Record the choice beside the adapter."""
    record = {"full": tuning.full, "last_full_tune": tuning.last_full_tune, "went_on_from": tuning.went_on_from}
    replace_json(adapter / RECORD, record)


def went_on_from(adapter: Path, before: Bundle | None) -> Bundle | None:
    """`before` if the adapter in this folder is its adapter or was tuned from it; else None."""
    if before is None or not (adapter / RECORD).is_file():
        return None
    return before if read_json(adapter / RECORD)["went_on_from"] == before.release_id else None


def _due(day: date, last: date, drifted: Sequence[date], config: RetuneConfig) -> str:
    """Why the policy asks for a full tune today; empty where it does not."""
    if config.policy == "daily":
        return "the policy is to tune fully every day"
    age = (day - last).days
    if age >= config.max_age_days:
        return f"the last full tune is {age} days old, and {config.max_age_days} is the limit"
    # A drifted day is first trained on by the retrain after it, so the tune of that very day did not see it.
    since = [drifted_day for drifted_day in drifted if last <= drifted_day < day]
    if config.policy == "on_drift" and since:
        return f"content drifted on {', '.join(map(str, since))}"
    return ""


def _cannot_go_on(before: Bundle | None, last: date | None, profile: Profile, backbone: Backbone) -> str:
    """Why the previous release's adapter cannot be kept; empty if it can."""
    if before is None:
        return "there is no earlier release to start from"
    if last is None:
        return f"{before.release_id} does not say when it was tuned"
    if before.manifest["backbone"]["sha256"] != backbone.sha256:
        return f"{before.release_id} has another backbone"
    theirs: dict[str, Any] = before.manifest["config"]
    mine = replace(profile, encoder=with_layers(backbone, profile.encoder)).to_dict()
    for stage, names in SAME.items():
        for name in names:
            # A config read from JSON has lists in place of tuples.
            if _plain(theirs.get(stage, {}).get(name)) != _plain(mine[stage][name]):
                return f"{before.release_id} was made with another {stage}.{name}"
    return ""


SAME = {  # settings that an adapter's weights depend on, and those of the content that its towers were trained on
    "finetune": ("rank", "alpha", "target_modules", "broadcast_windows"),
    "encoder": ("exit_layer", "first_adapted_layer", "pooling", "half_share"),
    "dataset": ("half_life_seconds",),
}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | list) else value


def _last_full_tune(before: Bundle | None) -> date | None:
    if before is None or f"{ADAPTER}/{RECORD}" not in before.manifest["files"]:
        return None
    return date.fromisoformat(read_json(before.path / ADAPTER / RECORD)["last_full_tune"])
