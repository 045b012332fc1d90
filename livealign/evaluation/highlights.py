"""The highlight task of KuaiLive-M3: predict the score of a room's next window.

    table = highlight_table(corpus, marts, segments)              # pairs (window, next window) of ended rooms
    report = compare_highlights(table, {"tuned_llm": content})    # statistics alone, and with each kind of content

A score is 0.6 × retention + 0.4 × engagement density, each scaled to the room's own range (mart `segment_highlights`), so a
label is known at the room's end only: training has the rooms that ended in the training days, the test those of the day after.
Inputs are known at the end of the first window. The published baseline scales its inputs by the whole room and reads the next
window's own counts; this one does neither.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import average_precision_score

from livealign.config import HighlightConfig
from livealign.dataset.columns import floats, ints, rows_by_key
from livealign.dataset.corpus import Corpus
from livealign.dataset.features import COUNTS, WINDOW_COUNTS
from livealign.dataset.marts import built_days, read_mart
from livealign.days import EPOCH
from livealign.errors import TrainingError

Floats = NDArray[np.float32]

SEGMENT_COLUMNS = ("segment_id", "room_id", "window", "segment_index", *WINDOW_COUNTS)
STATISTICS = "statistics"  # the row of the report that has no content


@dataclass(frozen=True)
class HighlightTable:
    """Pairs of a window and the next one of the same room, sorted by room and window.

    The first window gives the inputs, the next one the labels.
    """

    room_id: NDArray[np.int64]  # [n]
    segment: NDArray[np.int64]  # [n] row of the first window in the corpus, for its content
    known: Floats  # [n, statistics] at the end of the first window
    score: Floats  # [n] of the next window, 0 to 1
    highlight: NDArray[np.bool_]  # [n] whether the next window is among its room's top 30 %
    is_train: NDArray[np.bool_]  # [n] whether the room ended in the training days


@dataclass(frozen=True)
class HighlightMetrics:
    """Means over the held-out rooms in which the metric is defined."""

    mean_average_precision: float  # of the room's highlights, ranked by predicted score
    f1_at_half: float  # the half of the room's windows predicted to be best, against the half that is
    kendall: float  # τ-b between predicted and true scores of a room
    spearman: float  # ρ, likewise
    rooms: int

    def to_dict(self) -> dict[str, float | None]:
        """The values by name; None where the metric is defined in no room."""
        values = {
            "mAP": self.mean_average_precision,
            "F1@50%": self.f1_at_half,
            "kendall": self.kendall,
            "spearman": self.spearman,
            "rooms": float(self.rooms),
        }
        return {name: value if np.isfinite(value) else None for name, value in values.items()}


def highlight_table(corpus: Corpus, marts: Path, segments: pa.Table) -> HighlightTable:
    """All pairs of neighbouring windows of rooms that ended in the corpus' days.

    The first window of each pair is a segment of the corpus.

    Args:
        segments: the mart of the corpus' days with SEGMENT_COLUMNS.

    Raises:
        TrainingError: no room has ended in the training days, or none on the held-out day.
    """
    days = [day for day in built_days(marts, "segment_highlights") if corpus.train_days[0] <= day <= corpus.day]
    labels = read_mart(marts, "segment_highlights", days, ["room_id", "window", "score", "highlight", "dt"])
    segments = segments.select(SEGMENT_COLUMNS).sort_by([("room_id", "ascending"), ("window", "ascending")])
    known = known_statistics(segments)
    next_label = _rows_of(labels, ints(segments, "room_id"), ints(segments, "window") + 1)
    segment = corpus.segment_rows(ints(segments, "segment_id"))
    rows = np.flatnonzero((next_label >= 0) & (segment > 0))
    label = next_label[rows]
    ended_on = labels["dt"].cast(pa.date32()).cast(pa.int32()).to_numpy()[label]
    is_train = ended_on < (corpus.day - EPOCH).days
    if not is_train.any() or is_train.all():
        raise TrainingError(f"highlights need rooms that ended before {corpus.day} and on it; build more days")
    return HighlightTable(
        ints(segments, "room_id")[rows],
        segment[rows],
        known[rows],
        floats(labels, "score")[label].astype(np.float32),
        ints(labels, "highlight")[label] == 1,
        is_train,
    )


def known_statistics(segments: pa.Table) -> Floats:
    """Statistics [n, 3 × 9] of a room's counts at the end of each window.

    They are the window's own counts, their change, and the room's mean so far.

    LiveForesighter (arXiv 2502.06557): the run of positive behaviour shows whether a room is at a highlight now.

    Args:
        segments: the mart, sorted by room and window.
    """
    room = ints(segments, "room_id")
    now = np.column_stack(
        [
            *(np.log1p(np.nan_to_num(floats(segments, name))) for name in COUNTS),
            np.nan_to_num(floats(segments, "retention")),
            np.log1p(ints(segments, "segment_index")),
        ]
    )
    first = np.r_[True, room[1:] != room[:-1]]
    start = np.maximum.accumulate(np.where(first, np.arange(len(room)), 0))
    total = np.cumsum(now, axis=0)
    so_far = (total - (total - now)[start]) / (np.arange(len(room)) - start + 1)[:, None]
    change = now - np.where(first[:, None], now, np.roll(now, 1, axis=0))
    return np.concatenate([now, change, so_far], axis=1).astype(np.float32)


def compare_highlights(
    table: HighlightTable, content: Mapping[str, Floats], config: HighlightConfig | None = None
) -> dict[str, HighlightMetrics]:
    """Metrics of the regression on statistics alone, and with each content beside them.

    Content is [segments, d]; all are measured on the same held-out rooms.
    """
    config = config or HighlightConfig()
    inputs = {STATISTICS: table.known}
    for name, vectors in content.items():
        inputs[f"{STATISTICS} + {name}"] = np.concatenate([table.known, _components(table, vectors, config)], axis=1)
    return {name: highlight_metrics(_predicted(table, known, config), table) for name, known in inputs.items()}


def highlight_metrics(predicted: NDArray[np.floating], table: HighlightTable) -> HighlightMetrics:
    """Measure predicted scores [n] on the held-out rooms, each room by itself.

    A constant prediction has rank correlation 0.
    """
    values: dict[str, list[float]] = {"ap": [], "f1": [], "kendall": [], "spearman": []}
    held_out = np.flatnonzero(~table.is_train)
    for rows in np.split(held_out, np.flatnonzero(np.diff(table.room_id[held_out])) + 1):
        score, guess, highlight = table.score[rows], predicted[rows], table.highlight[rows]
        if len(rows) < 2 or score.min() == score.max():
            continue
        if highlight.any():
            values["ap"].append(float(average_precision_score(highlight, guess)))
        half = len(rows) // 2
        best = set(np.argsort(-score, kind="stable")[:half].tolist())
        values["f1"].append(len(best & set(np.argsort(-guess, kind="stable")[:half].tolist())) / half)
        constant = guess.min() == guess.max()
        values["kendall"].append(0.0 if constant else float(kendalltau(guess, score).statistic))
        values["spearman"].append(0.0 if constant else float(spearmanr(guess, score).statistic))
    means: dict[str, Any] = {name: float(np.mean(each)) if each else float("nan") for name, each in values.items()}
    return HighlightMetrics(means["ap"], means["f1"], means["kendall"], means["spearman"], len(values["f1"]))


def _predicted(table: HighlightTable, known: Floats, config: HighlightConfig) -> NDArray[np.float64]:
    trees = HistGradientBoostingRegressor(
        max_iter=config.trees,
        learning_rate=config.learning_rate,
        max_leaf_nodes=config.leaves,
        min_samples_leaf=config.least_in_leaf,
        random_state=config.seed,
    )
    trees.fit(known[table.is_train], table.score[table.is_train])
    return np.asarray(trees.predict(known), dtype=np.float64)


def _components(table: HighlightTable, vectors: Floats, config: HighlightConfig) -> Floats:
    """The content of the pairs' first windows in its first principal directions, found in the training rooms."""
    rows = vectors[table.segment]
    centred = rows - rows[table.is_train].mean(0)
    size = min(config.components, centred.shape[1] - 1, int(table.is_train.sum()) - 1)
    if size < 1:
        return centred.astype(np.float32)
    svd = TruncatedSVD(size, random_state=config.seed).fit(centred[table.is_train])
    return svd.transform(centred).astype(np.float32)


def _rows_of(labels: pa.Table, room: NDArray[np.int64], window: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row of the label of each (room, window), −1 where there is none."""
    known = np.stack([ints(labels, "room_id"), ints(labels, "window")], axis=1)
    _, numbers = np.unique(np.concatenate([known, np.stack([room, window], axis=1)]), axis=0, return_inverse=True)
    numbers = numbers.reshape(-1)
    return rows_by_key(numbers[: len(known)], numbers[len(known) :])
