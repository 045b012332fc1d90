"""Decide how to tune the LLM today: fully, warm-started, or not at all.

A full tune learns what has changed. It costs minutes, the new adapter has to embed all of the history again, and towers and
codes are trained from scratch. On other days the champion's adapter is copied, or tuned further for `finetune.warm_steps`. If
it is copied, cached vectors stay valid. Towers and codes then start from the champion's too. The setting is `retune.policy`; a
full tune can also be requested, by a person or by the sensor of content drift.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from livealign.config import SET, RetuneConfig
from livealign.files import read_json, replace_json
from livealign.llm.backbone import Backbone
from livealign.llm.fitting import with_layers
from livealign.profiles import Profile
from livealign.release.bundle import ADAPTER, Bundle, window_days

RECORD = "tuning.json"  # beside the adapter, and with it in the bundle: no timings, so the same release has the same bytes


class TuningPlan(NamedTuple):
    """The plan by which the adapter of a day is tuned."""

    full: bool
    reason: str  # a sentence for people
    steps: int
    warm_start: Path | None  # folder of the adapter to start from
    last_full_tune: date  # the latest day whose retrain tuned fully, up to this one
    continued_from: str | None  # release id
    read_until: date | None = None  # last day that the adapter was tuned on; None for the day before the retrain's


def choose_tuning(
    day: date,
    profile: Profile,
    backbone: Backbone,
    previous: Bundle | None,
    drifted: Sequence[date] = (),
    asked: str = "",
    read_until: date | None = None,
) -> TuningPlan:
    """The plan for a day, with its reason.

    Args:
        previous: the release that the day may start from (`livealign.release.registry`).
        drifted: earlier days whose content had drifted.
        asked: the reason of a requested full tune; empty without a request.
        read_until: the last day that the adapter may be tuned on, if later ones are judged (`livealign.retrain.judged_days`).
    """
    last = _last_full_tune(previous)
    why = asked or _why_no_warm_start(previous, last, profile, backbone) or _why_not_held_out(previous, read_until)
    if not why and last is not None:
        why = _due(day, last, drifted, profile.retune)
    frozen = profile.finetune.frozen
    if why or previous is None or last is None:
        if frozen:
            return TuningPlan(True, f"Left frozen, as finetune.frozen says: {why}.", 0, None, day, None, read_until)
        return TuningPlan(True, f"Tuned fully: {why}.", profile.finetune.steps, None, day, None, read_until)
    steps = 0 if frozen else min(profile.finetune.steps, profile.finetune.warm_steps)
    name = previous.release_id
    how = f"Continued from the adapter of {name} for {steps} steps" if steps else f"Kept the adapter of {name}"
    reason = f"{how}: last tuned fully for {last}."
    kept = read_until if steps else _read_until(previous)
    return TuningPlan(False, reason, steps, previous.path / ADAPTER, last, name, kept)


def write_tuning(plan: TuningPlan, adapter: Path) -> None:
    """Write the plan beside the adapter that was made by it."""
    record = {"full": plan.full, "last_full_tune": plan.last_full_tune, "went_on_from": plan.continued_from}
    if plan.read_until is not None:
        record["read_until"] = plan.read_until
    replace_json(adapter / RECORD, record, version=1)


def continued_from(adapter: Path, previous: Bundle | None) -> Bundle | None:
    """`previous`, if the adapter in this folder was copied or tuned further from its; else None."""
    if previous is None or not (adapter / RECORD).is_file():
        return None
    return previous if read_json(adapter / RECORD)["went_on_from"] == previous.release_id else None


def _due(day: date, last: date, drifted: Sequence[date], config: RetuneConfig) -> str:
    """The reason why the policy requires a full tune today; empty if it does not."""
    if config.policy == "daily":
        return "the policy is to tune fully every day"
    age = (day - last).days
    if age >= config.max_age_days:
        return f"the last full tune is {age} days old, and {config.max_age_days} is the limit"
    # The retrain of a drifted day does not train on it; the next one does.
    since = [drifted_day for drifted_day in drifted if last <= drifted_day < day]
    if config.policy == "on_drift" and since:
        return f"content drifted on {', '.join(map(str, since))}"
    return ""


def _why_no_warm_start(previous: Bundle | None, last: date | None, profile: Profile, backbone: Backbone) -> str:
    """The reason why no tune can start from the previous adapter; empty if it can."""
    if previous is None:
        return "there is no earlier release to start from"
    if last is None:
        return f"{previous.release_id} does not say when it was tuned"
    if not backbone.identity.is_called(previous.manifest["backbone"]["sha256"]):
        return f"{previous.release_id} has another backbone"
    theirs: dict[str, Any] = previous.manifest["config"]
    mine = replace(profile, encoder=with_layers(backbone, profile.encoder)).to_dict()
    for stage, names in SAME.items():
        for name in names:
            # JSON has lists where a config has tuples.
            if _plain(theirs.get(stage, {}).get(name, BEFORE.get((stage, name)))) != _plain(mine[stage][name]):
                return f"{previous.release_id} was made with another {stage}.{name}"
    # Earlier releases, and those that read no pictures, do not name how.
    pictures, tokens = theirs.get("frames", {}), profile.frames.prefix_tokens
    if pictures.get("prefix_tokens", 0) != tokens or (tokens and pictures["backbone"] != profile.frames.backbone):
        return f"{previous.release_id} was made with an LLM that reads other pictures or none"
    return ""


# Settings that a warm start keeps: they shape the adapter's weights or the content of the towers. `encoder.number_type` is not
# among them: adapters are tuned in the backbone's own numbers whatever it is, and vectors in int8 are as near to the others
# (docs/performance.md) as those of another machine may be. The history is embedded again, and the towers follow.
SAME = {
    "finetune": ("rank", "alpha", "target_modules", "broadcast_windows", "frozen"),
    "encoder": ("exit_layer", "first_adapted_layer", "pooling", "half_share", "choice"),
    "dataset": ("half_life_seconds",),
}
BEFORE = {("encoder", "choice"): SET, ("finetune", "frozen"): False}  # values of releases from before a setting


def _why_not_held_out(previous: Bundle | None, read_until: date | None) -> str:
    """The reason why the previous adapter cannot judge days after `read_until`; empty if it can."""
    if previous is None or read_until is None:
        return ""
    last_read = _read_until(previous) or window_days(previous.manifest["data_window"])[1]
    return f"{previous.release_id} was tuned on days after {read_until}, which are judged" if last_read > read_until else ""


def _read_until(previous: Bundle) -> date | None:
    """The last day that its adapter was tuned on, if its retrain judged later training days."""
    found = read_json(previous.path / ADAPTER / RECORD).get("read_until")
    return None if found is None else date.fromisoformat(found)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | list) else value


def _last_full_tune(previous: Bundle | None) -> date | None:
    if previous is None or f"{ADAPTER}/{RECORD}" not in previous.manifest["files"]:
        return None
    return date.fromisoformat(read_json(previous.path / ADAPTER / RECORD)["last_full_tune"])
