"""[evaluation] The day: the challenger's metrics, the served releases', and drift."""

from typing import Any

from dagster import AssetExecutionContext, AssetKey, MaterializeResult, MetadataValue

from livealign.evaluation import plots
from livealign.evaluation.markdown import variants_table
from livealign.home import Home
from livealign.ranking.variants import RELEASE
from livealign.retrain.corpus import day_corpus
from livealign.retrain.evaluation import evaluate_day
from livealign.retrain.online import report_online_day, tables
from livealign.retrain.summary import reports_of
from orchestration.drift.columns import NEW_WORDS
from orchestration.drift.day import measure_drift
from orchestration.drift.report import DriftResult
from orchestration.resources import Workspace
from orchestration.runs.daily_asset import daily_asset
from orchestration.runs.report_pages import report_link
from orchestration.runs.stage import day_of, stage

GROUP = "evaluation"


@daily_asset(GROUP, kinds={"numpy"}, deps=[AssetKey("ranker"), AssetKey("comparison"), AssetKey("retriever")])
def offline_report(context: AssetExecutionContext, workspace: Workspace) -> MaterializeResult:
    """Metrics of every variant on the same held-out impressions.

    AUC, UAUC, GAUC and NDCG, slices, calibration, and the ceilings of the simulator's truth.
    """
    day, home = day_of(context), workspace.home
    file = reports_of(home, day) / "report.html"
    with stage(context, workspace, "offline_report"):
        corpus = day_corpus(home, day, workspace.dataset)
        evaluated = evaluate_day(corpus, home, workspace.archive, workspace.artifacts(day), workspace.profile, file)
    report = evaluated.evaluation
    images = {name.partition(",")[0]: plots.to_markdown_image(png, name) for name, png in evaluated.pictures.items()}
    return MaterializeResult(
        metadata={
            "impressions": report.n_impressions,
            "click_rate": report.click_rate,
            "gauc": report.variants[RELEASE].gauc or float("nan"),
            "days": len(report.days),
            "users": report.variants[RELEASE].n_users,
            "variants": MetadataValue.md(variants_table(report)),
            "highlights": MetadataValue.json({name: metrics.to_dict() for name, metrics in evaluated.highlights.items()}),
            **{name: MetadataValue.md(image) for name, image in images.items()},
            "report": report_link(home, file),
        }
    )


@daily_asset(GROUP, kinds={"numpy"}, deps=[AssetKey(["landing", "lists"]), AssetKey(["warehouse", "exported_marts"])])
def online_report(context: AssetExecutionContext, workspace: Workspace) -> MaterializeResult:
    """The releases that were served on the day, by what followed their lists.

    CTR, long views and gifts per list with confidence sequences, the differences of champion and challengers by a sequential
    test, and each release's click rate if it had served all users. Empty where the service has logged no lists.
    """
    day = day_of(context)
    with stage(context, workspace, "online_report"):
        report = report_online_day(workspace.home, day, workspace.profile.live, workspace.artifacts(day).evaluation)
    found = [one for differences in report.differences.values() for one in differences]
    return MaterializeResult(
        metadata={
            "impressions": report.impressions,
            "experiments": len(report.differences),
            "decided": sum(one.decided for one in found),
            **{name: MetadataValue.md(table) for name, table in tables(report).items()},
        }
    )


@daily_asset(GROUP, kinds={"evidently"}, deps=[AssetKey("semantic_codes"), AssetKey(["warehouse", "exported_marts"])])
def drift_report(context: AssetExecutionContext, workspace: Workspace) -> MaterializeResult:
    """Evidently's report on the day: impressions, words, embeddings, codes and scores.

    Each is compared with the champion's days and with the day before.
    """
    day = day_of(context)
    with stage(context, workspace, "drift_report"):
        drift = measure_drift(workspace, day)
    result, yesterday = drift.champion, drift.yesterday
    metadata: dict[str, Any] = {
        "drifted": result.drifted,
        "content_drifted": result.content_drifted,
        "columns": len(result.columns),
        "columns_drifted": sum(column.drifted for column in result.columns.values()),
        "verdict": result.sentence(),
        "new_words": " ".join(result.columns[NEW_WORDS].examples) if NEW_WORDS in result.columns else "no words",
        "scores_of": drift.scored_by,
        **_links(workspace.home, result, ""),
    }
    if yesterday is not None:
        metadata |= {"against_yesterday": yesterday.sentence(), **_links(workspace.home, yesterday, "_yesterday")}
    return MaterializeResult(metadata=metadata)


def _links(home: Home, result: DriftResult, suffix: str) -> dict[str, MetadataValue]:
    scores = {name: (column.score, column.threshold) for name, column in result.columns.items()}
    return {
        f"scores{suffix}": MetadataValue.md(plots.to_markdown_image(plots.drift_bars(scores))),
        f"report{suffix}": report_link(home, result.html),
        f"json{suffix}": report_link(home, result.json),
    }
