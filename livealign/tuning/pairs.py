"""Choose the pairs of moments that the LLM is tuned on.

Three kinds of pairs, mixed by the shares in `FinetuneConfig`:
- engagement: windows of two rooms that one user watched for long, near in time. They are similar in what attracts people, not
  in their words. Both texts are as in serving, with title and context.
- neighbours: two windows of one room within two minutes: mostly one topic in different words.
- views: one window twice, the host's words against the viewers', or the title against the words.

Neighbours and views have no context, and at least one side has no title and category: with the same title on both sides,
comparing titles would be all that is learned.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from livealign.config import FinetuneConfig, SegmentConfig
from livealign.days import DAY_MS
from livealign.errors import TrainingError
from livealign.llm.segment_text import WindowText, compose_text, sorted_window_texts, with_earlier

NO_USER = -1  # `user` of neighbours and views
LAGS = 3  # an engagement is paired with this many of the user's next ones

Rows = np.ndarray  # int64 rows among the segments, sorted by room and window


@dataclass(frozen=True)
class PairPictures:
    """The pictures of the texts of n pairs, for an LLM that reads pictures."""

    features: np.ndarray  # float32 [m, width] of distinct pictures
    left: np.ndarray  # int64 [n] row in `features` of each left text's picture, −1 for a text without one
    right: np.ndarray  # int64 [n] the same of the right texts
    tokens: int  # of a picture
    images: str  # SHA-256 of the image encoder


@dataclass(frozen=True)
class TextPairs:
    """n positive pairs of texts, with the columns that the mask of false negatives needs.

    All arrays are int64 [n]. With `windows` above 1, `windows` consecutive pairs are a group, which is compared as one pair:
    each side is the mean of its texts' vectors.
    """

    left: Sequence[str]
    right: Sequence[str]
    left_room: np.ndarray
    right_room: np.ndarray
    left_window: np.ndarray
    right_window: np.ndarray
    user: np.ndarray  # who engaged with both, or NO_USER
    windows: int = 1
    author: np.ndarray | None = None  # of the rooms, if only the same author's rooms are negatives; else None
    pictures: PairPictures | None = None  # where the LLM reads pictures

    def __len__(self) -> int:
        return len(self.left)

    @property
    def texts(self) -> list[str]:
        """The texts of the left sides, then of the right."""
        return [*self.left, *self.right]

    @property
    def picture(self) -> np.ndarray:
        """Row of the picture of each of `texts`, int64 [2n], −1 for a text without one."""
        if self.pictures is None:
            return np.full(2 * len(self), -1, np.int64)
        return np.concatenate([self.pictures.left, self.pictures.right])

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self) // self.windows

    def take(self, rows: np.ndarray) -> "TextPairs":
        """The chosen pairs of texts, in the order of `rows` int64 [k]."""
        arrays = {
            name: getattr(self, name)[rows] for name in ("left_room", "right_room", "left_window", "right_window", "user")
        }
        author = None if self.author is None else self.author[rows]
        texts = [self.left[row] for row in rows], [self.right[row] for row in rows]
        pictures = self.pictures
        if pictures is not None:
            pictures = replace(pictures, left=pictures.left[rows], right=pictures.right[rows])
        return TextPairs(*texts, **arrays, windows=self.windows, author=author, pictures=pictures)

    def take_groups(self, chosen: np.ndarray) -> "TextPairs":
        """The chosen groups with all their texts, in the order of `chosen` int64 [k]."""
        return self.take((chosen[:, None] * self.windows + np.arange(self.windows)).ravel())


def choose_pairs(
    segments: pa.Table, interactions: pa.Table, segment_config: SegmentConfig, config: FinetuneConfig, seed: int | None = None
) -> TextPairs:
    """As many pairs as `config` trains and validates on, in random order.

    Pairs of the last day are for validation, `validation_share` of all; no pair joins it with earlier days. A single day is
    not divided. Missing engagements are replaced by the other kinds, missing neighbours by views.

    Args:
        segments, interactions: the marts of the training days.

    Raises:
        TrainingError: no pair can be made, because no user watched two rooms and no room has words.
    """
    rng = np.random.default_rng(config.seed if seed is None else seed)
    rooms, window_texts, ids = sorted_window_texts(segments)
    windows = np.fromiter((window_text.window for window_text in window_texts), np.int64, len(window_texts))
    candidates = _Candidates(
        *_engagement_pairs(ids, rooms, interactions, config),
        *_neighbour_pairs(rooms, windows, window_texts, config),
        _view_rows(window_texts),
    )
    training = config.steps * config.batch_size
    validation = int(np.ceil(training * config.validation_share / (1.0 - config.validation_share)))
    last_day = windows >= first_window_of_last_day(windows, segment_config)
    if last_day.all():
        chosen = candidates.draw(training + validation, config, rng)
    else:
        chosen = candidates.among(~last_day).draw(training, config, rng)
        chosen = chosen.with_more(candidates.among(last_day).draw(validation, config, rng))

    texts = _engaged_texts(rooms, window_texts, chosen.engaged_left, chosen.engaged_right, segment_config)
    near = zip(chosen.near_left, chosen.near_right, strict=True)
    texts += [_neighbour_texts(window_texts[a], window_texts[b], segment_config, rng) for a, b in near]
    texts += [_view_texts(window_texts[row], segment_config, rng) for row in chosen.views]
    if not texts:
        raise TrainingError(
            "no training pair can be made: no user watched two rooms and no room has words; land more days of the archive"
        )
    lefts = np.concatenate([chosen.engaged_left, chosen.near_left, chosen.views])
    rights = np.concatenate([chosen.engaged_right, chosen.near_right, chosen.views])
    users = np.concatenate([chosen.user, np.full(len(texts) - len(chosen.user), NO_USER, np.int64)])
    pairs = TextPairs(
        [a for a, _ in texts], [b for _, b in texts], rooms[lefts], rooms[rights], windows[lefts], windows[rights], users
    )
    return pairs.take(rng.permutation(len(texts)))


def first_window_of_last_day(windows: np.ndarray, config: SegmentConfig) -> int:
    """First window of the UTC day of the latest of `windows` int64 [n]."""
    a_day = 86_400 // config.window_seconds
    return int(windows.max(initial=0)) // a_day * a_day


@dataclass(frozen=True)
class _Candidates:
    """Rows of all possible pairs: engagements with their user, neighbours, and windows with two views."""

    engaged_left: Rows
    engaged_right: Rows
    user: np.ndarray
    near_left: Rows
    near_right: Rows
    views: Rows

    def among(self, rows: np.ndarray) -> "_Candidates":
        """The candidates with both sides in the bool [segments] `rows`."""
        engaged, near = rows[self.engaged_left] & rows[self.engaged_right], rows[self.near_left] & rows[self.near_right]
        return self._keep(np.flatnonzero(engaged), np.flatnonzero(near), np.flatnonzero(rows[self.views]))

    def draw(self, wanted: int, config: FinetuneConfig, rng: np.random.Generator) -> "_Candidates":
        """At most `wanted` pairs, the kinds mixed as `config` says."""
        engaged = _draw(len(self.user), int(wanted * config.engagement_share), rng)
        rest = wanted - len(engaged)
        near = _draw(len(self.near_left), int(rest * config.neighbour_share / (1.0 - config.engagement_share + 1e-9)), rng)
        return self._keep(engaged, near, _draw(len(self.views), rest - len(near), rng))

    def with_more(self, other: "_Candidates") -> "_Candidates":
        return _Candidates(**{name: np.concatenate([rows, getattr(other, name)]) for name, rows in vars(self).items()})

    def _keep(self, engaged: np.ndarray, near: np.ndarray, views: np.ndarray) -> "_Candidates":
        return _Candidates(
            self.engaged_left[engaged],
            self.engaged_right[engaged],
            self.user[engaged],
            self.near_left[near],
            self.near_right[near],
            self.views[views],
        )


def _engagement_pairs(
    ids: np.ndarray, rooms: np.ndarray, interactions: pa.Table, config: FinetuneConfig
) -> tuple[Rows, Rows, np.ndarray]:
    """(left, right, user) of two long views of one user in different rooms, near in time and in the user's order."""
    long_views = interactions.filter(
        pc.and_(pc.equal(interactions["long_view"], 1), pc.is_valid(interactions["segment_id"]))
    ).sort_by([("user_id", "ascending"), ("shown_at", "ascending")])
    by_id = np.argsort(ids)
    segment = long_views["segment_id"].to_numpy().astype(np.int64)
    place = np.minimum(np.searchsorted(ids, segment, sorter=by_id), max(0, len(ids) - 1))
    row = by_id[place] if len(ids) else np.zeros(len(segment), np.int64)
    known = ids[row] == segment if len(ids) else np.zeros(len(segment), bool)
    row = row[known]
    user = long_views["user_id"].to_numpy()[known]
    at = long_views["shown_at"].to_numpy().astype("datetime64[ms]").astype(np.int64)[known]
    lefts, rights = [], []
    for lag in range(1, LAGS + 1):
        first, second = slice(None, -lag), slice(lag, None)
        close = (user[first] == user[second]) & (at[second] - at[first] <= config.engagement_days * DAY_MS)
        pair = np.flatnonzero(close & (rooms[row[first]] != rooms[row[second]]))
        lefts.append(pair)
        rights.append(pair + lag)
    left, right = np.concatenate(lefts), np.concatenate(rights)
    return row[left], row[right], user[left]


