"""The held-out impressions with their labels, lists and slices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from livealign.config import EvaluationConfig
from livealign.dataset.columns import rows_by_key
from livealign.dataset.corpus import Corpus
from livealign.dataset.examples import TASKS, Examples
from livealign.dataset.marts import read_mart
from livealign.days import DAY_MS
from livealign.evaluation.day_truth import NO_WINDOW, DayTruth
from livealign.evaluation.highlights import SEGMENT_COLUMNS
from livealign.llm.texts import TEXT_COLUMNS
from livealign.simulation.members import WORDINGS

CLICK = TASKS.index("click")


SLICE_ORDER: Sequence[str] = (
    *("head", "torso", "tail", "unseen"),
    *("heavy", "regular", "light", "new"),
    *("much", "little", "none"),
    *("opening", "middle", "later"),
    *("clear", "poor"),
    *("said before", *WORDINGS, NO_WINDOW),
)


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

    @property
    def day(self) -> NDArray[np.int64]:
        """[n] UTC day of each row, counted from 1970."""
        return np.asarray(self.shown_at, dtype=np.int64) // DAY_MS

    def lists(self) -> NDArray[np.int64]:
        """The list [n] that each row belongs to: its request, else its user's day.

        A list of one row ranks nothing, so a row alone in its request belongs to its user's day too. A platform that logs
        no lists is measured on user-days.
        """
        keys = np.stack([self.user.astype(np.int64), self.day], axis=1)
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
    """The standard slices, each an array of names [n].

    Args:
        author, user: [n] of the held-out rows. train_author, train_user: [n_train], a value per training impression.
        text_characters: [n] length of the text of the segment shown (0: none, or no segment).
        minute_in_room: [n] minutes since the broadcast began.
    """
    early, later = config.early_minutes
    content = np.array(["none", "little", "much"])[by_quality(np.asarray(text_characters), config)]
    minute = np.asarray(minute_in_room)
    phase = np.where(minute < early, "opening", np.where(minute < later, "middle", "later"))
    return {
        "author_popularity": _bands(author, train_author, ("head", "torso", "tail", "unseen"), config),
        "user_activity": _bands(user, train_user, ("heavy", "regular", "light", "new"), config),
        "content": content,
        "minute": phase,
    }


def by_quality(characters: NDArray, config: EvaluationConfig) -> NDArray[np.int64]:
    """The amount of text by its length [n]: 0 none, 1 little, 2 much."""
    return np.where(characters <= 0, 0, np.where(characters < config.much_text_characters, 1, 2))


def _bands(ids: NDArray, train_ids: NDArray, names: tuple[str, str, str, str], config: EvaluationConfig) -> NDArray:
    """Name of the popularity band of each id [n]: the first holds the most frequent, up to `head_share` of training."""
    known, count = np.unique(train_ids, return_counts=True)
    if len(known) == 0:
        return np.full(len(ids), names[3])
    order = np.argsort(-count, kind="stable")
    before = np.empty(len(known))
    before[order] = (np.cumsum(count[order]) - count[order]) / count.sum()  # share of those more frequent
    band = np.digitize(before, [config.head_share, config.torso_share])
    place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    return np.asarray(names)[np.where(known[place] == ids, band[place], 3)]


def read_segments(corpus: Corpus, marts: Path) -> pa.Table:
    """The mart `segments` of the corpus' days with all columns that an evaluation needs."""
    return read_mart(
        marts, "segments", [*corpus.train_days, corpus.day], list(dict.fromkeys([*TEXT_COLUMNS, *SEGMENT_COLUMNS]))
    )


def held_out_frame(
    corpus: Corpus,
    marts: Path,
    config: EvaluationConfig,
    truth: DayTruth | None = None,
    characters: NDArray[np.int64] | None = None,
) -> EvaluationFrame:
    """The corpus' test impressions with the standard slices.

    Args:
        truth: adds a slice by the streams' true quality; of an open world, by new members and by wording.
        characters: `segment_characters`, if the caller has them already.
    """
    if characters is None:
        characters = segment_characters(corpus, read_segments(corpus, marts))
    test = corpus.test
    shown = read_mart(marts, "interactions", [corpus.day], ["impression_id", "minute_in_room"])
    minute = _aligned(shown["impression_id"], shown["minute_in_room"], test.impression_id)
    slices = standard_slices(
        author=test.author_id,
        user=test.user_id,
        train_author=corpus.train.author_id,
        train_user=corpus.train.user_id,
        text_characters=characters[test.segment],
        minute_in_room=minute,
        config=config,
    )
    if truth is not None:
        slices["stream_quality"] = np.where(truth.low_quality[test.segment], "poor", "clear")
        slices |= {name: values[test.segment] for name, values in truth.slices.items()}
    return EvaluationFrame.from_examples(test, slices)


def segment_characters(corpus: Corpus, segments: pa.Table) -> NDArray[np.int64]:
    """[segments] length of what was said in each segment row; 0 for no segment."""
    lengths = pc.add(*(pc.utf8_length(pc.fill_null(segments[name], "")) for name in ("speech_text", "chat_text")))
    return _aligned(segments["segment_id"], lengths, corpus.segment_ids).astype(np.int64)


def _aligned(keys: pa.ChunkedArray, values: pa.ChunkedArray, wanted: NDArray[np.int64]) -> NDArray:
    """The value of each wanted key, 0 where the table has none."""
    rows = rows_by_key(keys.to_numpy(), wanted)
    numbers = np.nan_to_num(values.cast(pa.float64()).to_numpy())
    return np.where(rows >= 0, numbers[rows], 0.0)
