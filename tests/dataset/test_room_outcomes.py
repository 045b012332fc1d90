"""How a room has done so far today: by hand, at the edges of windows and days, and the same live as in training."""

import numpy as np
import pytest

from livealign.dataset.room_outcomes import CLICK_MS, WINDOW_MS, RoomOutcomes, outcomes_so_far
from livealign.days import DAY_MS

NOON = 20_000 * DAY_MS + DAY_MS // 2


def so_far(rows: list[tuple[int, int, float, int]]) -> list[tuple[float, float]]:
    """Of rows (room, shown at, click, known at) the counts of each."""
    room, shown, click, known = (np.array(column) for column in zip(*rows, strict=True))
    impressions, clicks = outcomes_so_far(room, shown, click.astype(np.float32), known)
    return list(zip(impressions.tolist(), clicks.tolist(), strict=True))


def skip(room: int, at: int) -> tuple[int, int, float, int]:
    return room, at, 0.0, at + CLICK_MS


def click(room: int, at: int, after: int) -> tuple[int, int, float, int]:
    return room, at, 1.0, at + after


def test_an_outcome_counts_from_the_window_after_the_one_in_which_it_is_known() -> None:
    rows = [
        click(1, NOON, 29_999),  # known in the first window
        skip(1, NOON + 10_000),  # known at 70 seconds: in the third
        skip(1, NOON + 29_999),
        skip(1, NOON + 30_000),
        skip(1, NOON + 89_999),
        skip(1, NOON + 90_000),
        skip(2, NOON + 90_000),  # another room
    ]
    assert so_far(rows) == [(0, 0), (0, 0), (0, 0), (1, 1), (1, 1), (3, 1), (0, 0)]


def test_at_midnight_it_begins_anew() -> None:
    midnight = 20_001 * DAY_MS
    rows = [click(1, midnight - 600_000, 5_000), skip(1, midnight - 100_000), skip(1, midnight - 30_000), skip(1, midnight)]
    assert so_far([*rows, skip(1, midnight + 120_000)]) == [(0, 0), (1, 1), (2, 1), (0, 0), (1, 0)]


def test_what_was_never_known_does_not_count() -> None:
    assert so_far([(1, NOON, np.nan, 0), skip(1, NOON + 300_000)]) == [(0, 0), (0, 0)]
    assert [len(one) for one in outcomes_so_far(*(np.zeros(0, np.int64),) * 2, np.zeros(0), np.zeros(0, np.int64))] == [0, 0]


def test_what_was_told_for_a_checkpoint_does_not_change_with_later_events() -> None:
    outcomes = RoomOutcomes()
    outcomes.shown(1, NOON)
    told = outcomes.to_plain()
    outcomes.shown(1, NOON)
    assert RoomOutcomes.from_plain(told).take_known(NOON // WINDOW_MS + 2, 20_000) == {1: (1, 0)}
    assert outcomes.take_known(NOON // WINDOW_MS + 2, 20_000) == {1: (2, 0)}


@pytest.mark.parametrize("seed", [1, 2])
def test_live_counts_are_those_of_training(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 600
    room, shown = rng.integers(1, 5, n), np.sort(20_000 * DAY_MS + DAY_MS - 1_200_000 + rng.integers(0, 2_400_000, n))
    clicked = rng.random(n) < 0.3
    known = np.where(clicked, shown + rng.integers(0, CLICK_MS + 1, n), shown + CLICK_MS)
    expected = np.stack(outcomes_so_far(room, shown, clicked.astype(np.float32), known), axis=1)

    events = [(int(at), 0, row) for row, at in enumerate(shown)]
    events += [(int(known[row]), 1, int(row)) for row in np.flatnonzero(clicked)]
    outcomes, counts, closed, day = RoomOutcomes(), dict.fromkeys(range(1, 5), (0, 0)), 0, 20_000
    for at, kind, row in sorted(events):
        if at // DAY_MS != day:
            day, counts = at // DAY_MS, dict.fromkeys(counts, (0, 0))
            outcomes.forget(day)
        if at // WINDOW_MS - 1 > closed:
            closed = at // WINDOW_MS - 1
            for one, (impressions, clicks) in outcomes.take_known(closed, day).items():
                counts[one] = counts[one][0] + impressions, counts[one][1] + clicks
        if kind == 0:
            assert counts[int(room[row])] == tuple(expected[row])
            outcomes.shown(int(room[row]), at)
        else:
            outcomes.clicked(int(room[row]), int(shown[row]), at)
        outcomes = RoomOutcomes.from_plain(outcomes.to_plain())  # as a restart would find it
    assert expected[:, 0].max() > 20
    assert expected[:, 1].max() > 5
