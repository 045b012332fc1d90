"""[content] The LLM: tuned on the training days, then run on every segment a model uses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from dagster import AssetExecutionContext, AssetKey, FreshnessPolicy, MaterializeResult, MetadataValue

from livealign.config import AUTO
from livealign.evaluation.plots import loss_curve, to_markdown_image
from livealign.llm.backbone import Backbone, load_backbone
from livealign.profiles import Profile
from livealign.release.registry import previous_release
from livealign.retrain.captions import captions_file
from livealign.retrain.content import embed_segments, training_descriptions, training_pairs, with_training_pictures
from livealign.retrain.encoder_choice import choose_encoder, with_encoder_of_release, write_encoder
from livealign.retrain.judged_days import days_to_tune_on
from livealign.retrain.tuning_policy import choose_tuning, continued_from, write_tuning
from livealign.tuning.adapter import TuneReport, copy_adapter, tune_adapter
from livealign.tuning.ray_tuning import tune_on_ranks
from orchestration.drift.history import drifted_days
from orchestration.resources import Workspace
from orchestration.runs.daily_asset import daily_asset
from orchestration.runs.stage import day_of, progress, stage

Metadata = Mapping[str, Any]  # of an asset, as Dagster takes it

GROUP = "content"
RETUNE = "livealign/retune"  # run tag: the reason for a full tune
LAST_FULL_TUNE = "last_full_tune"  # metadata
LLM_FRESHNESS = FreshnessPolicy.time_window(fail_window=timedelta(hours=48), warn_window=timedelta(hours=30))


@daily_asset(
    GROUP,
    kinds={"torch", "peft"},
    deps=[AssetKey(["warehouse", "exported_marts"])],
    freshness_policy=LLM_FRESHNESS,
)
def llm_adapter(context: AssetExecutionContext, workspace: Workspace) -> MaterializeResult:
    """The LoRA adapter of the LLM, tuned contrastively on the training days.

    Segments that the same people watch come to lie close to each other. On most days the champion's adapter is kept, or tuned
    for a few more steps; `RetuneConfig` says when it is tuned fully.
    """
    day, profile = day_of(context), workspace.profile
    artifacts = workspace.artifacts(day)
    with stage(context, workspace, "llm_adapter"):
        backbone = load_backbone(profile.backbone, workspace.home.models, seeing=bool(profile.frames.prefix_tokens))
        before = previous_release(workspace.home.releases, day)
        training_days = workspace.training_days(day)
        read = days_to_tune_on(workspace.home.marts, day, training_days, workspace.dataset, profile.evaluation)
        read_until = None if read == training_days else read[-1]
        asked = context.run.tags.get(RETUNE, "")
        profile = with_encoder_of_release(profile, before)
        tuning = choose_tuning(day, profile, backbone, before, drifted_days(workspace, day), asked, read_until)
        layers = "As in the previous release."
        if profile.encoder.choice == AUTO and tuning.full:
            # From the settings: the previous release's layers may be those of another backbone.
            with progress("comparing layers") as advance:
                encoder, layers = choose_encoder(workspace.profile, backbone, workspace.home.marts, read, advance)
            profile = replace(profile, encoder=encoder)
        if tuning.warm_start is not None and not tuning.steps:
            copy_adapter(tuning.warm_start, artifacts.adapter)
            learned: dict[str, Any] = {}
        else:
            learned = _tune(workspace, profile, day, read, backbone, tuning.warm_start)
        write_tuning(tuning, artifacts.adapter)
        if profile.encoder.choice == AUTO:
            write_encoder(profile.encoder, layers, artifacts.adapter)
            learned["layers"] = layers
    return MaterializeResult(
        metadata={
            "tuned": "fully" if tuning.full else "warm" if tuning.steps else "kept",
            "why": tuning.reason,
            LAST_FULL_TUNE: str(tuning.last_full_tune),
            "went_on_from": tuning.continued_from or "–",
            "read_until": str(tuning.read_until or training_days[-1]),
            "backbone": f"{backbone.name} {backbone.sha256[:12]}",
            "steps": tuning.steps,
            **learned,
            "path": MetadataValue.path(str(artifacts.adapter)),
        }
    )


def _tune(
    workspace: Workspace,
    profile: Profile,
    day: date,
    training_days: Sequence[date],
    backbone: Backbone,
    warm_start: Path | None,
) -> dict[str, Any]:
    """Tune on the pairs of these days; returns the metadata of the tuning."""
    home = workspace.home
    pairs = training_pairs(home.marts, training_days, profile)
    pairs = with_training_pictures(
        pairs,
        home.marts,
        home.landing,
        training_days,
        profile,
        models=home.models,
        cache=home.embedding_cache,
        backbone=backbone,
    )
    descriptions = training_descriptions(home.marts, training_days, profile, captions_file())
    tune: Callable[..., TuneReport] = tune_adapter
    if profile.machines.ranks > 1:
        tune = partial(tune_on_ranks, profile.machines, workspace.home.models)
    with progress("tuning") as advance:
        report = tune(
            backbone,
            pairs,
            profile.segments,
            profile.encoder,
            profile.finetune,
            workspace.artifacts(day).adapter,
            warm_start=warm_start,
            progress=advance,
            descriptions=descriptions,
        )
    if profile.finetune.frozen:
        return {"pairs": len(pairs)}
    curve = loss_curve(report.losses, list(zip(report.validation_steps, report.validation_losses, strict=True)))
    return {
        "pairs": len(pairs),
        "steps": len(report.losses),
        "first_loss": report.losses[0],
        "last_loss": report.losses[-1],
        "validated_on": report.validated_on,
        "best_validation_loss": min(report.validation_losses, default=float("nan")),
        "trainable_parameters": report.trainable_parameters,
        "tokens_per_second": report.tokens_per_second,
        "loss_curve": MetadataValue.md(to_markdown_image(curve)),
    }


@daily_asset(GROUP, kinds={"torch", "numpy"}, deps=[llm_adapter])
def segment_embeddings(context: AssetExecutionContext, workspace: Workspace) -> MaterializeResult:
    """The content of each segment that an impression or a history names.

    It comes from the LLM, from counted words, and from pictures where they are a source. One pass gives the raw embedding, of
    the LLM without adapter, and the tuned one. The lexicon of counted words is fitted where the LLM is tuned fully; on other
    days it gains the new words.
    """
    day = day_of(context)
    artifacts = workspace.artifacts(day)
    training_days = workspace.training_days(day)
    read = days_to_tune_on(workspace.home.marts, day, training_days, workspace.dataset, workspace.profile.evaluation)
    with stage(context, workspace, "segment_embeddings"), progress("embedding") as advance:
        embedded = embed_segments(
            workspace.home.marts,
            day,
            workspace.dataset,
            workspace.profile,
            adapter=artifacts.adapter,
            models=workspace.home.models,
            cache=workspace.home.embedding_cache,
            out=artifacts.embeddings,
            progress=advance,
            previous=continued_from(artifacts.adapter, previous_release(workspace.home.releases, day)),
            learn_until=read[-1],
            landing=workspace.home.landing,
        )
    return MaterializeResult(
        metadata={
            "dagster/row_count": embedded.segments,
            "read_segments": embedded.read,
            "impressions_with_read_segment": round(embedded.read_share, 4),
            "impressions_with_vector": round(embedded.covered_share, 4),
            "distinct_texts": embedded.distinct_texts,
            "from_cache": embedded.cached,
            "empty_texts": embedded.empty,
            "words": embedded.words,
            "pictures": embedded.frames,
            "dimensions": embedded.dimensions,
            "engine": workspace.profile.machines.engine,
            "worker_processor_seconds": embedded.worker_seconds,
            "examples": MetadataValue.md("\n".join(f"- `{text}`" for text in embedded.examples)),
            "path": MetadataValue.path(str(artifacts.embeddings)),
        }
    )
