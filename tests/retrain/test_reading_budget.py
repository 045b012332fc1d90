"""The reading budget: the most shown windows of each day are read, the others have their room's last vector."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livealign.days import partition
from livealign.retrain.reading_budget import reading_budget, reading_line

DAYS = (date(2025, 6, 1), date(2025, 6, 2))
NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)

# (segment, room, half minutes after noon of day 1, impressions); the second day begins 1,440 half minutes after noon.
WINDOWS = [
    (10, 1, 0, 1),
    (11, 1, 1, 5),
    (12, 1, 2, 0),
    (20, 2, 0, 0),
    (21, 2, 1, 4),
    (22, 2, 2, 2),
    (30, 3, 1_500, 1),
    (31, 3, 1_501, 0),
    (40, 4, 1_500, 0),
]
IDS = np.array([window[0] for window in WINDOWS])


@pytest.fixture
def marts(tmp_path: Path) -> Path:
    for day in DAYS:
        here = [window for window in WINDOWS if (NOON + timedelta(seconds=30 * window[2])).date() == day]
        segments = {
            "segment_id": pa.array([window[0] for window in here], pa.int64()),
            "room_id": pa.array([window[1] for window in here], pa.int64()),
            "started_at": pa.array(
                [(NOON + timedelta(seconds=30 * window[2])).replace(tzinfo=None) for window in here], pa.timestamp("us")
            ),
        }
        shown = [segment for segment, _, _, times in here for _ in range(times)]
        if day == DAYS[1]:
            shown += [12] * 50  # shown after midnight: not a count of its own day
        for mart, columns in (("segments", segments), ("interactions", {"segment_id": pa.array([*shown, None], pa.int64())})):
            file = partition(tmp_path, mart, day)
            file.parent.mkdir(parents=True)
            pq.write_table(pa.table(columns), file)
    return tmp_path


def test_without_a_budget_every_window_is_read(marts: Path) -> None:
    budget = reading_budget(marts, DAYS, IDS, 0)
    assert budget.read.tolist() == list(range(len(IDS)))
    assert (budget.read_share, budget.covered_share) == (1.0, 1.0)


def test_each_days_most_shown_windows_are_read_and_the_others_have_their_rooms_last_vector(marts: Path) -> None:
    budget = reading_budget(marts, DAYS, IDS, 2)
    assert IDS[budget.read].tolist() == [11, 21, 30, 31]  # of equals the first
    assert budget.source.tolist() == [-1, 1, 1, -1, 4, 4, 6, 7, -1]
    assert budget.read_share == pytest.approx(10 / 13)  # 5 + 4 + 1 of 13 impressions
    assert budget.covered_share == pytest.approx(12 / 13)  # all but the first window of room 1
    record = budget.record(2)
    assert record == {
        "windows_per_day": 2,
        "windows": 9,
        "read": 4,
        "impressions_with_read_window": 0.7692,
        "impressions_with_vector": 0.9231,
    }
    assert reading_line(record) == (
        "4 of 9 windows were read (reading.windows_per_day = 2); of the impressions 76.9% are of a window that was read, "
        "and 92.3% of one with a vector"
    )
    vectors = budget.for_all(np.array([[11.0], [21.0], [30.0], [31.0]], np.float32))
    assert vectors.ravel().tolist() == [0, 11, 11, 0, 21, 21, 30, 31, 0]


def test_the_choice_for_a_day_does_not_depend_on_the_other_days(marts: Path) -> None:
    whole, first = reading_budget(marts, DAYS, IDS, 1), reading_budget(marts, DAYS[:1], IDS[:6], 1)
    assert IDS[whole.read].tolist() == [11, 30]
    assert IDS[:6][first.read].tolist() == [11]


def test_no_window_at_all_is_no_error(marts: Path) -> None:
    budget = reading_budget(marts, DAYS, IDS[:0], 3)
    assert budget.for_all(np.zeros((0, 4), np.float32)).shape == (0, 4)
