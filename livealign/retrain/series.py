"""The last retrain as Prometheus series, in a file for node_exporter.

    LIVEALIGN_HOME/platforms/<platform>/reports/livealign.prom

The service exports its own series at /metrics; what only a retrain knows is here. A retrain that fails leaves the file as it
was, so the time in it grows old. Times are seconds since 1970, days begin at 00:00 UTC.
"""

import time
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from livealign.days import midnight
from livealign.files import replace_bytes
from livealign.home import Home
from livealign.release.bundle import RELEASE_ID
from livealign.release.decisions import refused_days
from livealign.release.registry import read_champion

FILE = "livealign.prom"


class Series(NamedTuple):
    """One gauge; its only label is the platform."""

    name: str
    description: str
    value: float


def write_series(home: Home, day: date, summary: dict[str, Any], now: float | None = None) -> Path:
    """Write the series of the day's retrain over those of an earlier one; returns the file.

    Args:
        summary: of the same retrain (`livealign.retrain.summary`).
        now: seconds since 1970, when it ended.
    """
    lines = []
    for series in series_of(home, day, summary, time.time() if now is None else now):
        lines += [f"# HELP {series.name} {series.description}", f"# TYPE {series.name} gauge"]
        lines += [f'{series.name}{{platform="{home.platform}"}} {series.value!r}']
    replace_bytes(home.reports / FILE, "".join(f"{line}\n" for line in lines).encode())
    return home.reports / FILE


def series_of(home: Home, day: date, summary: dict[str, Any], now: float) -> list[Series]:
    """The series with their values."""
    champion = read_champion(home.releases)
    champion_day = date.fromisoformat(champion[:10]) if champion and RELEASE_ID.fullmatch(champion) else None
    found = [
        Series("livealign_retrain_finished_timestamp_seconds", "When the last retrain reached its decision", now),
        Series("livealign_retrain_day_timestamp_seconds", "The held-out day of the last retrain", midnight(day) / 1000),
        Series("livealign_retrain_seconds", "Seconds that the last retrain took", float(summary["total_seconds"])),
        Series(
            "livealign_gate_refused_days",
            "Held-out days in a row, up to the last, whose challenger was not promoted",
            float(len(refused_days(home.releases))),
        ),
        Series(
            "livealign_content_drifted",
            "1 if the content of the last retrain's day has drifted",
            float(bool(summary["drift"]["content_drifted"])),
        ),
    ]
    if champion_day is not None:
        held_out = midnight(champion_day) / 1000
        found.append(Series("livealign_champion_day_timestamp_seconds", "The champion's held-out day", held_out))
    return found
