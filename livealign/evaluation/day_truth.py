"""The simulator's truth of a corpus: its windows and its held-out impressions, read once.

truth = read_day_truth(archive, corpus)    # None on every real platform
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from livealign.dataset.columns import rows_by_key
from livealign.dataset.corpus import Corpus
from livealign.errors import EvaluationError
from livealign.simulation.truth import SIMULATE_AGAIN, WRITTEN, has_truth, log_odds_of, read_truth, read_truth_file, truth_file

WINDOW_MILLISECONDS = 30_000
_OPEN = ("new_members", "wording")  # columns that windows of an open world have
NO_WINDOW = "no window"
_MODIFIERS = ("highlight", "low_quality")  # of a window; the archive's settings have their log odds under the same names


class DayTruth(NamedTuple):
    """n held-out impressions, S segments (row 0 included), K topics."""

    topics: NDArray[np.int64]  # [S - 1] of every segment but row 0
    topic_names: Mapping[int, str]
    low_quality: NDArray[np.bool_]  # [S] whether text is missing or garbled in the segment's stream; row 0 False
    modifiers: Sequence[tuple[float, float]]  # (share of windows, log odds) of highlight and quality together
    probabilities: Mapping[str, NDArray[np.float64]]  # of a click [n], by column of `truth.WRITTEN`
    fixed: NDArray[np.floating]  # [n] log odds of a click but for taste and modifiers, the place included
    tastes: NDArray[np.floating]  # [n, K] log odds of the impression's user by topic
    position: float  # log odds by log1p of the place in the list
    slices: Mapping[str, NDArray[np.str_]]  # [S] by slice name, what is odd about the segment's words; empty if closed
    topic_of_word: Mapping[str, int]  # the topic that a case-folded word reveals wherever it is read; empty if closed

    @property
    def topic_of_segments(self) -> list[str]:
        """[S] the name of each segment's topic; "" for row 0."""
        return ["", *(self.topic_names[topic] for topic in self.topics.tolist())]


def read_day_truth(archive: Path, corpus: Corpus) -> DayTruth | None:
    """The truth of a corpus; None where the archive has none.

    Raises:
        EvaluationError: there is a truth folder, but a file of it is missing or damaged, or lacks windows or impressions.
    """
    if not has_truth(archive):
        return None
    windows, rows = _windows(archive, corpus)
    of_highlight, of_low_quality, of_position = log_odds_of(archive, *_MODIFIERS, "position")
    highlight, poor = (windows[name].to_numpy(zero_copy_only=False) for name in _MODIFIERS)
    shown = read_truth(archive, corpus.test.impression_id, corpus.day, [*WRITTEN, "user", "fixed_logit"])
    assert shown is not None  # there is a truth folder
    tastes = read_truth_file(truth_file(archive, "tastes", corpus.day), ["taste"])["taste"].combine_chunks()
    named = read_truth_file(archive / "truth" / "topics.parquet", ["topic", "name"]).to_pydict()
    return DayTruth(
        topics=windows["topic"].to_numpy().astype(np.int64)[rows],
        topic_names={int(topic): str(name) for topic, name in zip(named["topic"], named["name"], strict=True)},
        low_quality=np.concatenate([[False], poor[rows]]),
        modifiers=[
            (float(((highlight == h) & (poor == q)).mean()), h * of_highlight + q * of_low_quality)
            for h in (False, True)
            for q in (False, True)
        ],
        probabilities={column: shown[column] for column in WRITTEN},
        fixed=shown["fixed_logit"],
        tastes=tastes.flatten().to_numpy().reshape(len(tastes), -1)[shown["user"]],
        position=of_position,
        slices=_slices(windows, rows),
        topic_of_word=_topic_of_word(archive),
    )


def _slices(windows: pa.Table, rows: NDArray[np.int64]) -> dict[str, NDArray[np.str_]]:
    """Of each segment in an open world, whether its room's members are new and how the room puts things."""
    if not set(_OPEN) <= set(windows.column_names):
        return {}
    new, wording = (windows[name].to_numpy()[rows] for name in _OPEN)
    by_name = {"members": np.where(new, "new", "said before"), "wording": wording.astype(np.str_)}
    return {name: np.concatenate([[NO_WINDOW], values]) for name, values in by_name.items()}


def _members(archive: Path) -> Path:
    """The file that an archive of an open world has, and one of a closed world lacks."""
    return archive / "truth" / "members.parquet"


def _topic_of_word(archive: Path) -> dict[str, int]:
    """Words of the members of an open world; empty for a closed one."""
    if not _members(archive).is_file():
        return {}
    table = read_truth_file(_members(archive), ["topic", "words"]).to_pydict()
    return {word: topic for topic, words in zip(table["topic"], table["words"], strict=True) for word in words}


def _windows(archive: Path, corpus: Corpus) -> tuple[pa.Table, NDArray[np.int64]]:
    """The truth of all windows of the corpus' days, and the row of each segment of the corpus in it [S - 1]."""
    columns = ["room_id", "window", "topic", *_MODIFIERS]
    days = [*corpus.train_days, corpus.day]
    if _members(archive).is_file():
        columns += _OPEN
    table = pa.concat_tables([read_truth_file(truth_file(archive, "segments", day), columns) for day in days])
    segments = np.stack([corpus.segment_room_id[1:], corpus.segment_started_at[1:] // WINDOW_MILLISECONDS], axis=1)
    known = np.stack([table["room_id"].to_numpy(), table["window"].to_numpy()], axis=1)
    _, numbers = np.unique(np.concatenate([known, segments]), axis=0, return_inverse=True)
    rows = rows_by_key(numbers.reshape(-1)[: len(known)], numbers.reshape(-1)[len(known) :])
    if (rows < 0).any():
        raise EvaluationError(f"{archive / 'truth'} lacks {(rows < 0).sum()} of {len(rows)} windows; {SIMULATE_AGAIN}")
    return table, rows
