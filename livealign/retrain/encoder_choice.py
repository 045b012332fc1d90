"""Layers and pooling of the LLM's encoder, chosen on the landed days.

That is so where `encoder.choice` is "auto". A full tune compares the backbone's layers and poolings on a sample of the days
that it tunes on (`livealign.tuning.backbone_comparison`). The choice lies beside the adapter; a release whose adapter is kept
keeps it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from livealign.config import AUTO, EncoderConfig
from livealign.dataset.marts import read_mart
from livealign.errors import TrainingError
from livealign.files import read_json, replace_json
from livealign.llm.backbone import Backbone
from livealign.llm.fitting import with_layers
from livealign.llm.texts import TEXT_COLUMNS, days_with_segments
from livealign.profiles import Profile
from livealign.release.bundle import Bundle
from livealign.tuning.backbone_comparison import choose, compare_layers
from livealign.tuning.comparison_sample import choose_windows

RECORD = "encoder.json"  # beside the adapter, and with it in the bundle
WINDOWS = 400  # that are read for the comparison
REMEDY = "materialize llm_adapter again"
CHOSEN = ("exit_layer", "first_adapted_layer", "pooling")


def choose_encoder(
    profile: Profile,
    backbone: Backbone,
    marts: Path,
    days: Sequence[date],
    advance: Callable[[int, int], None] | None = None,
) -> tuple[EncoderConfig, str]:
    """(encoder with the chosen layers and pooling, the reason in a sentence).

    It is the shallowest layer within the noise of the best one. Days with too few broadcasts to compare on leave the settings
    as they are.

    Args:
        days: that the LLM is tuned on.
    """
    segments = read_mart(marts, "segments", days_with_segments(marts, days), [*TEXT_COLUMNS, "author_id"])
    try:
        sample = choose_windows(segments, profile.segments, WINDOWS, profile.seed)
    except TrainingError:
        return with_layers(backbone, profile.encoder), "As the settings say: too few broadcasts to choose by."
    compared = compare_layers(backbone, profile.backbone, sample, profile.segments, profile.encoder, profile.finetune, advance)
    best = choose(compared)
    return with_layers(backbone, best.applied_to(profile.encoder)), (
        f"Layer {best.layers} with pooling '{best.pooling}' is the shallowest within the noise of the best of {len(compared)}: "
        f"mean reciprocal rank {best.score:.3f} on {len(sample.texts)} windows."
    )


def write_encoder(encoder: EncoderConfig, reason: str, adapter: Path) -> None:
    """Write the chosen layers and pooling beside the adapter."""
    replace_json(adapter / RECORD, {**{name: getattr(encoder, name) for name in CHOSEN}, "reason": reason}, version=1)


def with_encoder_of(profile: Profile, adapter: Path) -> Profile:
    """The profile with the layers and pooling that were chosen for this adapter.

    It stays as it is where nothing was chosen.

    Raises:
        TrainingError: the record is missing or cannot be read.
    """
    if profile.encoder.choice != AUTO:
        return profile
    record = read_json(adapter / RECORD, REMEDY, error=TrainingError)
    if missing := [name for name in CHOSEN if name not in record]:
        raise TrainingError(f"{adapter / RECORD} has no {missing[0]}; {REMEDY}")
    return _with_chosen(profile, record)


def with_encoder_of_release(profile: Profile, previous: Bundle | None) -> Profile:
    """The profile with the layers and pooling of a release that were chosen, too; else as it is."""
    theirs = {} if previous is None else previous.manifest["config"].get("encoder", {})
    if profile.encoder.choice != AUTO or theirs.get("choice") != AUTO:
        return profile
    return _with_chosen(profile, theirs)


def _with_chosen(profile: Profile, values: dict[str, Any]) -> Profile:
    return replace(profile, encoder=replace(profile.encoder, **{name: values[name] for name in CHOSEN}))
