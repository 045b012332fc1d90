"""A thin platform with a planted truth: one day cannot tell the better variant, fourteen can, and the report says which."""

import io
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from livealign.config import EvaluationConfig
from livealign.console import PlainConsole
from livealign.dataset.examples import TASKS
from livealign.days import DAY_MS, midnight
from livealign.errors import LiveAlignError
from livealign.evaluation.certainty import TOO_FEW, with_interval
from livealign.evaluation.frame import EvaluationFrame
from livealign.evaluation.held_out import ScoredDay, pooled
from livealign.evaluation.html import render_report
from livealign.evaluation.report import EvaluationReport, evaluate
from livealign.metrics import Interval
from orchestration.runs.closing_table import _variants_table

CONFIG = EvaluationConfig(bootstrap_samples=200, least_users=30)
FIRST_DAY = date(2025, 3, 1)


def thin_day(number: int) -> ScoredDay:
    """Twelve of sixty users, eight cards each; the release knows a part of the moment; scores have the day's own scale."""
    rng = np.random.default_rng(number)
    user = np.repeat(rng.choice(60, 12, replace=False), 8)
    n = len(user)
    static, moment = rng.normal(size=n), rng.normal(size=n)
    click = (rng.random(n) < 1 / (1 + np.exp(0.5 - static - moment))).astype(np.float32)
    slope, shift = rng.uniform(0.3, 3), rng.normal()
    scores = {"id_only": static, "aligned_codes": static + 0.5 * moment}
    frame = EvaluationFrame(
        user,
        user,
        midnight(FIRST_DAY + timedelta(days=number)) + rng.integers(0, DAY_MS, n),
        {"click": click},
        np.repeat(np.arange(12), 8),
        {"content": np.where(rng.random(n) < 0.5, "much", "none")},
    )
    spread = {name: np.tile(1 / (1 + np.exp(-slope * one - shift))[:, None], (1, len(TASKS))) for name, one in scores.items()}
    return ScoredDay(frame, {name: one.astype(np.float32) for name, one in spread.items()})


def report_of(days: int) -> EvaluationReport:
    judged = pooled([thin_day(number) for number in range(14 - days, 14)])
    return evaluate({name: scores[:, 0] for name, scores in judged.scores.items()}, judged.frame, CONFIG)


def test_one_thin_day_cannot_tell_the_better_variant_and_fourteen_can() -> None:
    one, fourteen = report_of(1), report_of(14)
    assert one.variants["aligned_codes"].n_users < CONFIG.least_users < fourteen.variants["aligned_codes"].n_users
    assert fourteen.differences["aligned_codes"].low > 0
    assert len(fourteen.days) == 14
    assert TOO_FEW not in with_interval(fourteen.differences["aligned_codes"], CONFIG.least_users)
    assert with_interval(one.differences["aligned_codes"], CONFIG.least_users).endswith(f"] {TOO_FEW}")


def test_the_report_puts_intervals_first_and_says_too_few_in_place_of_a_number() -> None:
    one, fourteen = report_of(1), report_of(14)
    shown = f"{one.variants['aligned_codes'].gauc:.4f}"
    of_variants = render_report(one, {}).split("<h2>By content")[0].split("Click ranking")[1]
    assert f">{shown}<" not in of_variants
    assert TOO_FEW in of_variants
    html = render_report(fourteen, {})
    assert f"<td>{fourteen.variants['aligned_codes'].gauc:.4f}</td>" in html
    assert html.index("interval of GAUC") < html.index("<th>GAUC</th>")
    assert "14 from 2025-03-01 to 2025-03-14" in html


def test_the_keys_of_one_day_are_what_they_were_and_several_days_add_theirs() -> None:
    one, fourteen = report_of(1).to_summary(), report_of(14).to_summary()
    assert set(fourteen) - set(one) == {"judged_days"}
    assert set(fourteen["variants"]["id_only"]) - set(one["variants"]["id_only"]) == {"gauc_interval"}
    interval = fourteen["variants"]["id_only"]["gauc_interval"]
    assert interval["low"] < fourteen["variants"]["id_only"]["gauc"] < interval["high"]


@pytest.mark.parametrize("days", [1, 14])
def test_the_closing_table_says_how_many_days_and_users_were_judged(days: int) -> None:
    report = report_of(days)
    users = report.variants["id_only"].n_users
    summary = {
        "data_window": {"start": "2025-02-01", "train_end": "2025-03-13", "end": "2025-03-14"},
        "judged": {"days": list(report.days), "users": users, "least_users": CONFIG.least_users},
        "variants": report.to_summary()["variants"],
        "differences_to_id_only": report.to_summary()["differences"],
    }
    console = PlainConsole()
    console.file, console.width = io.StringIO(), 200
    console.print(_variants_table(summary))
    text = " ".join(console.file.getvalue().split())
    gauc, interval = f"{report.variants['aligned_codes'].gauc:.4f}", summary["variants"]["aligned_codes"].get("gauc_interval")
    if days == 1:
        assert gauc not in text
        assert f"{TOO_FEW}: {users} users had both a click and a skip on a day, {CONFIG.least_users} are needed" in text
    else:
        assert "click on 14 days, 2025-03-01 to 2025-03-14" in text
        assert text.index(f"{interval['low']:.3f}") < text.index(gauc), "the interval comes first"
        assert TOO_FEW not in text


def test_lists_and_users_of_two_days_are_kept_apart() -> None:
    two = [thin_day(0), thin_day(1)]
    lists = [one.frame.lists() for one in two]
    assert len(np.unique(pooled(two).frame.lists())) == sum(len(np.unique(one)) for one in lists)
    assert pooled(two[:1]) is two[0]


def test_only_what_every_day_has_is_pooled() -> None:
    first, second = thin_day(0), thin_day(1)
    more = replace(first, frame=replace(first.frame, slices={**first.frame.slices, "quality": first.frame.user}))
    more = replace(more, scores={**more.scores, "raw_llm": more.scores["id_only"]})
    judged = pooled([more, second])
    assert set(judged.frame.slices) == {"content"}
    assert set(judged.scores) == {"id_only", "aligned_codes"}


def test_a_saved_day_is_read_as_it_was_and_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    day, path = thin_day(3), tmp_path / "2025-03-04.npz"
    day.save(path)
    read = ScoredDay.load(path)
    np.testing.assert_array_equal(read.scores["aligned_codes"], day.scores["aligned_codes"])
    np.testing.assert_array_equal(read.frame.slices["content"], day.frame.slices["content"])
    np.testing.assert_array_equal(read.frame.lists(), day.frame.lists())
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(LiveAlignError, match="run the asset comparison again"):
        ScoredDay.load(path)


@pytest.mark.parametrize(
    ("interval", "told"),
    [
        (Interval(0.01, -0.05, 0.07, 50), False),
        (Interval(-0.01, -0.05, 0.03, 50), False),
        (Interval(0.03, 0.01, 0.05, 50), True),
        (Interval(0.0, 0.0, 0.0, 50), True),
        (Interval(0.03, 0.01, 0.05, 9), False),
    ],
)
def test_a_difference_is_a_number_only_where_its_interval_is_not_wider_than_it(interval: Interval, told: bool) -> None:
    assert (TOO_FEW not in with_interval(interval, least_users=10)) == told
    assert with_interval(interval).startswith(f"[{interval.low:+.4f}, {interval.high:+.4f}] ")
