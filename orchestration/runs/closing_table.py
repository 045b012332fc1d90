"""The closing tables of `make retrain`, from `reports/latest/summary.json`."""

import json
from typing import Any

from rich.table import Table

from livealign.console import styled
from orchestration.resources import Workspace
from orchestration.runs.stage import console


def print_closing_table(workspace: Workspace) -> None:
    """Print metrics of the variants, costs of the stages, the promotion and next steps."""
    summary = json.loads((workspace.home.reports / "latest" / "summary.json").read_text())
    console.print()
    console.print(_variants_table(summary))
    console.print(_stages_table(summary))
    promotion = summary["promotion"]
    console.say(styled((promotion["decision"], "bold"), f": {promotion['reason']}"))
    latest = workspace.home.root / "reports" / "latest"
    console.say(f"Report   {latest / 'report.html'}\nDrift    {latest / 'drift.html'}\nNumbers  {latest / 'summary.json'}")
    serve, ui = ("make serve", "bold"), ("make ui", "bold")
    console.say(styled("Next     ", serve, " (the champion on 127.0.0.1:3000)   ", ui, " (the graph and this run)"))


def _variants_table(summary: dict[str, Any]) -> Table:
    window = summary["data_window"]
    table = Table(
        title=f"click on {window['end']}, trained on {window['start']} to {window['train_end']}",
        title_justify="left",
    )
    table.add_column("variant")
    for metric in METRICS:
        table.add_column(metric.upper(), justify="right")
    table.add_column("impressions", justify="right")
    rows = dict(summary["variants"])
    rows.update(summary.get("oracle") or {})
    for name, metrics in rows.items():
        cells = [_figure(metrics[metric]) for metric in METRICS]
        table.add_row(name, *cells, f"{metrics['n_impressions']:,}")
    return table


METRICS = ("auc", "uauc", "gauc", "ndcg@10")


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _stages_table(summary: dict[str, Any]) -> Table:
    table = Table(title="stages", title_justify="left", show_footer=True)
    peak = max(cost["peak_rss_bytes"] for cost in summary["stages"].values())
    table.add_column("stage", footer="total")
    table.add_column("seconds", justify="right", footer=f"{summary['total_seconds']:.1f}")
    table.add_column("peak memory", justify="right", footer=f"{peak / 2**30:.2f} GiB")
    for name, cost in summary["stages"].items():
        table.add_row(name, f"{cost['seconds']:.1f}", f"{cost['peak_rss_bytes'] / 2**30:.2f} GiB")
    return table
