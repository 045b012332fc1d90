"""Histories cut at a moment, against the slow way, and against what must never be in them."""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livealign.dataset.histories import Engagements, histories_before, read_engagements
from livealign.days import partition
from livealign.errors import MartError

LENGTH = 3
_people = st.integers(1, 4)
_times = st.integers(0, 12)


def engagements_of(rows: list[tuple[int, int]]) -> Engagements:
    """Engagements (user, time), numbered in the order given; author and segment follow from the number."""
    rows = sorted((user, time, number) for number, (user, time) in enumerate(rows, start=1))
    user, time, number = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return Engagements(user, time, number, 100 + number, 1_000 + number)


@given(st.lists(st.tuples(_people, _times), max_size=30), st.lists(st.tuples(_people, _times), max_size=10))
@settings(max_examples=200)
def test_a_history_is_what_the_user_had_done_strictly_before_newest_first(
    done: list[tuple[int, int]], shown: list[tuple[int, int]]
) -> None:
    user, at = np.array(shown, dtype=np.int64).reshape(-1, 2).T
    engagements = engagements_of(done)
    got = histories_before(engagements, user, at, LENGTH)
    authors, segments, times = (
        np.append(one, 0)[got.rows] for one in (engagements.author_id, engagements.segment_id, engagements.engaged_at)
    )
    for row, (user_id, moment) in enumerate(shown):
        before = sorted(((time, n) for n, (who, time) in enumerate(done, start=1) if who == user_id and time < moment))
        wanted = before[::-1][:LENGTH]
        n = len(wanted)
        assert got.length[row] == n
        assert authors[row].tolist() == [100 + one for _, one in wanted] + [0] * (LENGTH - n)
        assert segments[row].tolist() == [1_000 + one for _, one in wanted] + [0] * (LENGTH - n)
        assert times[row, :n].tolist() == [time for time, _ in wanted]
        assert (times[row, :n] < moment).all()


def test_times_of_the_calendar_and_many_users_do_not_overflow() -> None:
    users = np.arange(1, 200_001, dtype=np.int64) * 40_000_000_000_000
    first, last = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1_000) for year in (2000, 2026))
    known = Engagements(users, np.full(len(users), first), users, users + 1, users + 2)
    got = histories_before(known, users[::1_000], np.full(200, last), LENGTH)
    assert (known.author_id[got.rows[:, 0]] == users[::1_000] + 1).all()
    assert (got.length == 1).all()


def write_day(marts: Path, day: date, rows: list[tuple[int, int, int]]) -> None:
    """(user, hour, impression) of one day."""
    path = partition(marts, "user_histories", day)
    path.parent.mkdir(parents=True)
    at = [datetime(day.year, day.month, day.day, hour) for _, hour, _ in rows]
    columns = {"user_id": [user for user, _, _ in rows], "impression_id": [impression for *_, impression in rows]}
    columns |= {"author_id": columns["impression_id"], "segment_id": [None] * len(rows)}
    ids = {name: pa.array(values, pa.int64()) for name, values in columns.items()}
    pq.write_table(pa.table({**ids, "engaged_at": pa.array(at, pa.timestamp("us"))}), path)


def test_earlier_days_are_read_only_as_far_as_histories_reach_back(tmp_path: Path) -> None:
    days = [date(2025, 6, day) for day in range(1, 6)]
    done = [[(1, 1, 11), (2, 1, 12)], [(1, 2, 21), (3, 2, 22)], [(1, 3, 31), (1, 4, 32)], [(1, 5, 41)], [(2, 6, 51)]]
    for day, rows in zip(days, done, strict=True):
        write_day(tmp_path, day, rows)
    got = read_engagements(tmp_path, days[3], days[4], np.array([1, 2, 2]), length=2)
    # User 1 has two before the fourth day and needs no third; user 2 has one, days before.
    whose = list(zip(got.user_id.tolist(), got.impression_id.tolist(), strict=True))
    assert whose == [(1, 31), (1, 32), (1, 41), (2, 12), (2, 51)]
    with pytest.raises(MartError, match="has no day 2025-06-06; build the warehouse for 2025-06-06 first"):
        read_engagements(tmp_path, days[3], date(2025, 6, 6), np.array([1]), length=2)
    partition(tmp_path, "user_histories", days[0]).write_bytes(b"PAR1")
    with pytest.raises(MartError, match="dt=2025-06-01"):
        read_engagements(tmp_path, days[3], days[4], np.array([1, 2]), length=2)
