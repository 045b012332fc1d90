"""Pairs for platforms whose moments say little and whose authors say much alike: a broadcast against others of its author.

A window of chat hardly tells which broadcast it is from; the mean of several does. So a side is `broadcast_windows` windows of
one broadcast, each read for itself and averaged: a few of its first half against a few of its second, or its title against
what was said. Negatives are other broadcasts of the same author, so that nothing is to be learned from whose it is.
"""

import numpy as np
import pyarrow as pa

from livealign.config import FinetuneConfig, SegmentConfig
from livealign.errors import TrainingError
from livealign.llm.segment_text import WindowText, compose_text, sorted_moments
from livealign.tuning.pairs import NOBODY, TextPairs


def choose_broadcast_pairs(
    segments: pa.Table, segment_config: SegmentConfig, config: FinetuneConfig, seed: int | None = None
) -> TextPairs:
    """As many pairs as `config` trains and validates on, from the mart `segments` of the training days; all broadcasts alike.

    Raises:
        TrainingError: no broadcast has `2 * config.broadcast_windows` windows in which anything was said.
    """
    rng = np.random.default_rng(config.seed if seed is None else seed)
    rooms, moments, _ = sorted_moments(segments)
    author_of = dict(zip(segments["room_id"].to_pylist(), segments["author_id"].to_pylist(), strict=True))
    windows = config.broadcast_windows
    broadcasts = [rows for rows in talking_by_room(rooms, moments) if len(rows) >= 2 * windows]
    if not broadcasts:
        raise TrainingError(
            f"no broadcast has {2 * windows} windows in which anything was said; lower finetune.broadcast_windows"
        )
    count = int(np.ceil(config.steps * config.batch_size / (1.0 - config.validation_share)))
    rounds = -(-count // len(broadcasts))
    chosen = np.concatenate([rng.permutation(len(broadcasts)) for _ in range(rounds)])[:count].tolist()
    left: list[str] = []
    right: list[str] = []
    for number in chosen:
        one, other = _two_sides(broadcasts[number], moments, segment_config, config, rng)
        left += one
        right += other
    room = np.repeat([rooms[broadcasts[number][0]] for number in chosen], windows)
    # All of a broadcast count as its first window: two pairs of one are never each other's negatives.
    begins = np.repeat([moments[broadcasts[number][0]].window for number in chosen], windows)
    author = np.array([author_of[one] for one in room.tolist()], dtype=np.int64)
    return TextPairs(left, right, room, room, begins, begins, np.full(len(room), NOBODY, np.int64), windows, author)


def talking_by_room(rooms: np.ndarray, moments: list[WindowText]) -> list[np.ndarray]:
    """The rows of each room in which anything was said, in the order of time; `rooms` and `moments` are sorted by both."""
    talking = np.flatnonzero([not moment.is_silent for moment in moments])
    return np.split(talking, np.flatnonzero(np.diff(rooms[talking])) + 1) if len(talking) else []


def title_of(moment: WindowText, config: SegmentConfig) -> str:
    """What is known of a broadcast when it begins: its title and category; "" where it has neither."""
    if not moment.title and not moment.category:
        return ""
    return compose_text(WindowText(0, 0, moment.title, moment.category), (), config)


def what_was_said(moment: WindowText, config: SegmentConfig) -> str:
    """The window's words, without title and category and without how long the broadcast has lasted."""
    return compose_text(moment._replace(window=0, age=0, title="", category=""), (), config)


def _two_sides(
    rows: np.ndarray, moments: list[WindowText], segment_config: SegmentConfig, config: FinetuneConfig, rng: np.random.Generator
) -> tuple[list[str], list[str]]:
    """The texts of both sides of one pair, in either order."""
    windows, middle = config.broadcast_windows, len(rows) // 2

    def some_of(part: np.ndarray) -> list[str]:
        return [what_was_said(moments[row], segment_config) for row in rng.choice(part, windows, replace=False).tolist()]

    title = title_of(moments[rows[0]], segment_config)
    if title and rng.random() < config.title_share:
        sides = [title] * windows, some_of(rows)
    else:
        sides = some_of(rows[:middle]), some_of(rows[middle:])
    return sides if rng.random() < 0.5 else sides[::-1]