def _neighbour_pairs(
    rooms: np.ndarray, windows: np.ndarray, window_texts: Sequence[WindowText], config: FinetuneConfig
) -> tuple[Rows, Rows]:
    """(left, right): each two windows of one room that have words, at most `neighbour_windows` apart."""
    talking = np.flatnonzero(np.fromiter((not window_text.is_silent for window_text in window_texts), bool, len(window_texts)))
    lefts, rights = [], []
    for lag in range(1, config.neighbour_windows + 1):
        first, second = talking[:-lag], talking[lag:]
        near = (rooms[first] == rooms[second]) & (windows[second] - windows[first] <= config.neighbour_windows)
        lefts.append(first[near])
        rights.append(second[near])
    return np.concatenate(lefts), np.concatenate(rights)


def _view_rows(window_texts: Sequence[WindowText]) -> Rows:
    """Windows with at least two of title, speech and chat."""
    views = np.fromiter((bool(m.title) + bool(m.speech) + bool(m.chat) for m in window_texts), np.int64, len(window_texts))
    return np.flatnonzero(views >= 2)


def _engaged_texts(
    rooms: np.ndarray, window_texts: Sequence[WindowText], left: Rows, right: Rows, config: SegmentConfig
) -> list[tuple[str, str]]:
    needed = set(left.tolist()) | set(right.tolist())
    texts = {
        row: compose_text(window_text, earlier, config)
        for row, (window_text, earlier) in enumerate(with_earlier(zip(rooms.tolist(), window_texts, strict=True), config))
        if row in needed
    }
    return [(texts[a], texts[b]) for a, b in zip(left.tolist(), right.tolist(), strict=True)]


