"""The evaluation report as one HTML file, with its style and pictures in it."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from livealign.evaluation.certainty import TOO_FEW, with_interval
from livealign.evaluation.report import EvaluationReport, SliceMetrics, VariantMetrics
from livealign.files import replace_bytes
from livealign.simulation.truth import ANY_PLACE

STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem} h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;display:block;overflow-x:auto;margin:.5rem 0}
th,td{padding:.25rem .7rem;border-bottom:1px solid #8884;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left} th{font-weight:600}
figure{margin:1rem 0} img{max-width:100%;background:#fff} figcaption,.note{color:#777;font-size:.9rem}
"""
GLOSSARY = (
    "AUC: all impressions together. UAUC: mean over users of the AUC within each user. GAUC: the same weighted by the user's "
    "impressions. Users with only clicks or only skips cannot be measured and are counted as dropped. NE: log loss over the "
    "entropy of the base rate, below 1 is better than knowing only the base rate. ECE: mean gap between predicted and observed "
    "click rate. Intervals are 95 % paired bootstraps over users, and stand before their number. 'Too few to tell' replaces "
    "a difference whose interval includes zero and is wider than the difference, and metrics of fewer users than are needed. "
    "Each of several days is scored by models that were trained on the days before it; users are then ranked within a day."
)


