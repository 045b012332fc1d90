"""Are the models made anew today, or do they go on from the champion's?

A full tune of the LLM finds what has changed. It costs minutes, the new adapter has to read all of the history again, and the
towers and codes that follow from it start anew. On other days the champion's adapter is kept (or gone on from for
`finetune.warm_steps`), the vectors that it made are still good, and towers and codes go on from the champion's too. The
policy is `retune.policy`; whoever asks for a full tune (a person, or the sensor that saw content drift) gets one.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from livealign.config import Profile, RetuneConfig
from livealign.files import read_json, replace_json
from livealign.llm.backbone import Backbone
from livealign.llm.encoder import with_layers
from livealign.release.bundle import ADAPTER, Bundle, window_days

RECORD = "tuning.json"  # beside the adapter, and with it in the bundle: no timings, so the same release has the same bytes


class Tuning(NamedTuple):
    """What is done to the adapter of a day."""

    full: bool
    reason: str  # a sentence for people
    steps: int
    warm_start: Path | None  # folder of the adapter that is gone on from
    last_full_tune: date  # the day whose retrain tuned fully, this one or an earlier one
    went_on_from: str | None  # release id
    read_until: date | None = None  # last day that the adapter has read; None for the day before the retrain's


def choose_tuning(
    day: date,
    profile: Profile,
    backbone: Backbone,
    before: Bundle | None,
    drifted: Sequence[date] = (),
    asked: str = "",
    read_until: date | None = None,
) -> Tuning:
    """Full or warm, and why.

    Args:
        before: the release that the day goes on from (`livealign.release.registry`).
        drifted: earlier days whose content had drifted.
        asked: why somebody asks for a full tune; empty where nobody does.
        read_until: the last day that the adapter may have read, where later ones are judged (`livealign.retrain.rolling`).
    """
    last = _last_full_tune(before)
    why = asked or _cannot_go_on(before, last, profile, backbone) or _has_read_judged_days(before, read_until)
    if not why and last is not None:
        why = _due(day, last, drifted, profile.retune)
    if why or before is None or last is None:
        return Tuning(True, f"Tuned fully: {why}.", profile.finetune.steps, None, day, None, read_until)
    steps = min(profile.finetune.steps, profile.finetune.warm_steps)
    how = f"Went on from the adapter of {before.release_id} for {steps} steps" if steps else f"Kept that of {before.release_id}"
    reason = f"{how}: last tuned fully for {last}."
    kept = read_until if steps else _read_until(before)
    return Tuning(False, reason, steps, before.path / ADAPTER, last, before.release_id, kept)


def write_tuning(tuning: Tuning, adapter: Path) -> None:
    """Keep the choice beside the adapter that it led to."""
    record = {"full": tuning.full, "last_full_tune": tuning.last_full_tune, "went_on_from": tuning.went_on_from}
    if tuning.read_until is not None:
        record["read_until"] = tuning.read_until
    replace_json(adapter / RECORD, record)


def went_on_from(adapter: Path, before: Bundle | None) -> Bundle | None:
    """`before`, if the adapter in this folder was kept or gone on from its; else None."""
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
    since = [one for one in drifted if last <= one < day]
    if config.policy == "on_drift" and since:
        return f"content drifted on {', '.join(map(str, since))}"
    return ""


def _cannot_go_on(before: Bundle | None, last: date | None, profile: Profile, backbone: Backbone) -> str:
    """Why the adapter that serves cannot be gone on from; empty where it can."""
    if before is None:
        return "there is no earlier release to go on from"
    if last is None:
        return f"{before.release_id} does not say when it was tuned"
    if before.manifest["backbone"]["sha256"] != backbone.sha256:
        return f"{before.release_id} has another backbone"
    theirs: dict[str, Any] = before.manifest["config"]
    mine = replace(profile, encoder=with_layers(backbone, profile.encoder)).to_dict()
    for stage, names in SAME.items():
        for name in names:
            # What went through JSON has lists where a config has tuples.
            if _plain(theirs.get(stage, {}).get(name)) != _plain(mine[stage][name]):
                return f"{before.release_id} was made with another {stage}.{name}"
    return ""


SAME = {  # what an adapter's weights depend on, and what the towers that are gone on from with it took for content
    "finetune": ("rank", "alpha", "target_modules", "broadcast_windows"),
    "encoder": ("exit_layer", "first_adapted_layer", "pooling", "half_share"),
    "dataset": ("half_life_seconds",),
}


def _has_read_judged_days(before: Bundle | None, read_until: date | None) -> str:
    """Why an adapter that knows days that are judged cannot be kept; empty where it knows none."""
    if before is None or read_until is None:
        return ""
    last_read = _read_until(before) or window_days(before.manifest["data_window"])[1]
    return f"{before.release_id} was tuned on days after {read_until}, which are judged" if last_read > read_until else ""


def _read_until(before: Bundle) -> date | None:
    """The last day that its adapter has read, where its retrain kept judged days from it."""
    found = read_json(before.path / ADAPTER / RECORD).get("read_until")
    return None if found is None else date.fromisoformat(found)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | list) else value


def _last_full_tune(before: Bundle | None) -> date | None:
    if before is None or f"{ADAPTER}/{RECORD}" not in before.manifest["files"]:
        return None
    return date.fromisoformat(read_json(before.path / ADAPTER / RECORD)["last_full_tune"])
