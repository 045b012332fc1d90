"""The checks on a day's models: each passes on a sound day, and says what is wrong with another."""

import json
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dagster import AssetCheckResult, AssetChecksDefinition, AssetCheckSeverity

from livealign.home import Home
from livealign.profiles import load_profile
from orchestration import checks
from orchestration.checks import (
    codebook_is_healthy,
    codes_keep_their_meaning,
    day_has_not_drifted,
    nothing_is_read_early,
    ranker_is_calibrated,
    volumes_are_usual,
)
from orchestration.resources import ACCEPT, Workspace
from tests.landing.test_volumes import WEEK, plant

DAY = date(2025, 6, 9)
BLOCKS, WARNS = AssetCheckSeverity.ERROR, AssetCheckSeverity.WARN


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    profile = load_profile("tiny")
    return Workspace(Home(tmp_path, "simulator"), tmp_path / "archive", profile, profile.dataset)


def checked(check: AssetChecksDefinition, workspace: Workspace, file: str, content: dict[str, Any]) -> AssetCheckResult:
    """The result of a check on a day whose artifact `file` has this content."""
    path = workspace.artifacts(DAY).root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    context = SimpleNamespace(partition_keys=[DAY.isoformat()])
    return check.node_def.compute_fn.decorated_fn(context, workspace)


@pytest.mark.parametrize(
    ("error", "beyond_chance", "passed", "severity"),
    [(0.02, 0.0, True, WARNS), (0.15, 0.01, False, WARNS), (0.15, 0.12, False, BLOCKS), (0.1, 0.1, True, WARNS)],
)
def test_a_calibration_error_blocks_only_where_chance_between_broadcasts_does_not_explain_it(
    workspace: Workspace, error: float, beyond_chance: float, passed: bool, severity: AssetCheckSeverity
) -> None:
    found = {"error": error, "beyond_chance": beyond_chance, "broadcasts": 31}
    result = checked(ranker_is_calibrated, workspace, "evaluation/evaluation.json", {"calibration": found})
    assert (result.passed, result.severity) == (passed, severity)
    assert "31 broadcasts" in str(result.description)


@pytest.mark.parametrize(("perplexity", "distinct", "passed"), [(8.0, 100, True), (1.2, 100, False), (3.0, 3, True)])
def test_a_collapsed_first_level_blocks_and_few_distinct_vectors_need_few_codes(
    workspace: Workspace, perplexity: float, distinct: int, passed: bool
) -> None:
    health = {"levels": [{"perplexity": perplexity}], "distinct": distinct, "largest_bucket": 0.5}
    result = checked(codebook_is_healthy, workspace, "codes/health.json", health)
    assert result.passed == passed
    assert result.severity == BLOCKS
    assert ("collapsed" in str(result.description)) == (not passed)


def test_codes_that_changed_more_than_the_setting_are_a_warning(workspace: Workspace) -> None:
    most = workspace.profile.codes.most_churn
    for churn, passed in ((None, True), ({"segments": most}, True), ({"segments": most + 0.01}, False)):
        result = checked(codes_keep_their_meaning, workspace, "codes/health.json", {"churn_per_retrain": churn})
        assert (result.passed, result.severity) == (passed, WARNS)


def test_drift_is_a_warning(workspace: Workspace) -> None:
    for drifted in (False, True):
        verdict = {"drifted": drifted, "sentence": "category drifted"}
        result = checked(day_has_not_drifted, workspace, "drift/drift.json", {"verdict": verdict})
        assert (result.passed, result.severity) == (not drifted, WARNS)


@pytest.mark.parametrize(
    ("rows", "whole_week", "tags", "passed", "severity"),
    [
        (10_000, False, {}, True, BLOCKS),
        (5_000, False, {}, False, BLOCKS),
        (5_000, False, {ACCEPT: "volumes"}, False, WARNS),
        (5_000, True, {}, False, WARNS),
    ],
    ids=["usual", "half", "half and accepted", "half in a backfill"],
)
def test_a_day_of_half_the_rows_blocks_unless_it_is_accepted_or_part_of_a_backfill(
    workspace: Workspace, rows: int, whole_week: bool, tags: dict[str, str], passed: bool, severity: AssetCheckSeverity
) -> None:
    days = [day.isoformat() for day in plant(workspace.home.landing, [*WEEK, rows])]
    context = SimpleNamespace(partition_keys=days if whole_week else days[-1:], run=SimpleNamespace(tags=tags))
    result = volumes_are_usual.node_def.compute_fn.decorated_fn(context, workspace)
    assert (result.passed, result.severity) == (passed, severity)
    assert (f"impressions of {days[-1]}: {rows:,}" in str(result.description)) is not passed


def test_what_is_read_early_is_named_and_blocks(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "day_corpus", lambda *_: None)
    context = SimpleNamespace(partition_keys=[DAY.isoformat()])
    for clicks, passed in ((0, True), (3, False)):
        found = {"training clicks known later": clicks, "held-out windows not over when shown": 0}
        monkeypatch.setattr(checks, "future_reads", lambda _, found=found: found)
        result = nothing_is_read_early.node_def.compute_fn.decorated_fn(context, workspace)
        assert (result.passed, result.severity) == (passed, BLOCKS)
        assert ("3 × training clicks known later;" in str(result.description)) is not passed
