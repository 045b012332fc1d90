"""Rates: how often a sender may ask, and how many events a second there were."""

import threading

import pytest

from bentos.live_recommender.metrics import Rate
from bentos.live_recommender.rate_limits import BURST_SECONDS, RateLimit
from livealign.errors import LiveAlignError


def test_a_bucket_fills_again_and_never_beyond_its_burst() -> None:
    now = [0.0]
    limit = RateLimit(10.0, clock=lambda: now[0])
    assert limit.wait("a", 10 * BURST_SECONDS) == 0.0
    assert limit.wait("a", 5) == pytest.approx(0.5)
    now[0] = 0.5
    assert limit.wait("a", 5) == 0.0
    now[0] = 1_000.0
    assert limit.wait("a", 10 * BURST_SECONDS) == 0.0
    assert limit.wait("a", 1) > 0
    now[0] = 2_000.0
    assert limit.wait("a", 10_000) == 0.0  # more than a bucket holds, taken from a full one


def test_the_number_of_remembered_senders_is_bounded() -> None:
    limit = RateLimit(1.0)
    for sender in range(20_000):
        limit.wait(str(sender))
    assert len(limit._buckets) == 10_000


@pytest.mark.parametrize("value", ["0", "-1", "many", "nan", "inf"])
def test_a_rate_that_is_no_number_is_refused_at_the_start(value: str) -> None:
    with pytest.raises(LiveAlignError, match="LIVEALIGN_X is"):
        RateLimit.from_environment("LIVEALIGN_X", 1.0, {"LIVEALIGN_X": value})


def test_an_address_without_a_key_has_a_lower_rate_and_never_more_than_a_key_by_default() -> None:
    rates = {
        "": 50.0,
        "LIVEALIGN_REQUESTS_PER_SECOND=10": 10.0,
        "LIVEALIGN_REQUESTS_PER_SECOND=9000": 50.0,
        "LIVEALIGN_KEYLESS_REQUESTS_PER_SECOND=300": 300.0,
    }
    for variable, expected in rates.items():
        name, _, value = variable.partition("=")
        assert RateLimit.keyless({name: value}).per_second == expected, variable
    with pytest.raises(LiveAlignError, match="LIVEALIGN_KEYLESS_REQUESTS_PER_SECOND is"):
        RateLimit.keyless({"LIVEALIGN_KEYLESS_REQUESTS_PER_SECOND": "0"})


def test_a_rate_forgets_what_is_long_past(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    rate = Rate(window=10.0)
    rate.add(50)
    assert rate.per_second() == 5.0
    now[0] = 111.0
    assert rate.per_second() == 0.0


def test_many_threads_count_every_event() -> None:
    rate = Rate(window=1_000.0)

    def count() -> None:
        for _ in range(1_000):
            rate.add(1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rate.per_second() == 4.0
