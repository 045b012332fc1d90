"""Metrics, differences with intervals, slices and ceilings of every variant."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livealign.calibration_metrics import Reliability, ece, normalised_entropy, reliability
from livealign.config import EvaluationConfig
from livealign.days import EPOCH
from livealign.errors import EvaluationError
from livealign.evaluation.frame import SLICE_ORDER, EvaluationFrame
from livealign.metrics import Interval, UserAuc, auc, gauc, gauc_interval, list_metrics, paired_bootstrap, uauc, user_auc
from livealign.simulation.truth import ANY_PLACE, ORACLES

BASELINE = "id_only"
TASK = "click"


@dataclass(frozen=True)
class VariantMetrics:
    """Metrics of one variant on one task; None where a metric is not defined.

    With several seeds each number is the mean over seeds.
    """

    auc: float | None
    uauc: float | None
    gauc: float | None
    ndcg: float | None  # at config.list_k
    ne: float | None  # only for probabilities
    ece: float | None  # only for probabilities
    n_impressions: int
    n_users: int  # with both classes
    n_users_dropped: int  # with one class
    n_lists: int
    gauc_seed_std: float | None = None  # over seeds; None with one seed

    def to_dict(self, list_k: int = 10) -> dict[str, Any]:
        values = asdict(self)
        values[f"ndcg@{list_k}"] = values.pop("ndcg")
        return values


@dataclass(frozen=True)
class SliceMetrics:
    """One variant on one slice, beside the baseline on the same rows."""

    gauc: float | None
    auc: float | None
    n_impressions: int
    n_users: int
    against_baseline: Interval | None  # GAUC


@dataclass(frozen=True)
class EvaluationReport:
    """All that the report, the plots and summary.json show."""

    config: EvaluationConfig
    n_impressions: int
    click_rate: float
    days: tuple[str, ...]  # YYYY-MM-DD of the impressions, oldest first
    baseline: str
    variants: dict[str, VariantMetrics]  # on click
    oracle: dict[str, VariantMetrics]  # by row of `truth.ORACLES` on the simulator, else empty
    intervals: dict[str, Interval]  # GAUC of each variant
    differences: dict[str, Interval]  # GAUC, variant − baseline
    source_gains: dict[str, Interval]  # GAUC, by source of content: with it − without it
    slices: dict[str, dict[str, dict[str, SliceMetrics]]]  # slice name → value → variant
    tasks: dict[str, dict[str, VariantMetrics]]  # task → variant, for the tasks beside click
    reliability: dict[str, Reliability]  # of variants that are probabilities

    def ceiling_shares(self) -> dict[str, float]:
        """Each variant's gain over the baseline, as a share of the moment's worth.

        (GAUC(variant) − GAUC(baseline)) / (GAUC(oracle) − GAUC(oracle_static)); empty without truth.
        """
        if not {"oracle", "oracle_static"} <= set(self.oracle) or self.baseline not in self.variants:
            return {}
        top, static, base = self.oracle["oracle"].gauc, self.oracle["oracle_static"].gauc, self.variants[self.baseline].gauc
        if top is None or static is None or base is None or top <= static:
            return {}
        return {name: (m.gauc - base) / (top - static) for name, m in self.variants.items() if m.gauc is not None}

    def ways(self, ceiling: str = "oracle") -> dict[str, float]:
        """Share of the way from `oracle_static` to a ceiling that each variant has made.

        Empty without truth.
        (GAUC(variant) − GAUC(static)) / (GAUC(ceiling) − GAUC(static)), where static is `oracle_static`, of any place if the
        ceiling is (`livealign.evaluation.ceilings`).
        """
        start = "oracle_static" + (ANY_PLACE if ceiling.endswith(ANY_PLACE) else "")
        if not {ceiling, start} <= set(self.oracle):
            return {}
        top, static = self.oracle[ceiling].gauc, self.oracle[start].gauc
        if top is None or static is None or top <= static:
            return {}
        return {name: (m.gauc - static) / (top - static) for name, m in self.variants.items() if m.gauc is not None}

    def to_summary(self) -> dict[str, Any]:
        """The evaluation part of summary.json: plain numbers, None for what is not defined.

        Several days add `judged_days`, and `gauc_interval` to each variant.
        """
        k = self.config.list_k
        variants = {name: metrics.to_dict(k) for name, metrics in self.variants.items()}
        if len(self.days) > 1:
            for name, metrics in variants.items():
                metrics["gauc_interval"] = _interval(self.intervals[name])
        return {
            **({"judged_days": list(self.days)} if len(self.days) > 1 else {}),
            "variants": variants,
            "oracle": {name: metrics.to_dict(k) for name, metrics in self.oracle.items()} or None,
            "baseline": self.baseline,
            "differences": {name: _interval(interval) for name, interval in self.differences.items()},
            "source_gains": {name: _interval(interval) for name, interval in self.source_gains.items()},
            "ceiling_shares": self.ceiling_shares(),
            "ways": {ceiling: self.ways(ceiling) for ceiling in self.oracle if "static" not in ceiling},
            "slices": {
                slice_name: {
                    value: {variant: _slice(metrics) for variant, metrics in variants.items()}
                    for value, variants in values.items()
                }
                for slice_name, values in self.slices.items()
            },
            "tasks": {task: {name: m.to_dict(k) for name, m in variants.items()} for task, variants in self.tasks.items()},
        }


def evaluate(
    scores: Mapping[str, ArrayLike],
    frame: EvaluationFrame,
    config: EvaluationConfig,
    truth: Mapping[str, NDArray] | None = None,
    other_tasks: Mapping[str, Mapping[str, ArrayLike]] | None = None,
    baseline: str = BASELINE,
    source_pairs: Mapping[str, tuple[str, str]] | None = None,
) -> EvaluationReport:
    """Measure every variant on the same impressions.

    Args:
        scores: variant → click scores [n], or [n_seeds, n] for several seeds of its head.
        frame: the held-out impressions. Each of several days is scored by its own models, so users are ranked within a day;
            AUC, NE and ECE are of all rows together.
        truth: from `read_truth`, for the ceilings; None on real platforms.
        other_tasks: task → variant → scores, for long_view, like, comment, gift.
        baseline: the variant that differences are taken against; if `scores` lacks it there are no differences.
        source_pairs: source of content → the variants with it and without it; pairs that `scores` lacks are left out.

    Raises:
        EvaluationError: scores of another length than the frame. MetricError: a score is not finite.
    """
    table = {name: _by_seed(name, values, len(frame)) for name, values in scores.items()}
    lists = frame.lists()
    label = np.asarray(frame.labels[TASK], np.float64)
    per_user = {name: _user_auc_over_seeds(values, label, frame.user, frame.day) for name, values in table.items()}
    return EvaluationReport(
        config=config,
        n_impressions=int((~np.isnan(label)).sum()),
        click_rate=float(np.nanmean(label)) if (~np.isnan(label)).any() else float("nan"),
        days=tuple((EPOCH + timedelta(days=day)).isoformat() for day in np.unique(frame.day).tolist()),
        baseline=baseline,
        variants={name: _measure(values, label, frame, lists, config) for name, values in table.items()},
        oracle={
            row: _measure(np.asarray(truth[column])[None], label, frame, lists, config)
            for row, column in ORACLES.items()
            if truth is not None and column in truth
        },
        intervals={
            name: gauc_interval(aucs, config.bootstrap_samples, config.seed, config.confidence)
            for name, aucs in per_user.items()
        },
        differences=_differences(per_user, baseline, config),
        source_gains={
            source: _difference(per_user[more], per_user[less], config)
            for source, (more, less) in (source_pairs or {}).items()
            if {more, less} <= per_user.keys()
        },
        slices={name: _slice_table(table, label, frame, values, baseline, config) for name, values in frame.slices.items()},
        tasks={
            task: {
                name: _measure(_by_seed(name, values, len(frame)), frame.labels[task], frame, lists, config)
                for name, values in variants.items()
            }
            for task, variants in (other_tasks or {}).items()
        },
        reliability={
            name: reliability(values.mean(axis=0), label, config.calibration_bins)
            for name, values in table.items()
            if _are_probabilities(values)
        },
    )


def _by_seed(name: str, scores: ArrayLike, n: int) -> NDArray[np.float64]:
    """Scores as [n_seeds, n]."""
    values = np.atleast_2d(np.asarray(scores, np.float64))
    if values.ndim != 2 or values.shape[1] != n or values.shape[0] == 0:
        raise EvaluationError(f"variant '{name}' has scores of shape {np.shape(scores)} for {n} held-out impressions")
    return values


def _measure(
    by_seed: NDArray, label: ArrayLike, frame: EvaluationFrame, lists: NDArray[np.int64], config: EvaluationConfig
) -> VariantMetrics:
    """Each metric for each seed, then the mean over seeds."""
    probabilities = _are_probabilities(by_seed)
    users = [user_auc(scores, label, frame.user, frame.day) for scores in by_seed]
    ranked = [list_metrics(scores, label, lists, config.list_k) for scores in by_seed]
    gaucs = [gauc(per_user) for per_user in users]
    return VariantMetrics(
        auc=_mean([auc(scores, label) for scores in by_seed]),
        uauc=_mean([uauc(per_user) for per_user in users]),
        gauc=_mean(gaucs),
        ndcg=_mean([metrics.ndcg for metrics in ranked]),
        ne=_mean([normalised_entropy(scores, label) for scores in by_seed]) if probabilities else None,
        ece=_mean([ece(scores, label, config.calibration_bins) for scores in by_seed]) if probabilities else None,
        n_impressions=int((~np.isnan(label)).sum()),
        n_users=int(users[0].evaluable.sum()),
        n_users_dropped=users[0].dropped,
        n_lists=ranked[0].n_lists,
        gauc_seed_std=float(np.std(gaucs, ddof=1)) if len(gaucs) > 1 and np.isfinite(gaucs).all() else None,
    )


def _user_auc_over_seeds(by_seed: NDArray, label: NDArray, user: NDArray, day: NDArray) -> UserAuc:
    """Per-user AUC, the mean over seeds: the statistic that differences are bootstrapped on."""
    seeds = [user_auc(scores, label, user, day) for scores in by_seed]
    return seeds[0]._replace(auc=np.mean([seed.auc for seed in seeds], axis=0))


def _differences(per_user: Mapping[str, UserAuc], baseline: str, config: EvaluationConfig) -> dict[str, Interval]:
    if baseline not in per_user:
        return {}
    return {name: _difference(aucs, per_user[baseline], config) for name, aucs in per_user.items() if name != baseline}


def _difference(aucs: UserAuc, base: UserAuc, config: EvaluationConfig) -> Interval:
    return paired_bootstrap(aucs.auc, base.auc, aucs.impressions, config.bootstrap_samples, config.seed, config.confidence)


def _slice_table(
    table: Mapping[str, NDArray],
    label: NDArray,
    frame: EvaluationFrame,
    column: NDArray,
    baseline: str,
    config: EvaluationConfig,
) -> dict[str, dict[str, SliceMetrics]]:
    result: dict[str, dict[str, SliceMetrics]] = {}
    for value in sorted(set(np.asarray(column).tolist()), key=_slice_order):
        rows = column == value
        per_user = {
            name: _user_auc_over_seeds(values[:, rows], label[rows], frame.user[rows], frame.day[rows])
            for name, values in table.items()
        }
        differences = _differences(per_user, baseline, config)
        result[str(value)] = {
            name: SliceMetrics(
                gauc=_mean([gauc(aucs)]),
                auc=_mean([auc(scores, label[rows]) for scores in table[name][:, rows]]),
                n_impressions=int((~np.isnan(label[rows])).sum()),
                n_users=int(aucs.evaluable.sum()),
                against_baseline=differences.get(name),
            )
            for name, aucs in per_user.items()
        }
    return result


def _slice_order(value: Any) -> tuple[int, str]:
    return (SLICE_ORDER.index(value) if value in SLICE_ORDER else len(SLICE_ORDER), str(value))


def _are_probabilities(values: NDArray) -> bool:
    return bool(values.size and values.min() >= 0 and values.max() <= 1)


def _mean(values: Sequence[float]) -> float | None:
    """Mean, or None where it is not defined: JSON has no NaN."""
    mean = float(np.mean(values))
    return mean if np.isfinite(mean) else None


def _interval(interval: Interval | None) -> dict[str, Any] | None:
    if interval is None or not np.isfinite(interval.difference):
        return None
    return interval._asdict()


def _slice(metrics: SliceMetrics) -> dict[str, Any]:
    return {**{key: getattr(metrics, key) for key in ("gauc", "auc", "n_impressions", "n_users")}} | {
        "against_baseline": _interval(metrics.against_baseline)
    }
