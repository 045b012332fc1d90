"""The table of the variants as Markdown, as Dagster shows it in an asset's metadata."""

from livealign.evaluation.certainty import TOO_FEW, with_interval
from livealign.evaluation.report import EvaluationReport, VariantMetrics
from livealign.metrics import Interval

NO_BREAK = "\N{NO-BREAK SPACE}"  # Dagster's cells are narrow, and an interval is read as one


def variants_table(report: EvaluationReport) -> str:
    """A row for each variant and ceiling, with three places; the report has four.

    It has the gain over the baseline and the GAUC, each behind its 95 % interval, and the other metrics.
    """
    least, k = report.config.least_users, report.config.list_k
    columns = ["variant", f"gain over {report.baseline}", "GAUC", "AUC", "UAUC", f"NDCG@{k}", "users"]
    lines = [columns, [":---", *["---:"] * (len(columns) - 1)]]
    for name, metrics in (*report.variants.items(), *report.oracle.items()):
        gain = with_interval(report.differences.get(name), least, "{:+.3f}".format)
        cells = [gain, _gauc(metrics, report.intervals.get(name), least)]
        cells += [_number(value, metrics, least) for value in (metrics.auc, metrics.uauc, metrics.ndcg)]
        lines.append([f"`{name}`", *(cell.replace(" ", NO_BREAK) for cell in [*cells, f"{metrics.n_users:,}"])])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _gauc(metrics: VariantMetrics, interval: Interval | None, least: int) -> str:
    bounds = "" if interval is None else f"[{interval.low:.3f}, {interval.high:.3f}] "
    return bounds + _number(metrics.gauc, metrics, least)


def _number(value: float | None, metrics: VariantMetrics, least: int) -> str:
    if metrics.n_users < least:
        return TOO_FEW
    return "–" if value is None else f"{value:.3f}"
