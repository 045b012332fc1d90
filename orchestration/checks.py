"""The checks on a day's data and models; most are blocking.

A blocking check that fails stops everything downstream of its asset, the promotion included.
"""

from datetime import date

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetKey,
    MetadataValue,
    ResourceParam,
    asset_check,
)

from livealign.codes.health import evenness
from livealign.dataset.leaks import future_reads
from livealign.files import read_json
from livealign.landing.volumes import day_volumes
from livealign.retrain.artifacts import HEALTH
from livealign.retrain.corpus import day_corpus
from orchestration.assets.alignment import semantic_codes
from orchestration.assets.evaluation import drift_report, offline_report
from orchestration.assets.recommenders import ranker
from orchestration.partitions import days
from orchestration.resources import ACCEPT, Workspace
from orchestration.runs.stage import day_of

LEAST_ENTROPY_RATIO = 0.5  # of the first level; a collapsed codebook falls far below
LARGEST_CALIBRATION_ERROR = 0.1
REMEDY = "; look for what is missing from the archive, or let the day pass: make retrain DAY=… ACCEPT=volumes"


@asset_check(
    asset=AssetKey(["landing", "ledger"]),
    blocking=True,
    partitions_def=days,
    description="The day has about as many impressions, plays and comments as the days of the week before it.",
)
def volumes_are_usual(context: AssetCheckExecutionContext, workspace: ResourceParam[Workspace]) -> AssetCheckResult:
    """The check of the day's row counts; it only warns for a range of days or ACCEPT=volumes."""
    rows, unusual = [], []
    for key in context.partition_keys:
        for volume in day_volumes(workspace.home.landing, date.fromisoformat(key), workspace.profile.volumes):
            bounds = "not known" if volume.least is None else f"{volume.least:,.0f} to {volume.most:,.0f}"
            rows.append(f"| {key} | {volume.table} | {volume.rows:,} | {bounds} |")
            if not volume.usual:
                unusual.append(f"{volume.table} of {key}: {volume.rows:,}, usual is {bounds}")
    # A range of days is a backfill of history; a release is made for a single day.
    lenient = len(context.partition_keys) > 1 or context.run.tags.get(ACCEPT) == "volumes"
    return AssetCheckResult(
        passed=not unusual,
        severity=AssetCheckSeverity.WARN if lenient else AssetCheckSeverity.ERROR,
        description="; ".join(unusual) + REMEDY if unusual else None,
        metadata={"volumes": MetadataValue.md("\n".join(["| day | table | rows | usual |", "|---|---|---|---|", *rows]))},
    )


@asset_check(
    asset=ranker,
    blocking=True,
    partitions_def=days,
    description="No feature, history or content of an impression is later than the impression itself.",
)
def nothing_is_read_early(context: AssetCheckExecutionContext, workspace: ResourceParam[Workspace]) -> AssetCheckResult:
    """The check that no impression reads anything later than itself."""
    leaks = future_reads(day_corpus(workspace.home, day_of(context), workspace.dataset))
    found = ", ".join(f"{count:,} × {what}" for what, count in leaks.items() if count)
    return AssetCheckResult(
        passed=not found,
        description=f"later than the impression that reads it: {found}; look for what was added to the dataset"
        if found
        else None,
        metadata=dict(leaks),
    )


@asset_check(
    asset=semantic_codes, blocking=True, partitions_def=days, description="The first level of codes has not collapsed."
)
def codebook_is_healthy(context: AssetCheckExecutionContext, workspace: ResourceParam[Workspace]) -> AssetCheckResult:
    """The check that the entropy ratio of the first level of codes is high enough."""
    health = read_json(workspace.artifacts(day_of(context)).codes / HEALTH)
    # Where content is switched off, a vector stands for an author, and a few authors need only a few codes.
    ratio = evenness(health["levels"][0]["perplexity"], min(workspace.profile.codes.codes_per_level, health["distinct"]))
    passed = ratio >= LEAST_ENTROPY_RATIO
    return AssetCheckResult(
        passed=passed,
        description=None if passed else f"level one has collapsed: entropy ratio {ratio:.2f}, at least {LEAST_ENTROPY_RATIO}",
        metadata={"entropy_ratio": ratio, "least": LEAST_ENTROPY_RATIO, "largest_bucket": health["largest_bucket"]},
    )


@asset_check(
    asset=semantic_codes, partitions_def=days, description="Codes keep the meaning that they had in the previous release."
)
def codes_keep_their_meaning(context: AssetCheckExecutionContext, workspace: ResourceParam[Workspace]) -> AssetCheckResult:
    """The check of the churn of codes since the previous release; it only warns."""
    churn = read_json(workspace.artifacts(day_of(context)).codes / HEALTH)["churn_per_retrain"]
    most = workspace.profile.codes.most_churn
    return AssetCheckResult(
        passed=churn is None or churn["segments"] <= most,
        severity=AssetCheckSeverity.WARN,  # expected after a full tune: new space, and the service swaps all codes at once
        metadata={"most": most, **(churn or {"known": 0})},
    )


@asset_check(
    asset=offline_report, blocking=True, partitions_def=days, description="The ranker's click probabilities are calibrated."
)
def ranker_is_calibrated(context: AssetCheckExecutionContext, workspace: ResourceParam[Workspace]) -> AssetCheckResult:
    """The check of the calibration error; it only warns where chance explains the error."""
    found = read_json(workspace.artifacts(day_of(context)).evaluation / "evaluation.json")["calibration"]
    error, proven = found["error"], found["beyond_chance"]
    return AssetCheckResult(
        passed=bool(error <= LARGEST_CALIBRATION_ERROR),
        # A few broadcasts that were liked more than usual move the error of a thin day, and are no fault of the ranker.
        severity=AssetCheckSeverity.ERROR if proven > LARGEST_CALIBRATION_ERROR else AssetCheckSeverity.WARN,
        description=(
            f"click probabilities are off by {error:.3f}, of which {proven:.3f} is beyond the chance between "
            f"{found['broadcasts']} broadcasts; at most {LARGEST_CALIBRATION_ERROR} may be; see the reliability curve"
        ),
        metadata={"ece": error, "beyond_chance": proven, "largest": LARGEST_CALIBRATION_ERROR},
    )


@asset_check(asset=drift_report, partitions_def=days, description="The day looks like the champion's training days.")
def day_has_not_drifted(context: AssetCheckExecutionContext, workspace: ResourceParam[Workspace]) -> AssetCheckResult:
    """The check that the day has not drifted from the champion's; it only warns."""
    verdict = read_json(workspace.artifacts(day_of(context)).drift / "drift.json")["verdict"]
    return AssetCheckResult(
        passed=not verdict["drifted"],
        severity=AssetCheckSeverity.WARN,  # the world may change; retraining adapts to it
        metadata={"verdict": verdict["sentence"]},
    )


release_guards = [
    volumes_are_usual,
    nothing_is_read_early,
    codebook_is_healthy,
    codes_keep_their_meaning,
    ranker_is_calibrated,
    day_has_not_drifted,
]
