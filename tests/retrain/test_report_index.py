"""The index of the reports: a line and a picture a day, whatever lies in the folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from livealign.retrain.report_index import INDEX, render_index, write_index

SUMMARY: dict[str, Any] = {
    "profile": "laptop",
    "total_seconds": 876.8,
    "promotion": {"reason": "Promoted, because its GAUC is <b>higher</b>."},
    "drift": {"sentence": "No drift in 21 columns."},
    "bundle": {"release_id": "2025-06-09-55e88df9e3ee"},
    "differences_to_id_only": {
        "popularity": {"low": -0.09, "difference": -0.0756, "high": -0.06},
        "aligned_codes": {"low": 0.098, "difference": 0.1093, "high": 0.12},
    },
}


def day(reports: Path, name: str, summary: object = None) -> None:
    folder = reports / name
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("report")
    if summary is not None:
        (folder / "summary.json").write_text(summary if isinstance(summary, str) else json.dumps(summary))


def test_each_day_has_its_line_its_picture_and_its_links_the_newest_first(tmp_path: Path) -> None:
    day(tmp_path, "2025-06-08", SUMMARY)
    day(tmp_path, "2025-06-09", SUMMARY)
    (tmp_path / "latest").symlink_to("2025-06-09")
    (tmp_path / "drift_trend").mkdir()
    page = render_index(tmp_path)
    assert page.index("<h2>2025-06-09</h2>") < page.index("<h2>2025-06-08</h2>")
    assert page.count("<section>") == page.count("<svg") == 2
    assert page.count("<circle") == 4
    assert "+0.109" in page
    assert "No drift in 21 columns · 15 minutes · profile laptop · 2025-06-09-55e88df9e3ee" in page
    assert "<a href='2025-06-09/report.html'>" in page
    assert "drift.html" not in page, "that file is not there"
    assert "&lt;b&gt;higher" in page
    assert "<b>" not in page


def test_the_points_lie_where_the_gains_are(tmp_path: Path) -> None:
    day(tmp_path, "2025-06-09", SUMMARY)
    page = render_index(tmp_path)
    zero = float(page.split("class='zero' x1='")[1].split("'")[0])
    worse, better = (float(part.split("'")[0]) for part in page.split("<circle cx='")[1:])
    assert worse < zero < better
    assert (better - zero) / (zero - worse) == pytest.approx(0.1093 / 0.0756, rel=0.01)


@pytest.mark.parametrize(
    "summary",
    [None, "{", "[]", "17", {}, {"promotion": 3, "drift": None, "differences_to_id_only": {"a": {"low": "x"}, "b": 2}}],
)
def test_a_day_without_a_readable_summary_has_its_links(summary: object, tmp_path: Path) -> None:
    day(tmp_path, "2025-06-09", summary)
    page = render_index(tmp_path)
    assert "<a href='2025-06-09/report.html'>report</a>" in page
    assert "<svg" not in page


def test_a_folder_without_days_says_what_makes_one_and_is_made(tmp_path: Path) -> None:
    file = write_index(tmp_path / "reports")
    assert file.name == INDEX
    assert "make retrain" in file.read_text()
