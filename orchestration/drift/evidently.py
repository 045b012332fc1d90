"""Evidently 0.7: the only module that imports it.

The import takes seconds, so `orchestration.drift.report` imports this module when it is called. Evidently sends no usage
data: `DO_NOT_TRACK` is set before its first import, and reports are local files.
"""

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("DO_NOT_TRACK", "1")

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.core.metric_types import MetricTestResult, SingleValue, SingleValueCalculation, SingleValueMetric
from evidently.core.report import Context, Snapshot
from evidently.legacy.calculations.stattests import get_stattest
from evidently.legacy.core import ColumnType
from evidently.legacy.renderers.html_widgets import CounterData, counter
from evidently.legacy.tests.base_test import TestStatus
from evidently.metrics import ValueDrift
from evidently.sdk.models import PanelMetric
from evidently.sdk.panels import line_plot_panel

from orchestration.drift.chance import RoomTest
from orchestration.drift.columns import CATEGORICAL, NUMERIC

METHODS = {"numeric": "wasserstein", "categorical": "jensenshannon"}
_TYPES = {"numeric": ColumnType.Numerical, "categorical": ColumnType.Categorical}


class RoomDrift(SingleValueMetric):
    """A metric of Evidently's report: one drift score, tested against permuted rooms."""

    what: str  # the embedding's name, or new_words
    measure: str
    score: float
    threshold: float
    p_value: float
    remark: str


class RoomDriftCalculation(SingleValueCalculation[RoomDrift]):
    """The calculation of `RoomDrift`: shows the score and tests it against the threshold."""

    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> SingleValue:
        """The metric's widget and test; called by Evidently."""
        metric = self.metric
        drifted = metric.score > metric.threshold
        result = self.result(metric.score)
        label = f"{metric.measure} {metric.score:.4f}, threshold {metric.threshold:.4f}, p = {metric.p_value:.3f}"
        label += f"; {metric.remark}" if metric.remark else ""
        result.widget = [
            counter(
                title=f"Drift in '{metric.what}': {'detected' if drifted else 'not detected'}",
                counters=[CounterData(label, f"{metric.score:.4f}")],
            )
        ]
        if context.configuration.include_tests:
            result.set_tests(
                [
                    MetricTestResult(
                        id="room_drift",
                        name=f"Drift in {metric.what}",
                        description=f"{label[0].upper()}{label[1:]} (rooms permuted).",
                        metric_config=self.to_metric_config(),
                        test_config={},
                        status=TestStatus.FAIL if drifted else TestStatus.SUCCESS,
                    )
                ]
            )
        return result

    def display_name(self) -> str:
        """The metric's name in the report."""
        return f"Drift in '{self.metric.what}'"


def column_score(reference: pd.Series, current: pd.Series, kind: str) -> float:
    """Evidently's own drift score of one column without nulls, as its report shows it."""
    test = get_stattest(reference, current, _TYPES[kind], METHODS[kind])
    return float(test(reference, current, _TYPES[kind], None).drift_score)


def render(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    columns: Mapping[str, tuple[str, float]],
    by_room: Mapping[str, tuple[str, RoomTest]],
    metadata: Mapping[str, str],
    timestamp: datetime,
) -> tuple[str, dict[str, Any], dict[str, float], Snapshot]:
    """Evidently's report of the day.

    Args:
        columns: name → (kind, threshold), in the order they are shown.
        by_room: scores that are tested against permuted rooms, name → (measure, result of its test).
        timestamp: the day of the report.

    Returns:
        The HTML, the JSON document, each column's score as Evidently measured it, and the snapshot itself.
    """
    definition = DataDefinition(
        numerical_columns=[name for name, (kind, _) in columns.items() if kind == "numeric"],
        categorical_columns=[name for name, (kind, _) in columns.items() if kind == "categorical"],
    )
    shown = list(columns)
    metrics = [
        *(_room_metric(name, *tested) for name, tested in by_room.items()),
        *(ValueDrift(column=name, method=METHODS[kind], threshold=threshold) for name, (kind, threshold) in columns.items()),
    ]
    report = Report(metrics, include_tests=True, metadata=dict(metadata))
    snapshot = report.run(
        Dataset.from_pandas(current[shown], definition), Dataset.from_pandas(reference[shown], definition), timestamp=timestamp
    )
    document = json.loads(snapshot.json())
    scores = {
        entry["config"]["column"]: float(entry["value"]) for entry in document["metrics"] if "column" in entry.get("config", {})
    }
    return snapshot.get_html_str(as_iframe=False), document, scores, snapshot


def _room_metric(name: str, measure: str, test: RoomTest) -> RoomDrift:
    remark = f"most common: {', '.join(test.examples)}" if test.examples else ""
    return RoomDrift(
        what=name, measure=measure, score=test.score, threshold=test.threshold, p_value=test.p_value, remark=remark
    )


def keep_snapshot(folder: Path, name: str, snapshot: Snapshot, day: str, by_room: list[str]) -> None:
    """Add the day's snapshot to an Evidently project, in place of one of the same day.

    `make drift-ui` shows the trend.
    """
    from evidently.ui.workspace import Workspace

    workspace = Workspace.create(str(folder))
    projects = workspace.search_project(name)
    project = projects[0] if projects else workspace.create_project(name)
    known = {panel.title for panel in project.dashboard.model().panels}
    for title, metric, labels in (
        ("Embeddings: energy distance; new words: share", "RoomDrift", [{"what": score} for score in by_room]),
        # Every possible column: scores come with the first champion, but a panel is made only once.
        ("Columns: drift score", "ValueDrift", [{"column": column} for column in (*NUMERIC, *CATEGORICAL)]),
    ):
        if title not in known:
            values = [PanelMetric(legend=next(iter(label.values())), metric=metric, metric_labels=label) for label in labels]
            project.dashboard.add_panel(line_plot_panel(title, values))
    for run_id in workspace.list_runs(project.id):
        run = workspace.get_run(project.id, run_id)
        if run is not None and run.metadata.get("day") == day:
            workspace.delete_run(project.id, run_id)
    workspace.add_run(project.id, snapshot, name=day)
