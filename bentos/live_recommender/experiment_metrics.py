"""The Prometheus series of releases that are served side by side.

They are set when they are asked for. A registry of several processes cannot forget a series, so that of a release which is
served no more becomes NaN.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from livealign.live.answers import ShadowComparison

if TYPE_CHECKING:  # its imports load torch
    from livealign.live.experiment import ExperimentReport

_SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_CORRELATIONS = (-0.5, -0.25, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_ENDS = ("value", "low", "high")

Labels = tuple[str, ...]


class ExperimentMetrics:
    """The series of one process."""

    def __init__(self, gauge: Callable[[str, str, Sequence[str]], Any]) -> None:
        """`gauge`: makes a gauge of a name, a description and label names."""
        from prometheus_client import Counter, Histogram

        self._challengers = gauge("livealign_challenger", "1 for each challenger in service", ["release_id"])
        self._gauges = {
            "outcomes": gauge(
                "livealign_list_outcomes", "Lists, and what followed them, by the release", ["release_id", "outcome"]
            ),
            "metric": gauge(
                "livealign_online_metric",
                "CTR, long views and gifts per list, with their confidence sequence",
                ["release_id", "metric", "end"],
            ),
            "difference": gauge(
                "livealign_experiment_difference",
                "Challenger minus champion, with its confidence sequence",
                ["challenger", "metric", "end"],
            ),
            "p_value": gauge("livealign_experiment_p_value", "Always-valid p-value of a difference", ["challenger", "metric"]),
        }
        self._shadowed = Counter("livealign_shadowed_lists_total", "Lists that a challenger has ranked too", ["release_id"])
        self._overlap = Histogram(
            "livealign_shadow_overlap",
            "Share of a list that a challenger would have shown too",
            ["release_id"],
            buckets=_SHARES,
        )
        self._correlation = Histogram(
            "livealign_shadow_rank_correlation",
            "Kendall's tau of champion and challenger, of the rooms of one list",
            ["release_id"],
            buckets=_CORRELATIONS,
        )
        self._beside: set[str] = set()
        self._set: set[tuple[str, Labels]] = set()

    def challenged(self, releases: Sequence[str]) -> None:
        """Record the challengers in service."""
        for release_id in self._beside - set(releases):
            self._challengers.labels(release_id).set(0)
        for release_id in releases:
            self._challengers.labels(release_id).set(1)
        self._beside |= set(releases)

    def shadowed(self, comparison: ShadowComparison) -> None:
        """Record the list of a challenger in the shadow."""
        self._shadowed.labels(comparison.release_id).inc()
        self._overlap.labels(comparison.release_id).observe(comparison.overlap)
        if comparison.rank_correlation is not None:
            self._correlation.labels(comparison.release_id).observe(comparison.rank_correlation)

    def report(self, report: "ExperimentReport") -> None:
        """Set the gauges to what is known now."""
        values = {(name, labels): value for name, labels, value in _values(report)}
        for name, labels in self._set - values.keys():
            self._gauges[name].labels(*labels).set(math.nan)
        for (name, labels), value in values.items():
            self._gauges[name].labels(*labels).set(math.nan if value is None else value)
        self._set |= values.keys()


def _values(report: "ExperimentReport") -> Iterator[tuple[str, Labels, float | None]]:
    """Every gauge with its labels: of the experiment, or of the champion alone."""
    for arm in report.arms or [arm for arm in report.alone if arm.release_id == report.champion]:
        for outcome, count in arm.counts.items():
            yield "outcomes", (arm.release_id, outcome), count
        for metric, of_arm in arm.metrics.items():
            for end, value in zip(_ENDS, of_arm, strict=True):
                yield "metric", (arm.release_id, metric, end), value
    for one in report.differences:
        for end, value in zip(_ENDS, (one.difference, one.low, one.high), strict=True):
            yield "difference", (one.challenger, one.metric, end), value
        yield "p_value", (one.challenger, one.metric), one.p_value
