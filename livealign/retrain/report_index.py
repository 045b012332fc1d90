"""`reports/index.html`: a line and a picture for each day that was retrained, newest first.

It is made of the days' `summary.json`. The picture shows what each variant gains over the author ID, with its interval.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from livealign.files import replace_bytes

INDEX = "index.html"
_PAGES = {
    "report.html": "report",
    "drift.html": "drift",
    "drift_yesterday.html": "drift since yesterday",
    "summary.json": "numbers",
}
_STYLE = """
:root{color-scheme:light dark;--line:light-dark(#e2e2dc,#2b3037);--quiet:light-dark(#5a6068,#a3abb5);
--accent:light-dark(#2c55c9,#9ab6ff)}
body{font:15px/1.5 Inter,system-ui,"Segoe UI","DejaVu Sans",sans-serif;max-width:60rem;margin:2.5rem auto;padding:0 1.2rem;
background:light-dark(#f6f6f3,#101214);color:light-dark(#191b1e,#eceef1);overflow-wrap:anywhere}
h1{font-size:1.4rem} h2{font-size:1.05rem;margin:0} p{margin:.3rem 0} a{color:var(--accent)} .quiet{color:var(--quiet)}
section{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,20rem);gap:.5rem 2rem;padding:1.4rem 0;
border-top:1px solid var(--line)} nav{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem} svg{width:100%;height:auto}
@media(max-width:44rem){section{grid-template-columns:minmax(0,1fr)}}
text{font-size:11px;fill:currentColor} .zero{stroke:var(--quiet);stroke-dasharray:2 3}
.range{stroke:var(--accent);stroke-width:2} circle{fill:var(--accent)}
"""
_WIDTH, _LABELS, _ROW = 320, 118, 20


class _Gain(NamedTuple):
    name: str
    low: float
    difference: float
    high: float


def write_index(reports: Path) -> Path:
    """Write the index of a folder of reports (created if missing) and return its file."""
    reports.mkdir(parents=True, exist_ok=True)
    target = reports / INDEX
    replace_bytes(target, render_index(reports).encode())
    return target


def render_index(reports: Path) -> str:
    """The index as HTML; a day whose summary cannot be read has its links alone."""
    days = sorted((folder.name for folder in reports.iterdir() if _is_day(folder)), reverse=True)
    sections = "\n".join(_section(reports / day) for day in days)
    empty = "" if days else "<p class='quiet'>No day yet; <code>make retrain</code> makes one.</p>"
    head = "<meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>Reports</title>"
    style = f"<style>{_STYLE}</style>"
    return (
        f"<!doctype html>\n<html lang='en'><head>{head}{style}</head><body><h1>Reports</h1>\n{empty}{sections}</body></html>\n"
    )


def _is_day(folder: Path) -> bool:
    try:
        date.fromisoformat(folder.name)
    except ValueError:
        return False
    return folder.is_dir() and not folder.is_symlink()


def _section(folder: Path) -> str:
    try:
        summary = json.loads((folder / "summary.json").read_text())
    except (OSError, ValueError, RecursionError):
        summary = {}
    if not isinstance(summary, dict):
        summary = {}
    lines = [f"<h2>{folder.name}</h2>", *(f"<p{style}>{escape(line)}</p>" for line, style in _lines(summary)), _links(folder)]
    return f"<section><div>{''.join(lines)}</div>{_picture(_gains(summary))}</section>"


def _lines(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The decision's reason, and in small type drift, duration and profile."""
    reason = _text(summary, "promotion", "reason") or "No summary: the retrain of this day has not ended."
    minutes = summary.get("total_seconds")
    small = [_text(summary, "drift", "sentence"), f"{minutes / 60:.0f} minutes" if isinstance(minutes, int | float) else ""]
    small += [f"profile {_text(summary, 'profile')}" if summary.get("profile") else "", _text(summary, "bundle", "release_id")]
    return [(reason, ""), (" · ".join(part.rstrip(".") for part in small if part), " class='quiet'")]


def _text(value: Any, *path: str) -> str:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else ""


def _links(folder: Path) -> str:
    links = [f"<a href='{folder.name}/{file}'>{words}</a>" for file, words in _PAGES.items() if (folder / file).is_file()]
    return f"<nav>{''.join(links)}</nav>"


def _gains(summary: Mapping[str, Any]) -> list[_Gain]:
    differences = summary.get("differences_to_id_only")
    gains = []
    for name, interval in differences.items() if isinstance(differences, Mapping) else ():
        parts = [interval.get(part) if isinstance(interval, Mapping) else None for part in ("low", "difference", "high")]
        values = [float(part) for part in parts if isinstance(part, int | float)]
        if len(values) == len(parts):
            gains.append(_Gain(str(name), *values))
    return gains


def _picture(gains: Sequence[_Gain]) -> str:
    """The gains as an SVG: a row each, the interval as a line and the gain as a point."""
    if not gains:
        return ""
    least, most = min(0.0, *(gain.low for gain in gains)), max(0.0, *(gain.high for gain in gains))
    scale = (_WIDTH - _LABELS - 60) / max(most - least, 1e-9)

    def x(value: float) -> str:
        return f"{_LABELS + (value - least) * scale:.1f}"

    height = _ROW * len(gains) + 18
    rows = []
    for y, gain in zip(range(10, height, _ROW), gains, strict=False):
        rows += [
            f"<text x='0' y='{y + 4}'>{escape(gain.name)}</text>",
            f"<line class='range' x1='{x(gain.low)}' x2='{x(gain.high)}' y1='{y}' y2='{y}'/>",
            f"<circle cx='{x(gain.difference)}' cy='{y}' r='3.5'/>",
            f"<text x='{_WIDTH}' y='{y + 4}' text-anchor='end'>{gain.difference:+.3f}</text>",
        ]
    label = "Gain in GAUC over id_only, with 95 % interval"
    zero = f"<line class='zero' x1='{x(0)}' x2='{x(0)}' y1='0' y2='{height - 18}'/>"
    text = f"<text x='0' y='{height - 2}' class='quiet'>{label}</text>"
    return f"<svg viewBox='0 0 {_WIDTH} {height}' role='img' aria-label='{label}'>{zero}{''.join(rows)}{text}</svg>"
