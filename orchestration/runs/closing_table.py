"""The closing tables of `make retrain`, from `reports/latest/summary.json`."""

import json
from typing import Any

from rich.table import Table

from livealign.console import styled
from livealign.evaluation.certainty import TOO_FEW, with_interval
from livealign.evaluation.report import BASELINE
from livealign.metrics import Interval
from livealign.retrain.reading_budget import reading_line
from orchestration.resources import Workspace
from orchestration.runs.stage import console


def print_closing_table(workspace: Workspace) -> None:
    """Print metrics of the variants, costs of the stages, the promotion and next steps."""
    summary = json.loads((workspace.home.reports / "latest" / "summary.json").read_text())
    console.print()
    console.print(_variants_table(summary))
    console.print(_stages_table(summary))
    if "reading" in summary:
        console.say(f"Reading  {reading_line(summary['reading'])}")
    promotion = summary["promotion"]
    console.say(styled((promotion["decision"], "bold"), f": {promotion['reason']}"))
    latest = workspace.home.root / "reports" / "latest"
    console.say(f"Report   {latest / 'report.html'}\nDrift    {latest / 'drift.html'}\nNumbers  {latest / 'summary.json'}")
    serve, ui = ("make serve", "bold"), ("make ui", "bold")
    console.say(styled("Next     ", serve, " (the champion on 127.0.0.1:3000)   ", ui, " (the graph and this run)"))


def _variants_table(summary: dict[str, Any]) -> Table:
    window, judged = summary["data_window"], summary["judged"]
    days = judged["days"]
    clicks = f"click on {window['end']}" if len(days) == 1 else f"click on {len(days)} days, {days[0]} to {days[-1]}"
    impressions = max((metrics["n_impressions"] for metrics in summary["variants"].values()), default=0)
    table = Table(
        title=f"{clicks}, trained on {window['start']} to {window['train_end']}; {impressions:,} impressions, "
        f"{judged['users']:,} users with both classes",
        title_justify="left",
        caption=_too_few_users(judged),
        caption_justify="left",
    )
    table.add_column("variant", no_wrap=True)
    table.add_column(f"gain over\n{BASELINE}", no_wrap=True)
    for metric in METRICS:
        table.add_column(metric.upper(), justify="right", no_wrap=True)
    rows = dict(summary["variants"])
    rows.update(summary.get("oracle") or {})
    for name, metrics in rows.items():
        gain = summary["differences_to_id_only"].get(name)
        table.add_row(
            name.replace("_any_place", "\n  at any place"),
            with_interval(Interval(**gain), judged["least_users"]).replace("] ", "]\n") if gain else "",
            *(_figure(metrics, metric, judged["least_users"]) for metric in METRICS),
        )
    return table


METRICS = ("gauc", "auc", "ndcg@10")


def _figure(metrics: dict[str, Any], metric: str, least_users: int) -> str:
    """A metric as text after its interval, if it has one; `TOO_FEW` with too few users."""
    value, interval = metrics[metric], metrics.get(f"{metric}_interval")
    number = TOO_FEW if metrics["n_users"] < least_users else "–" if value is None else f"{value:.4f}"
    return f"[{interval['low']:.3f}, {interval['high']:.3f}]\n{number}" if interval else number.replace("few ", "few\n")


def _too_few_users(judged: dict[str, Any]) -> str | None:
    if judged["users"] >= judged["least_users"]:
        return None
    return f"{TOO_FEW}: {judged['users']:,} users had both a click and a skip on a day, {judged['least_users']:,} are needed"


def _stages_table(summary: dict[str, Any]) -> Table:
    table = Table(title="stages", title_justify="left", show_footer=True)
    peak = max(cost["peak_rss_bytes"] for cost in summary["stages"].values())
    table.add_column("stage", footer="total")
    table.add_column("seconds", justify="right", footer=f"{summary['total_seconds']:.1f}")
    table.add_column("peak memory", justify="right", footer=f"{peak / 2**30:.2f} GiB")
    for name, cost in summary["stages"].items():
        table.add_row(name, f"{cost['seconds']:.1f}", f"{cost['peak_rss_bytes'] / 2**30:.2f} GiB")
    return table