@dataclass(frozen=True)
class Section:
    """A further table of the report: a title, a line of text, column names and rows."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""


def render_report(
    report: EvaluationReport,
    plots: Mapping[str, bytes],
    title: str = "Offline evaluation",
    facts: Mapping[str, object] | None = None,
    sections: Sequence[Section] = (),
    further: Sequence[str] = (),
) -> str:
    """The report as HTML.

    Args:
        plots: caption → PNG. facts: name → value lines under the title (day, platform, backbone, seed, …).
        sections: further tables, e.g. seconds per stage, codebook health, the promotion.
        further: parts that are HTML already, e.g. `evaluation.moments.moments_html`.
    """
    lines = {
        "held-out days": _days(report.days),
        "users with both classes": _users(report),
        "held-out impressions": f"{report.n_impressions:,}",
        "click rate": _number(report.click_rate),
        **(facts or {}),
    }
    parts = [
        _table(Section("", ("", ""), list(lines.items()))),
        _table(_variants(report)),
        *(_table(section) for section in _slices(report)),
        *(_table(section) for section in _tasks(report)),
        *(_table(section) for section in sections),
        *further,
        *(_figure(caption, png) for caption, png in plots.items()),
        f"<p class='note'>{escape(GLOSSARY)}</p>",
    ]
    head = f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>{escape(title)}</title>"
    body = f"<h1>{escape(title)}</h1>\n" + "\n".join(parts)
    return f"<!doctype html>\n<html lang='en'><head>{head}<style>{STYLE}</style></head>\n<body>{body}</body></html>\n"


def write_report(
    report: EvaluationReport,
    plots: Mapping[str, bytes],
    path: Path,
    title: str = "Offline evaluation",
    facts: Mapping[str, object] | None = None,
    sections: Sequence[Section] = (),
    further: Sequence[str] = (),
) -> None:
    """Write the HTML report whole: a reader sees the old file or the new one."""
    replace_bytes(path, render_report(report, plots, title, facts, sections, further).encode())


_WAYS = {
    "way to oracle": "oracle",
    "of any place": "oracle" + ANY_PLACE,
    "way to oracle_text": "oracle_text",
    "text, of any place": "oracle_text" + ANY_PLACE,
}


def _variants(report: EvaluationReport) -> Section:
    shares, k = report.ceiling_shares(), report.config.list_k
    ways = {name: report.ways(ceiling) for name, ceiling in _WAYS.items() if ceiling in report.oracle}
    columns = ["variant", f"gain over {report.baseline}", "interval of GAUC", "GAUC", "AUC", "UAUC", f"NDCG@{k}", "NE", "ECE"]
    columns += ["users", "dropped", "lists"] + (["share of the moment's worth", *ways] if shares else [])
    rows: list[list[object]] = []
    for name, metrics in (*report.variants.items(), *report.oracle.items()):
        interval = report.intervals.get(name)
        row: list[object] = [
            name,
            with_interval(report.differences.get(name), report.config.least_users),
            f"[{_number(interval.low)}, {_number(interval.high)}]" if interval else "",
            *metric_cells(metrics, report.config.least_users),
            f"{metrics.n_users:,}",
            f"{metrics.n_users_dropped:,}",
            f"{metrics.n_lists:,}",
        ]
        measured = [f"{each[name]:.0%}" if name in each else "" for each in (shares, *ways.values())]
        rows.append(row + (measured if shares else []))
    note = (
        "Share of the moment's worth: gain over the baseline as a share of oracle − oracle_static. Ways: 0 % is the best "
        "without the moment (static), 100 % the ceiling. oracle_text knows all tastes, but of the moment only what the text "
        "tells. Ceilings of any place leave out what the place in the list does to a click, as a ranker has to, who decides it."
        if shares
        else ""
    )
    return Section(f"Click ranking of the held-out day{'s' if len(report.days) > 1 else ''}", columns, rows, note)


def _slices(report: EvaluationReport) -> list[Section]:
    variants = list(report.variants)
    return [
        Section(
            f"By {name.replace('_', ' ')} (gain over {report.baseline}, GAUC)",
            ["slice", "impressions", "users", *variants],
            [
                [
                    value,
                    f"{next(iter(row.values())).n_impressions:,}",
                    f"{next(iter(row.values())).n_users:,}",
                    *(_of_slice(row[variant], report.config.least_users) for variant in variants),
                ]
                for value, row in values.items()
                if row
            ],
        )
        for name, values in report.slices.items()
    ]


def _tasks(report: EvaluationReport) -> list[Section]:
    k = report.config.list_k
    columns = ["variant", "GAUC", "AUC", "UAUC", f"NDCG@{k}", "NE", "ECE", "users", "dropped"]
    return [
        Section(
            f"Task {task}",
            columns,
            [
                [name, *metric_cells(metrics, report.config.least_users), metrics.n_users, metrics.n_users_dropped]
                for name, metrics in variants.items()
            ],
        )
        for task, variants in report.tasks.items()
    ]


def metric_cells(metrics: VariantMetrics, least_users: int) -> list[str]:
    """GAUC, AUC, UAUC, NDCG, NE and ECE as text; `TOO_FEW` in their place with too few users."""
    values = (metrics.gauc, metrics.auc, metrics.uauc, metrics.ndcg, metrics.ne, metrics.ece)
    return [TOO_FEW if metrics.n_users < least_users else _number(value) for value in values]


def _of_slice(metrics: SliceMetrics, least_users: int) -> str:
    gauc = TOO_FEW if metrics.n_users < least_users else _number(metrics.gauc)
    gain = with_interval(metrics.against_baseline, least_users)
    return f"{gain}; {gauc}" if gain and gauc != TOO_FEW else gain or gauc


def _days(days: Sequence[str]) -> str:
    return ", ".join(days) if len(days) <= 1 else f"{len(days)} from {days[0]} to {days[-1]}"


def _users(report: EvaluationReport) -> str:
    users, needed = max((metrics.n_users for metrics in report.variants.values()), default=0), report.config.least_users
    return f"{users:,}" if users >= needed else f"{users:,}: {TOO_FEW}, {needed:,} are needed"


def _number(value: float | None) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:.4f}"


def _table(section: Section) -> str:
    """An HTML table; every text is escaped, because titles, topics and chat words may hold anything."""
    head = "".join(f"<th>{escape(str(column))}</th>" for column in section.columns)
    rows = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in section.rows)
    title = f"<h2>{escape(section.title)}</h2>" if section.title else ""
    note = f"<p class='note'>{escape(section.note)}</p>" if section.note else ""
    header = f"<thead><tr>{head}</tr></thead>" if any(section.columns) else ""
    return f"{title}<table>{header}<tbody>{rows}</tbody></table>{note}"


def _figure(caption: str, png: bytes) -> str:
    source, text = base64.b64encode(png).decode(), escape(caption)
    return f"<figure><img alt='{text}' src='data:image/png;base64,{source}'><figcaption>{text}</figcaption></figure>"
