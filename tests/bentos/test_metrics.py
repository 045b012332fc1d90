"""The series of the service: what the live core reports is what /metrics shows."""

import re

import numpy as np
import pytest

from bentos.live_recommender.metrics import exposition, process_metrics
from livealign.events.parsing import Rejection
from livealign.live.answers import SharedReport, TickReport


def series() -> dict[str, float]:
    """Every series with its labels, by name; the process has one set, so tests look at differences.

    An experiment of another test leaves NaN where no interval was known, which equals not even itself.
    """
    text = exposition()[0].decode()
    found = re.findall(r"^(livealign_\S+) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found if value != "NaN"}


def test_a_tick_sets_every_series_that_describes_it(capsys: pytest.CaptureFixture[str]) -> None:
    metrics, before = process_metrics(), series()
    ages = np.array([3.0, 40.0], np.float32)
    metrics.ticked(TickReport(0, 12, 7, 5, 6, 9, 4, 2.5, 1.25, (8, 3), ages, True, None))
    after = series()

    def grown(name: str) -> float:
        return after[f"livealign_{name}"] - before.get(f"livealign_{name}", 0.0)

    assert {name: after[f"livealign_{name}"] for name in ("windows_waiting", "degraded", "live_rooms")} == {
        "windows_waiting": 9,
        "degraded": 1,
        "live_rooms": 2,
    }
    assert (grown("room_staleness_seconds_count"), grown("room_staleness_seconds_sum")) == (2, 43)
    assert (grown("encode_batch_texts_count"), grown("encode_batch_texts_sum")) == (2, 11)
    assert (grown("encode_seconds_sum"), grown("tick_seconds_sum")) == (1.25, 2.5)
    assert grown('refreshed_rooms_total{outcome="encoded"}') == 7
    assert grown('refreshed_rooms_total{outcome="deferred"}') == 5
    assert grown("windows_dropped_total") == 4


def test_lists_events_shares_and_releases_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = process_metrics()
    metrics.serving("2025-06-08-a")
    metrics.shared(SharedReport(0, 0, 0, 0, (), ()))
    before = series()
    metrics.recommended({"rank": 0.003, "select": 0.001}, ("no_refresh",))
    metrics.events({("comment", "accepted"): 3, ("comment", "late"): 2})
    metrics.rejected([Rejection(place, None, "too_late", "") for place in (0, 1)])
    metrics.shared(SharedReport(readers=3, rooms_owned=11, published=5, followed=7, delays_seconds=(1.0, 2.0), problems=()))
    metrics.failed("refresh", "the model is gone")
    metrics.took_over("2025-06-09-b", 1.0)
    after = series()
    grown = {
        name: value - before.get(name, 0.0)
        for name, value in after.items()
        if value != before.get(name, 0.0) and "_bucket" not in name and "_created" not in name
    }
    assert grown == {
        'livealign_recommend_seconds_count{stage="rank"}': 1,
        'livealign_recommend_seconds_sum{stage="rank"}': pytest.approx(0.003),
        'livealign_recommend_seconds_count{stage="select"}': 1,
        'livealign_recommend_seconds_sum{stage="select"}': pytest.approx(0.001),
        'livealign_fallbacks_total{kind="no_refresh"}': 1,
        'livealign_events_total{kind="comment",outcome="accepted"}': 3,
        "livealign_late_events_total": 2,
        'livealign_rejections_total{reason="too_late"}': 2,
        "livealign_readers": 3,
        "livealign_rooms_owned": 11,
        "livealign_vectors_published_total": 5,
        "livealign_vectors_followed_total": 7,
        "livealign_vectors_delay_seconds_count": 2,
        "livealign_vectors_delay_seconds_sum": 3,
        'livealign_failures_total{what="refresh"}': 1,
        "livealign_takeovers_total": 1,
        'livealign_release{release_id="2025-06-08-a"}': -1,
        'livealign_release{release_id="2025-06-09-b"}': 1,
    }
