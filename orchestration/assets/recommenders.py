"""[recommenders] The retriever, the ranker, and the variants they are compared with."""

from dagster import AssetExecutionContext, AssetKey, MaterializeResult, MetadataValue

from livealign.evaluation.plots import loss_curve, to_markdown_image
from livealign.retrain.corpus import day_corpus
from livealign.retrain.recommenders import compare, rank, retrieve
from livealign.retrain.rolling import roll
from orchestration.resources import Workspace
from orchestration.runs.daily_asset import daily_asset
from orchestration.runs.stage import day_of, stage

GROUP = "recommenders"


@daily_asset(GROUP, kinds={"faiss"}, deps=[AssetKey("aligned_vectors")])
def retriever(context: AssetExecutionContext, workspace: Workspace) -> MaterializeResult:
    """Retrieval on the held-out day: the live rooms at each click, searched by dot product.

    Reports how often the entered room is among those found.
    """
    day = day_of(context)
    with stage(context, workspace, "retriever"):
        corpus = day_corpus(workspace.home, day, workspace.dataset)
        metrics = retrieve(corpus, workspace.home.marts, workspace.artifacts(day))
    return MaterializeResult(metadata=dict(metrics.to_dict()))


@daily_asset(GROUP, kinds={"torch"}, deps=[AssetKey("semantic_codes")])
def ranker(context: AssetExecutionContext, workspace: Workspace) -> MaterializeResult:
    """The release's ranker (`aligned_codes`): five tasks from codes and histories.

    It predicts click, long view, like, comment and gift.
    """
    day = day_of(context)
    with stage(context, workspace, "ranker"):
        corpus = day_corpus(workspace.home, day, workspace.dataset)
        trained = rank(corpus, workspace.profile, workspace.artifacts(day))
    return MaterializeResult(
        metadata={
            "train_impressions": len(corpus.train),
            "codebook_version": trained.codebook_version,
            "last_loss": trained.losses[-1],
            "loss_curve": MetadataValue.md(to_markdown_image(loss_curve(trained.losses, step="epoch"))),
            "path": MetadataValue.path(str(workspace.artifacts(day).ranker)),
        }
    )


@daily_asset(GROUP, kinds={"torch"}, deps=[AssetKey("segment_embeddings")])
def comparison(context: AssetExecutionContext, workspace: Workspace) -> MaterializeResult:
    """The variants that the release is compared with, on the same impressions.

    Popularity, the ranker with the author ID alone, and the ranker with the frozen LLM's vectors as input. Where the day has
    too few users to judge, all variants also score earlier days, trained on the days before each.
    """
    day = day_of(context)
    with stage(context, workspace, "comparison"):
        corpus = day_corpus(workspace.home, day, workspace.dataset)
        names = compare(corpus, workspace.profile, workspace.artifacts(day))
        earlier = roll(corpus, workspace.home, workspace.archive, workspace.profile)
    return MaterializeResult(
        metadata={
            "variants": ", ".join(names),
            "train_impressions": len(corpus.train),
            "scored_impressions": len(corpus.test),
            "earlier_days_judged": ", ".join(map(str, earlier)) or "none: the day has enough users",
            "path": MetadataValue.path(str(workspace.artifacts(day).comparison)),
        }
    )
