"""The table of the variants as Markdown, as Dagster shows it in an asset's metadata."""

from livealign.evaluation.certainty import with_interval
from livealign.evaluation.html import metric_cells
from livealign.evaluation.report import EvaluationReport
from livealign.metrics import Interval


def variants_table(report: EvaluationReport) -> str:
    """A row for each variant and ceiling.

    It has the GAUC and its gain over the baseline, both with 95 % intervals, and the other metrics.
    """
    least, k = report.config.least_users, report.config.list_k
    columns = ["variant", "GAUC", "95 % interval", f"gain over {report.baseline}", "AUC", "UAUC", f"NDCG@{k}", "users"]
    lines = [columns, [":---", *["---:"] * (len(columns) - 1)]]
    for name, metrics in (*report.variants.items(), *report.oracle.items()):
        gauc, auc, uauc, ndcg = metric_cells(metrics, least)[:4]
        gain = with_interval(report.differences.get(name), least)
        lines.append([f"`{name}`", gauc, _bounds(report.intervals.get(name)), gain, auc, uauc, ndcg, f"{metrics.n_users:,}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _bounds(interval: Interval | None) -> str:
    return "" if interval is None else f"[{interval.low:.4f}, {interval.high:.4f}]"
