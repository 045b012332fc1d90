"""The held-out day as evaluation sees it: its impressions, their slices and, on the simulated platform, the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from livealign.config import EvaluationConfig
from livealign.dataset import TASKS, Examples
from livealign.errors import LiveAlignError

# Row of the report → column of the truth. Two are written down, the others worked out (livealign.ceilings).
ANY_PLACE = "_any_place"
ORACLES = {"oracle": "p_click", "oracle_text": "p_click_text", "oracle_static": "p_click_static"}
WRITTEN = (ORACLES["oracle"], ORACLES["oracle_static"])
ORACLES |= {row + ANY_PLACE: column + ANY_PLACE for row, column in ORACLES.items()}
MILLISECONDS_A_DAY = 86_400_000
SIMULATE_AGAIN = "make the archive again with `livealign simulate`"

SLICE_ORDER: Sequence[str] = (
    *("head", "torso", "tail", "unseen"),
    *("heavy", "regular", "light", "new"),
    *("much", "little", "none"),
    *("opening", "middle", "later"),
    *("clear", "poor"),
)


class EvaluationError(LiveAlignError):
    """The scores do not fit the held-out impressions, or the truth file is damaged."""


@dataclass(frozen=True)
class EvaluationFrame:
    """The held-out impressions, one row each; all arrays are [n]."""

    user: NDArray
    author: NDArray
    shown_at: NDArray  # int64 epoch milliseconds, UTC
    labels: Mapping[str, NDArray]  # task → 0, 1 or NaN where not observable before the horizon
    request: NDArray | None = None  # int64, number of the list the row belongs to; negative = none
    slices: Mapping[str, NDArray] = field(default_factory=dict)  # slice name → its value for each row, see `standard_slices`

    @classmethod
    def from_examples(cls, examples: Examples, slices: Mapping[str, NDArray] | None = None) -> "EvaluationFrame":
        """The frame of a corpus' test examples; users and authors by the ids that were landed."""
        return cls(
            examples.user_id,
            examples.author_id,
            examples.shown_at,
            {task: examples.label(task) for task in TASKS},
            examples.request,
            slices or {},
        )

    def __len__(self) -> int:
        return len(self.user)

    def lists(self) -> NDArray[np.int64]:
        """List of each row [n]: its request; a row alone in its request, or without one, belongs to its user's day.

        Nothing can be ranked in a list of one, so a platform that logs no lists is measured on user-days.
        """
        keys = np.stack([self.user.astype(np.int64), self.shown_at // MILLISECONDS_A_DAY], axis=1)
        user_day = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
        if self.request is None or len(self) == 0:
            return user_day.astype(np.int64)
        _, number, size = np.unique(self.request, return_inverse=True, return_counts=True)
        in_list = (self.request >= 0) & (size[number] > 1)
        return np.where(in_list, number + user_day.max() + 1, user_day).astype(np.int64)


def standard_slices(
    author: NDArray,
    user: NDArray,
    train_author: NDArray,
    train_user: NDArray,
    text_characters: NDArray,
    minute_in_room: NDArray,
    config: EvaluationConfig,
) -> dict[str, NDArray]:
    """The slices of protocols.md, each an array of names [n].

    Args:
        author, user: [n] of the held-out rows. train_author, train_user: [n_train], one per training impression.
        text_characters: [n] length of the text of the segment shown (0: none, or no segment).
        minute_in_room: [n] minutes since the broadcast began.
    """
    characters = np.asarray(text_characters)
    early, later = config.early_minutes
    content = np.where(characters <= 0, "none", np.where(characters < config.much_text_characters, "little", "much"))
    minute = np.asarray(minute_in_room)
    phase = np.where(minute < early, "opening", np.where(minute < later, "middle", "later"))
    return {
        "author_popularity": _bands(author, train_author, ("head", "torso", "tail", "unseen"), config),
        "user_activity": _bands(user, train_user, ("heavy", "regular", "light", "new"), config),
        "content": content,
        "minute": phase,
    }


def read_truth(archive: Path, impression_ids: ArrayLike, day: date) -> dict[str, NDArray[np.float64]] | None:
    """True click probabilities of the simulated platform, in the order of `impression_ids`.

    Returns:
        {"p_click": [n], "p_click_static": [n]}, or None where the archive holds no truth (every real platform).

    Raises:
        EvaluationError: there is a truth folder, but its file of this day is missing, unreadable or lacks impressions.
    """
    if not (archive / "truth").is_dir():
        return None
    file = truth_file(archive, "impressions", day)
    table = read_truth_file(file, ["impression_id", *WRITTEN])
    known = table["impression_id"].to_numpy()
    wanted = np.asarray(impression_ids, np.int64)
    order = np.argsort(known)
    place = np.searchsorted(known, wanted, sorter=order)
    found = order[np.minimum(place, len(order) - 1)] if len(order) else np.zeros(len(wanted), np.int64)
    missing = len(wanted) if not len(order) else int((known[found] != wanted).sum())
    if len(wanted) and missing:
        raise EvaluationError(f"{file}: {missing} of {len(wanted)} impressions have no truth; {SIMULATE_AGAIN}")
    return {column: table[column].to_numpy()[found] for column in WRITTEN}


def truth_file(archive: Path, table: str, day: date) -> Path:
    """Where a simulated archive has a table of the day's truth."""
    return archive / "truth" / table / f"dt={day:%Y-%m-%d}" / "part-0.parquet"


def read_truth_file(file: Path, columns: Sequence[str]) -> pa.Table:
    """These columns of a file of the truth.

    Raises:
        EvaluationError: it is missing or damaged, or was simulated by a version that did not write all of them.
    """
    try:
        known = pq.read_schema(file).names
        if absent := [name for name in columns if name not in known]:
            raise EvaluationError(
                f"{file} was simulated by another version: it has no column {', '.join(absent)}; {SIMULATE_AGAIN}"
            )
        return pq.read_table(file, columns=list(columns), partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise EvaluationError(f"{file}: the truth cannot be read ({error}); {SIMULATE_AGAIN}") from error


def _bands(ids: NDArray, train_ids: NDArray, names: tuple[str, str, str, str], config: EvaluationConfig) -> NDArray:
    """Name of the popularity band of each id [n]: the most frequent in training that together make `head_share`, and so on."""
    known, count = np.unique(train_ids, return_counts=True)
    if len(known) == 0:
        return np.full(len(ids), names[3])
    order = np.argsort(-count, kind="stable")
    before = np.empty(len(known))
    before[order] = (np.cumsum(count[order]) - count[order]) / count.sum()  # share of those more frequent
    band = np.digitize(before, [config.head_share, config.torso_share])
    place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    return np.asarray(names)[np.where(known[place] == ids, band[place], 3)]
