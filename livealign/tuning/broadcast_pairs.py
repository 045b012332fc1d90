"""Choose pairs of whole broadcasts of one author.

They suit platforms where a window holds few words and an author's broadcasts resemble each other. A window of chat hardly
shows which broadcast it is from; the mean of several does. So a side is `broadcast_windows` windows of one broadcast, embedded
separately and averaged: windows of the first half against windows of the second, or the title against the words. Negatives
are other broadcasts of the same author, so the author's identity is of no help.
"""

import numpy as np
import pyarrow as pa

from livealign.config import FinetuneConfig, SegmentConfig
from livealign.errors import TrainingError
from livealign.llm.segment_text import WindowText, compose_text, sorted_window_texts
from livealign.tuning.pairs import NO_USER, TextPairs


def choose_broadcast_pairs(
    segments: pa.Table, segment_config: SegmentConfig, config: FinetuneConfig, seed: int | None = None
) -> TextPairs:
    """As many pairs as `config` trains and validates on; each broadcast equally often.

    Args:
        segments: the mart `segments` of the training days.

    Raises:
        TrainingError: no broadcast has `2 * config.broadcast_windows` windows in which anything was said.
    """
    rng = np.random.default_rng(config.seed if seed is None else seed)
    rooms, window_texts, _ = sorted_window_texts(segments)
    author_of = dict(zip(segments["room_id"].to_pylist(), segments["author_id"].to_pylist(), strict=True))
    windows = config.broadcast_windows
    broadcasts = [rows for rows in talking_by_room(rooms, window_texts) if len(rows) >= 2 * windows]
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
        left_texts, right_texts = _two_sides(broadcasts[number], window_texts, segment_config, config, rng)
        left += left_texts
        right += right_texts
    room = np.repeat([rooms[broadcasts[number][0]] for number in chosen], windows)
    # All windows of a broadcast count as its first: two pairs of one broadcast are never each other's negatives.
    begins = np.repeat([window_texts[broadcasts[number][0]].window for number in chosen], windows)
    author = np.array([author_of[room_id] for room_id in room.tolist()], dtype=np.int64)
    return TextPairs(left, right, room, room, begins, begins, np.full(len(room), NO_USER, np.int64), windows, author)


def talking_by_room(rooms: np.ndarray, window_texts: list[WindowText]) -> list[np.ndarray]:
    """The rows of each room's windows that have words, in the order of time.

    Args:
        rooms, window_texts: sorted by room and time.
    """
    talking = np.flatnonzero([not window_text.is_silent for window_text in window_texts])
    return np.split(talking, np.flatnonzero(np.diff(rooms[talking])) + 1) if len(talking) else []


def title_text(window_text: WindowText, config: SegmentConfig) -> str:
    """The text of a broadcast's title and category; "" if it has neither."""
    if not window_text.title and not window_text.category:
        return ""
    return compose_text(WindowText(0, 0, window_text.title, window_text.category), (), config)


def words_text(window_text: WindowText, config: SegmentConfig) -> str:
    """The text of a window's words, without title, category and age."""
    return compose_text(window_text._replace(window=0, age=0, title="", category=""), (), config)


def _two_sides(
    rows: np.ndarray,
    window_texts: list[WindowText],
    segment_config: SegmentConfig,
    config: FinetuneConfig,
    rng: np.random.Generator,
) -> tuple[list[str], list[str]]:
    """The texts of both sides of one pair, in either order."""
    windows, middle = config.broadcast_windows, len(rows) // 2

    def some_of(part: np.ndarray) -> list[str]:
        return [words_text(window_texts[row], segment_config) for row in rng.choice(part, windows, replace=False).tolist()]

    title = title_text(window_texts[rows[0]], segment_config)
    if title and rng.random() < config.title_share:
        sides = [title] * windows, some_of(rows)
    else:
        sides = some_of(rows[:middle]), some_of(rows[middle:])
    return sides if rng.random() < 0.5 else sides[::-1]
