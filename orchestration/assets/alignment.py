"""[alignment] Two gated towers, and semantic codes of their vectors."""

from collections.abc import Sequence

from dagster import AssetExecutionContext, AssetKey, MaterializeResult, MetadataValue

from livealign.evaluation.plots import codebook_usage, loss_curve, to_markdown_image
from livealign.llm.texts import texts_of
from livealign.release.registry import previous_release
from livealign.retrain.alignment import CheckedSource, align, encode
from livealign.retrain.corpus import day_corpus
from orchestration.resources import Workspace
from orchestration.runs.daily_asset import daily_asset
from orchestration.runs.stage import day_of, stage

GROUP = "alignment"


@daily_asset(GROUP, kinds={"torch"}, deps=[AssetKey("segment_embeddings")])
def aligned_vectors(context: AssetExecutionContext, workspace: Workspace) -> MaterializeResult:
    """Trains a user tower and a gated room tower, contrastively, on who entered which room.

    Stores the aligned vector of every segment.
    """
    day = day_of(context)
    with stage(context, workspace, "aligned_vectors"):
        corpus = day_corpus(workspace.home, day, workspace.dataset)
        before = previous_release(workspace.home.releases, day)
        towers = align(corpus, workspace.profile, workspace.artifacts(day), before)
    return MaterializeResult(
        metadata={
            "dagster/row_count": towers.items,
            "train_impressions": len(corpus.train),
            "train_days": len(corpus.train_days),
            "last_loss": towers.report.losses[-1],
            "temperature": towers.report.temperature,
            "gate_mean": towers.report.gate_mean,
            "id_share": towers.report.id_share,
            "went_on_from": before.release_id if before and towers.report.warm_started else "–",
            "gate_mode": towers.report.gate_mode,
            **_checked(towers.checks),
            "loss_curve": MetadataValue.md(to_markdown_image(loss_curve(towers.report.losses, step="epoch"))),
            "path": MetadataValue.path(str(workspace.artifacts(day).alignment)),
        }
    )


@daily_asset(GROUP, kinds={"faiss"}, deps=[aligned_vectors])
def semantic_codes(context: AssetExecutionContext, workspace: Workspace) -> MaterializeResult:
    """Residual k-means on the aligned vectors of the training segments.

    Every segment gets three integers, from coarse to fine.
    """
    day, artifacts = day_of(context), workspace.artifacts(day_of(context))
    with stage(context, workspace, "semantic_codes"):
        corpus = day_corpus(workspace.home, day, workspace.dataset)
        window = [*workspace.training_days(day), day]
        texts = texts_of(workspace.home.marts, corpus.segment_ids[1:], window, workspace.profile.segments)
        codes = encode(corpus, workspace.profile, artifacts, texts, previous_release(workspace.home.releases, day))
    names = [f"| {path} | {name} |" for path, name in sorted(codes.names.items(), key=lambda item: _path_order(item[0]))]
    return MaterializeResult(
        metadata={
            "codebook_version": codes.version,
            "unique_share": codes.health.unique_share,
            "largest_bucket": codes.health.largest_bucket,
            "churn_per_refresh": codes.churn_per_refresh,
            **({"churn_per_retrain": codes.churn_per_retrain._asdict()} if codes.churn_per_retrain else {}),
            "dead_at_level_one": codes.health.levels[0].dead,
            **{f"level_{place + 1}": level._asdict() for place, level in enumerate(codes.health.levels)},
            "usage": MetadataValue.md(to_markdown_image(codebook_usage(codes.counts))),
            "names": MetadataValue.md("\n".join(["| code | name |", "|---|---|", *names])),
            "path": MetadataValue.path(str(artifacts.codes)),
        }
    )


def _checked(checks: Sequence[CheckedSource]) -> dict[str, float | str]:
    """The content check as metadata: what each source gained on unseen rooms, and the authors it is not trusted for."""
    metadata: dict[str, float | str] = {}
    for check in checks:
        metadata |= {
            f"{check.source}_gain": check.gain,
            f"{check.source}_gain_error": check.error,
            f"{check.source}_gained_over": ", ".join(check.beside) or "the author ID",
            f"{check.source}_authors_not_trusted": check.authors_not_trusted,
        }
    return metadata


def _path_order(path: str) -> tuple[int, ...]:
    return tuple(int(code) for code in path.split("-"))
