"""[content] The LLM: tuned on the segments of the training days, then read by every segment that a model will see."""

import os
from pathlib import Path

from dagster import AssetExecutionContext, AssetKey, MaterializeResult, MetadataValue, ResourceParam, asset

from livealign.backbone import load_backbone
from livealign.content import embed_segments, training_descriptions, training_pairs
from livealign.finetune import tune_adapter
from livealign.plots import loss_curve, to_markdown_image
from orchestration.partitions import days
from orchestration.resources import Workspace
from orchestration.stages import day_of, progress, stage

GROUP = "content"


@asset(deps=[AssetKey(["warehouse", "exported_marts"])], group_name=GROUP, kinds={"torch", "peft"}, partitions_def=days)
def llm_adapter(context: AssetExecutionContext, workspace: ResourceParam[Workspace]) -> MaterializeResult:
    """LoRA adapter, tuned so that moments which the same people watch lie close (contrastive, on the training days alone)."""
    profile, artifacts = workspace.profile, workspace.artifacts(day_of(context))
    with stage(context, workspace, "llm_adapter"):
        backbone = load_backbone(profile.backbone, workspace.home.models)
        training_days, captions = workspace.training_days(day_of(context)), os.environ.get("LIVEALIGN_CAPTIONS")
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
                progress=advance,
                descriptions=described,
            )
    curve = loss_curve(report.losses, list(zip(report.validation_steps, report.validation_losses, strict=True)))
    return MaterializeResult(
        metadata={
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


@asset(deps=[llm_adapter], group_name=GROUP, kinds={"torch", "numpy"}, partitions_def=days)
def segment_embeddings(context: AssetExecutionContext, workspace: ResourceParam[Workspace]) -> MaterializeResult:
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
