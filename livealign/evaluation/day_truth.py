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
    )


def _windows(archive: Path, corpus: Corpus) -> tuple[pa.Table, NDArray[np.int64]]:
    """The truth of all windows of the corpus' days, and the row of each segment of the corpus in it [S - 1]."""
    columns = ["room_id", "window", "topic", *_MODIFIERS]
    days = [*corpus.train_days, corpus.day]
    table = pa.concat_tables([read_truth_file(truth_file(archive, "segments", day), columns) for day in days])
    segments = np.stack([corpus.segment_room_id[1:], corpus.segment_started_at[1:] // WINDOW_MILLISECONDS], axis=1)
    known = np.stack([table["room_id"].to_numpy(), table["window"].to_numpy()], axis=1)
    _, numbers = np.unique(np.concatenate([known, segments]), axis=0, return_inverse=True)
    rows = rows_by_key(numbers.reshape(-1)[: len(known)], numbers.reshape(-1)[len(known) :])
    if (rows < 0).any():
        raise EvaluationError(f"{archive / 'truth'} lacks {(rows < 0).sum()} of {len(rows)} windows; {SIMULATE_AGAIN}")
    return table, rows
