"""[content] The LLM: tuned on the segments of the training days, then read by every segment that a model will see."""

import os
from datetime import timedelta
from pathlib import Path

from dagster import AssetExecutionContext, AssetKey, FreshnessPolicy, MaterializeResult, MetadataValue

from livealign.backbone import load_backbone
from livealign.content import embed_segments, training_descriptions, training_pairs
from livealign.finetune import tune_adapter
from livealign.plots import loss_curve, to_markdown_image
from livealign.predecessor import predecessor
from livealign.retune import choose_tuning, write_tuning
from orchestration.daily import daily_asset
from orchestration.drift_history import drifted_days
from orchestration.resources import Workspace
from orchestration.stages import day_of, progress, stage

GROUP = "content"
RETUNE = "livealign/retune"  # run tag: why a full tune is asked for
LAST_FULL_TUNE = "last_full_tune"  # metadata
LLM_FRESHNESS = FreshnessPolicy.time_window(fail_window=timedelta(hours=48), warn_window=timedelta(hours=30))


@daily_asset(
    GROUP,
    kinds={"torch", "peft"},
    deps=[AssetKey(["warehouse", "exported_marts"])],
    freshness_policy=LLM_FRESHNESS,
)
def llm_adapter(context: AssetExecutionContext, workspace: Workspace) -> MaterializeResult:
    """LoRA adapter, tuned so that moments which the same people watch lie close (contrastive, on the training days alone).

    Most days go on from the champion's adapter for a few steps; `RetuneConfig` says when it is tuned fully.
    """
    day, profile = day_of(context), workspace.profile
    artifacts = workspace.artifacts(day)
    with stage(context, workspace, "llm_adapter"):
        backbone = load_backbone(profile.backbone, workspace.home.models)
        before = predecessor(workspace.home.releases, day)
        tuning = choose_tuning(day, profile, backbone, before, drifted_days(workspace, day), context.run.tags.get(RETUNE, ""))
        training_days, captions = workspace.training_days(day), os.environ.get("LIVEALIGN_CAPTIONS")
        pairs = training_pairs(workspace.home.marts, training_days, profile)
        described = training_descriptions(workspace.home.marts, training_days, profile, Path(captions) if captions else None)
        with progress("tuning") as advance:
            report = tune_adapter(
                backbone,
                pairs,
                profile.segments,
                profile.encoder,
                profile.finetune,
                artifacts.adapter,
                warm_start=tuning.warm_start,
                progress=advance,
                descriptions=described,
            )
        write_tuning(tuning, artifacts.adapter)
    curve = loss_curve(report.losses, list(zip(report.validation_steps, report.validation_losses, strict=True)))
    return MaterializeResult(
        metadata={
            "tuned": "fully" if tuning.full else "warm",
            "why": tuning.reason,
            LAST_FULL_TUNE: str(tuning.last_full_tune),
            "went_on_from": tuning.went_on_from or "–",
            "backbone": f"{backbone.name} {backbone.sha256[:12]}",
            "pairs": len(pairs),
            "steps": len(report.losses),
            "first_loss": report.losses[0],
            "last_loss": report.losses[-1],
            "validated_on": report.validated_on,
            "best_validation_loss": min(report.validation_losses, default=float("nan")),
            "trainable_parameters": report.trainable_parameters,
            "tokens_per_second": report.tokens_per_second,
            "loss_curve": MetadataValue.md(to_markdown_image(curve)),
            "path": MetadataValue.path(str(artifacts.adapter)),
        }
    )


@daily_asset(GROUP, kinds={"torch", "numpy"}, deps=[llm_adapter])
def segment_embeddings(context: AssetExecutionContext, workspace: Workspace) -> MaterializeResult:
    """What the LLM makes of each segment that an impression or a history names: raw and tuned, from one pass."""
    day = day_of(context)
    artifacts = workspace.artifacts(day)
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
        )
    return MaterializeResult(
        metadata={
            "dagster/row_count": embedded.segments,
            "distinct_texts": embedded.distinct_texts,
            "from_cache": embedded.cached,
            "empty_texts": embedded.empty,
            "dimensions": embedded.dimensions,
            "examples": MetadataValue.md("\n".join(f"- `{text}`" for text in embedded.examples)),
            "path": MetadataValue.path(str(artifacts.embeddings)),
        }
    )