def _neighbour_texts(left: WindowText, right: WindowText, config: SegmentConfig, rng: np.random.Generator) -> tuple[str, str]:
    """Texts of a neighbour pair: one side keeps the title; each side may lose the host's or the viewers' words, not both."""
    sides = [_without_some_words(left, rng), _without_some_words(right, rng)]
    untitled = int(rng.integers(2))
    sides[untitled] = sides[untitled]._replace(title="", category="")
    return compose_text(sides[0], (), config), compose_text(sides[1], (), config)


def _view_texts(window_text: WindowText, config: SegmentConfig, rng: np.random.Generator) -> tuple[str, str]:
    """Texts of two views: the host's words against the viewers', or the title against the words."""
    untitled = window_text._replace(title="", category="")
    if window_text.speech and window_text.chat and (not window_text.title or rng.random() < 0.6):
        sides = [untitled._replace(chat=()), untitled._replace(speech="")]
    else:
        sides = [window_text._replace(speech="", chat=()), _without_some_words(untitled, rng)]
    if rng.random() < 0.5:
        sides.reverse()
    return compose_text(sides[0], (), config), compose_text(sides[1], (), config)


def _without_some_words(window_text: WindowText, rng: np.random.Generator) -> WindowText:
    """Modality dropout: drop speech or chat sometimes, because some rooms have only one of them."""
    chance = rng.random()
    if window_text.speech and window_text.chat and chance < 0.5:
        return window_text._replace(speech="") if chance < 0.25 else window_text._replace(chat=())
    return window_text


def _draw(count: int, wanted: int, rng: np.random.Generator) -> Rows:
    """At most `wanted` of the numbers below `count`, without repetition, in ascending order."""
    return np.sort(rng.choice(count, size=min(count, max(0, wanted)), replace=False))
