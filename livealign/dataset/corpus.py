"""The corpus of one retrain: training and held-out impressions as arrays.

Each impression has the features and the history that were known when it was shown.

    corpus = load_corpus(home.marts, day, profile.dataset)          # train: days before `day`; test: `day`
    corpus = corpus.with_content("tuned_llm", segment_ids, vectors)  # for each kind of content
    corpus.train, corpus.test                                        # Examples
    corpus.content["tuned_llm"]                                      # float32 [segments + 1, d], row 0 = no content
    corpus.content["platform"]                                       # if the platform has vectors of its own

Three numberings, all with "unknown" at 0:
- user, author: index in a vocabulary built from the training days alone; 0 is an id that does not occur there.
- segment: row of a 30-second window in `segment_ids` and in every content matrix; 0 is "no window has ended yet".
- item: a segment, or an author alone. Rows 1..S-1 are the segments; row S + a is author a without any content, so that a room
  without an ended window still has a vector and codes, from its author alone. Row 0 is padding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from livealign.config import DatasetConfig
from livealign.dataset.columns import Floats, Ints, floats, ints, milliseconds, place
from livealign.dataset.examples import TASKS, Engaged, Examples, KnownIds, Vocabulary
from livealign.dataset.features import WINDOW_COUNTS, feature_matrix
from livealign.dataset.impressions import DayTables, read_day_tables
from livealign.dataset.marts import read_mart
from livealign.dataset.platform_vectors import read_platform_vectors
from livealign.dataset.recent_content import recent_content
from livealign.days import day_range, end_of, partition
from livealign.errors import TrainingError

# Names of the kinds of content
RAW, TUNED = "raw_llm", "tuned_llm"  # of the untuned and the tuned language model
LEXICAL = "lexical"  # of counted words
FRAMES = "frames"  # of pictures
PLATFORM_CONTENT = "platform"  # vectors from the platform's logs

SEGMENT_INFO = ("segment_id", "room_id", "author_id", "segment_index", "started_at")  # of the mart `segments`


@dataclass(frozen=True)
class Corpus:
    """The training and held-out data of one retrain.

    S segments (row 0 included), A authors (0 included).
    """

    day: date
    train_days: tuple[date, ...]
    users: Vocabulary
    authors: Vocabulary
    segment_ids: Ints  # [S] sorted; segment_ids[0] = 0
    segment_author: Ints  # [S] vocabulary index of the room's author
    segment_author_id: Ints  # [S] as landed
    segment_room_id: Ints  # [S]
    segment_started_at: Ints  # [S] epoch milliseconds
    segment_first: Ints  # [S] row of the first segment of the same room
    segment_is_train: NDArray[np.bool_]  # [S] whether the segment lies in the training days
    base_rates: Mapping[str, float]  # share of training impressions, by task
    half_life_seconds: float  # of a window's weight in its room's content
    content: dict[str, Floats]  # name -> [S, d]; a row of zeros has no content
    train: Examples
    test: Examples

    @property
    def n_items(self) -> int:
        return len(self.segment_ids) + self.authors.size

    def with_content(self, name: str, segment_ids: Ints, vectors: NDArray) -> "Corpus":
        """This corpus with one more kind of content: `vectors` [n, d] of `segment_ids` [n].

        Other segments get a row of zeros. The content of a segment is the average over its room's last windows
        (`livealign.dataset.recent_content`). A vector of zeros is no content, except of counted words: a text of unknown words
        counts in their average.
        """
        matrix = np.zeros((len(self.segment_ids), vectors.shape[1]), dtype=np.float32)
        rows = self.segment_rows(segment_ids)
        matrix[rows[rows > 0]] = vectors[rows > 0]
        present = None
        if name == LEXICAL:
            present = np.zeros(len(matrix), dtype=bool)
            present[rows[rows > 0]] = True
        matrix = recent_content(matrix, self.segment_room_id, self.segment_started_at, self.half_life_seconds, present)
        return replace(self, content={**self.content, name: matrix})

    def segment_rows(self, segment_ids: NDArray) -> Ints:
        """Row of each segment id, 0 if it is not in the corpus."""
        return np.maximum(place(self.segment_ids, np.asarray(segment_ids, dtype=np.int64)), 0)

    def item_authors(self) -> Ints:
        """[items] author of each item row."""
        return np.concatenate([self.segment_author, np.arange(self.authors.size)])

    def item_segments(self) -> Ints:
        """[items] segment row of each item row, 0 for an author alone."""
        return np.concatenate([np.arange(len(self.segment_ids)), np.zeros(self.authors.size, dtype=np.int64)])


def load_corpus(marts: Path, day: date, config: DatasetConfig, known: KnownIds | None = None) -> Corpus:
    """Read the `config.train_days` days before `day` for training and `day` for the test.

    Missing training days are skipped. A label counts only if it was known at the end of the training days (train) or of `day`
    (test). If the platform has content vectors of its own, `content` holds them as PLATFORM_CONTENT.

    Args:
        known: the ids and rates of a trained release, to score it on this day; None computes them from the training days.

    Raises:
        MartError: a mart is missing for `day`. TrainingError: there is no earlier day to train on.
    """
    window = day_range(day - timedelta(days=config.train_days), day - timedelta(days=1))
    train_days = [past for past in window if partition(marts, "interactions", past).exists()]
    if not train_days:
        raise TrainingError(
            f"there is nothing to train on before {day} in {marts / 'interactions'}; build the days before it first"
        )
    train, test = (read_day_tables(marts, days, config.history_length) for days in (train_days, [day]))
    segments = read_mart(marts, "segments", [*train_days, day], [*SEGMENT_INFO, *WINDOW_COUNTS])
    if known is None:
        known = KnownIds(
            Vocabulary.of(ints(train.interactions, "user_id")),
            Vocabulary.of(ints(train.interactions, "author_id"), config.min_author_impressions),
            _base_rates(_labels(train.interactions, end_of(train_days[-1]))),
        )
    users, authors, base_rates = known.users, known.authors, known.base_rates
    segments = _used_segments(segments, (train, test))
    corpus_segments = _segment_arrays(segments, authors, day)

    def examples(tables: "DayTables", until: date) -> Examples:
        return _examples(tables, segments, corpus_segments["segment_ids"], users, authors, base_rates, until)

    corpus = Corpus(
        day=day,
        train_days=tuple(train_days),
        users=users,
        authors=authors,
        **corpus_segments,
        base_rates=base_rates,
        half_life_seconds=config.half_life_seconds,
        content={},
        train=examples(train, train_days[-1]),
        test=examples(test, day),
    )
    platform = read_platform_vectors(marts, [*train_days, day], corpus.segment_ids[1:])
    return corpus if platform is None else corpus.with_content(PLATFORM_CONTENT, *platform)


def referenced_segments(marts: Path, day: date, config: DatasetConfig) -> Ints:
    """Sorted ids of the segments whose vectors a retrain for `day` needs.

    These are the shown ones, those in histories, and the first of each of their rooms. `load_corpus(...).segment_ids` will hold
    the same ids after its row 0; this function needs no content.
    """
    window = day_range(day - timedelta(days=config.train_days), day)
    days = [present for present in window if partition(marts, "interactions", present).exists()]
    if not days:
        raise TrainingError(f"there are no interactions up to {day} in {marts / 'interactions'}; run the warehouse first")
    segments = read_mart(marts, "segments", days, list(SEGMENT_INFO))
    return ints(_used_segments(segments, (read_day_tables(marts, days, config.history_length),)), "segment_id")


def _used_segments(segments: pa.Table, parts: Sequence[DayTables]) -> pa.Table:
    """The rows of `segments` in an impression or a history, and the first of each of their rooms; by id."""
    ids = ints(segments, "segment_id")
    order = np.argsort(ids, kind="stable")
    ids, rooms = ids[order], ints(segments, "room_id")[order]
    used = np.zeros(len(ids), dtype=bool)
    for part in parts:
        for segment_ids in (ints(part.interactions, "segment_id"), part.histories.segments()):
            places = place(ids, segment_ids)
            used[places[places >= 0]] = True
    index = ints(segments, "segment_index")[order]
    by_room = np.lexsort((index, rooms))
    is_first = np.zeros(len(ids), dtype=bool)
    is_first[by_room[np.r_[True, rooms[by_room][1:] != rooms[by_room][:-1]]] if len(ids) else []] = True
    used |= is_first & np.isin(rooms, np.unique(rooms[used]))
    return segments.take(pa.array(order[used])).combine_chunks()


def _segment_arrays(segments: pa.Table, authors: Vocabulary, day: date) -> dict[str, NDArray]:
    """The per-segment columns of a Corpus, with row 0 prepended. `segments` is sorted by id."""
    rooms = ints(segments, "room_id")
    by_room = np.lexsort((ints(segments, "segment_index"), rooms))
    starts = np.flatnonzero(np.r_[True, rooms[by_room][1:] != rooms[by_room][:-1]]) if len(rooms) else np.zeros(0, dtype=int)
    first = np.empty(len(rooms), dtype=np.int64)
    first[by_room] = np.repeat(by_room[starts], np.diff(np.r_[starts, len(rooms)]))
    started_at = milliseconds(segments, "started_at")

    def padded(values: NDArray) -> NDArray:
        return np.concatenate([np.zeros(1, dtype=values.dtype), values])

    return {
        "segment_ids": padded(ints(segments, "segment_id")),
        "segment_author": padded(authors.lookup(ints(segments, "author_id"))),
        "segment_author_id": padded(ints(segments, "author_id")),
        "segment_room_id": padded(rooms),
        "segment_started_at": padded(started_at),
        "segment_first": padded(first + 1),
        "segment_is_train": padded(started_at < end_of(day - timedelta(days=1))),
    }


def _examples(
    tables: DayTables,
    segments: pa.Table,
    segment_ids: Ints,
    users: Vocabulary,
    authors: Vocabulary,
    base_rates: Mapping[str, float],
    until: date,
) -> Examples:
    shown = tables.interactions
    n, n_segments = shown.num_rows, len(segment_ids)
    segment = np.maximum(place(segment_ids, ints(shown, "segment_id")), 0)
    author = authors.lookup(ints(shown, "author_id"))
    columns: dict[str, NDArray] = {name: floats(shown, name) for name in ("minute_in_room", "segment_age_seconds")}
    for name in WINDOW_COUNTS:
        columns[name] = np.concatenate([[np.nan], floats(segments, name)])[segment]
    history = tables.histories
    engaged_author = authors.lookup(history.engagements.author_id)
    engaged_segment = np.maximum(place(segment_ids, history.engagements.segment_id), 0)
    engaged_item = np.where(engaged_segment > 0, engaged_segment, n_segments + engaged_author)
    return Examples(
        impression_id=ints(shown, "impression_id"),
        user_id=ints(shown, "user_id"),
        author_id=ints(shown, "author_id"),
        room_id=ints(shown, "room_id"),
        shown_at=milliseconds(shown, "shown_at"),
        request=_request_numbers(shown),
        user=users.lookup(ints(shown, "user_id")),
        author=author,
        segment=segment,
        item=np.where(segment > 0, segment, n_segments + author),
        position=floats(shown, "position").astype(np.float32),
        features=feature_matrix({**columns, **tables.counts}, base_rates, n),
        labels=_labels(shown, end_of(until)),
        click_known_at=milliseconds(shown, "click_known_at"),
        history=history.rows,
        history_length=history.length,
        engaged=Engaged.of(engaged_author, engaged_segment, engaged_item),
    )


def _labels(shown: pa.Table, known_by: int) -> Floats:
    """float32 [n, tasks]; NaN if the label was not known at `known_by` (epoch milliseconds)."""
    labels = np.empty((shown.num_rows, len(TASKS)), dtype=np.float32)
    for column, task in enumerate(TASKS):
        values = floats(shown, task)
        late = milliseconds(shown, f"{task}_known_at") > known_by
        labels[:, column] = np.where(late, np.nan, values)
    return labels


def _request_numbers(shown: pa.Table) -> Ints:
    """List number of each impression; without a request id, those of one user and instant form a list."""
    named = pc.fill_null(shown["request_id"].cast(pa.string()), "")
    if isinstance(named, pa.ChunkedArray):
        named = named.combine_chunks()
    codes = named.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    unnamed = pc.equal(named, "").to_numpy(zero_copy_only=False)
    user = np.where(unnamed, ints(shown, "user_id"), 0)
    at = np.where(unnamed, milliseconds(shown, "shown_at"), 0)
    _, numbers = np.unique(np.stack([codes, user, at], axis=1), axis=0, return_inverse=True)
    return numbers.astype(np.int64).reshape(-1)


def _base_rates(labels: Floats) -> dict[str, float]:
    """Share of positives among the observed labels [n, tasks]; 0 for a task that was never observed."""
    observed = np.maximum((~np.isnan(labels)).sum(0), 1)
    return dict(zip(TASKS, (np.nansum(labels, axis=0, dtype=np.float64) / observed).tolist(), strict=True))


def data_window(corpus: Corpus) -> dict[str, str]:
    """First and last training day, and the held-out day."""
    return {
        "start": corpus.train_days[0].isoformat(),
        "train_end": corpus.train_days[-1].isoformat(),
        "end": corpus.day.isoformat(),
    }
