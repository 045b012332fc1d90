"""Checks that guard a release: a blocking one that fails stops everything downstream of its asset, the promotion included."""

import json

from dagster import AssetCheckExecutionContext, AssetCheckResult, AssetCheckSeverity, ResourceParam, asset_check

from livealign.artifacts import read_json
from livealign.challenger import HEALTH
from livealign.offline import RELEASE
from orchestration.assets.alignment import semantic_codes
from orchestration.assets.evaluation import drift_report, offline_report
from orchestration.partitions import days
from orchestration.resources import Workspace
from orchestration.stages import day_of

LEAST_ENTROPY_RATIO = 0.5  # of the first level; a collapsed codebook falls far below
LARGEST_CALIBRATION_ERROR = 0.1
LEAST_IMPRESSIONS = 1_000  # a day of fewer is a handful of broadcasts and says little of calibration: it warns


@asset_check(
    asset=semantic_codes, blocking=True, partitions_def=days, description="The first level of codes has not collapsed."
)
def codebook_is_healthy(context: AssetCheckExecutionContext, workspace: ResourceParam[Workspace]) -> AssetCheckResult:
    health = read_json(workspace.artifacts(day_of(context)).codes / HEALTH)
    ratio = health["levels"][0]["entropy_ratio"]
    return AssetCheckResult(
        passed=ratio >= LEAST_ENTROPY_RATIO,
        metadata={"entropy_ratio": ratio, "least": LEAST_ENTROPY_RATIO, "largest_bucket": health["largest_bucket"]},
    )


@asset_check(
    asset=offline_report, blocking=True, partitions_def=days, description="The ranker's click probabilities are what they say."
)
def ranker_is_calibrated(context: AssetCheckExecutionContext, workspace: ResourceParam[Workspace]) -> AssetCheckResult:
    metrics = read_json(workspace.artifacts(day_of(context)).evaluation / "evaluation.json")["variants"][RELEASE]
    error, impressions = metrics["ece"], metrics["n_impressions"]
    return AssetCheckResult(
        passed=error is not None and error <= LARGEST_CALIBRATION_ERROR,
        severity=AssetCheckSeverity.ERROR if impressions >= LEAST_IMPRESSIONS else AssetCheckSeverity.WARN,
        metadata={"ece": json.dumps(error), "largest": LARGEST_CALIBRATION_ERROR, "impressions": impressions},
    )


@asset_check(asset=drift_report, partitions_def=days, description="The day looks like the champion's training days.")
def day_has_not_drifted(context: AssetCheckExecutionContext, workspace: ResourceParam[Workspace]) -> AssetCheckResult:
    verdict = read_json(workspace.artifacts(day_of(context)).drift / "drift.json")["verdict"]
    return AssetCheckResult(
        passed=not verdict["drifted"],
        severity=AssetCheckSeverity.WARN,  # the world may change; that is what retraining is for
        metadata={"verdict": verdict["sentence"]},
    )


release_guards = [codebook_is_healthy, ranker_is_calibrated, day_has_not_drifted]
