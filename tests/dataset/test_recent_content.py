"""The average of a room's last windows: the formula, nothing of the future, and the same live as in training."""

import numpy as np
import pytest

from livealign.dataset.recent_content import RecentContent, recent_content

HALF_LIFE = 60.0


def windows(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Content [n, 3], rooms and times of 5 rooms with gaps, in no order; one window has no content."""
    rng = np.random.default_rng(seed)
    room = np.repeat(np.arange(5), 8)
    started_at = np.concatenate([np.sort(rng.choice(100, 8, replace=False)) * 30_000 for _ in range(5)])
    order = rng.permutation(len(room))
    content = rng.normal(size=(len(room), 3)).astype(np.float32)
    content[7] = 0
    return content, room[order], started_at[order]


def test_a_window_counts_half_after_the_half_life() -> None:
    content = np.array([[1, 0], [0, 1], [0, 2]], dtype=np.float32)
    averages = recent_content(content, np.array([1, 1, 2]), np.array([0, 60_000, 0]), HALF_LIFE)
    assert averages == pytest.approx(np.array([[1, 0], [1 / 3, 2 / 3], [0, 2]]), abs=1e-6)


def test_no_window_knows_those_after_it_and_an_empty_one_stays_empty() -> None:
    content, room, started_at = windows()
    averages = recent_content(content, room, started_at, HALF_LIFE)
    later = started_at > 50 * 30_000
    changed = recent_content(np.where(later[:, None] & (content != 0), 9, content), room, started_at, HALF_LIFE)
    assert (changed[~later] == averages[~later]).all()
    assert not np.allclose(changed[later], averages[later])
    assert not averages[7].any()
    assert recent_content(content, room, started_at, 0) is content


def test_one_window_after_another_gives_what_all_at_once_give() -> None:
    content, room, started_at = windows(1)
    averages = recent_content(content, room, started_at, HALF_LIFE)
    for one in range(5):
        state = None
        for row in np.flatnonzero(room == one)[np.argsort(started_at[room == one])]:
            if content[row].any():
                state = RecentContent.step(state, content[row], int(started_at[row]), HALF_LIFE)
                assert state.average == pytest.approx(averages[row], abs=1e-5)
