"""The cron of the schedule: what it accepts Dagster accepts too, and its time comes."""

import random
from datetime import UTC, datetime

import pytest
from dagster._utils.schedules import is_valid_cron_schedule, schedule_execution_time_iterator

from livealign.retrain.cron import is_cron

NOW = datetime(2025, 6, 9, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "cron",
    [
        *("0 3 * * *", "*/15 0-6 1,15 jan-mar mon-fri", "0 3 29 2 *", "59 23 31 12 7", "0 0-22/2 * * MON"),
        *("5/15 * * * *", "0 22-3 * * *", "0 3 * nov-jan *", "0 3 * * sat-sun"),
    ],
)
def test_a_cron_whose_time_comes_is_taken(cron: str) -> None:
    assert is_cron(cron)
    assert datetime.fromtimestamp(next(schedule_execution_time_iterator(NOW, cron, "UTC", True)).timestamp(), UTC).year < 2040


@pytest.mark.parametrize(
    "cron",
    [
        *("", "0 3 * *", "0 3 * * * *", "60 3 * * *", "0 24 * * *", "0 3 0 * *", "0 3 * 13 *", "0 3 * * 8"),
        *(
            "*/0 3 * * *",
            "0 3 30 2 *",
            "0 3 30 2 sun",
            "0 3 31 apr,jun *",
            "@daily",
            "0 3 * * mo",
            "-1 3 * * *",
            "٣ 3 * * *",
        ),
        *("0,, 3 * * *", "* * * * feb", "every night at three o'clock"),
    ],
)
def test_what_is_no_cron_or_never_comes_is_refused(cron: str) -> None:
    assert not is_cron(cron)


def test_dagster_takes_whatever_is_taken() -> None:
    rng = random.Random(17)
    parts = ["*", "0", "3", "7", "12", "31", "59", "1-5", "5-1", "*/2", "1-9/3", "3/2", "1,2", "jan", "sun-tue", "60", ""]
    crons = [" ".join(rng.choices(parts, weights=[6, *[1] * (len(parts) - 1)], k=5)) for _ in range(3_000)]
    taken = [cron for cron in crons if is_cron(cron)]
    assert len(taken) > 300
    assert [cron for cron in taken if not is_valid_cron_schedule(cron)] == []
