"""Which two texts should lie close: the pairs that the LLM is tuned on.

Three kinds, mixed by the shares in `FinetuneConfig`:
- engagement: two moments of different rooms that one user watched for long, near in time. What people watch, not what is said,
  decides. Both are read as they are served, with title and context.
- neighbours: two windows of one room within two minutes: mostly one topic, in other words.
- views: one window seen twice, the host's words against the viewers', or the title against what was said.

Neighbours and views are read without context, and without title and category on at least one side: the same title on both
sides would be all there is to learn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from livealign.config import FinetuneConfig, SegmentConfig
from livealign.days import DAY_MS
from livealign.errors import TrainingError
from livealign.llm.segment_text import WindowText, compose_text, sorted_moments, with_earlier

NOBODY = -1  # `user` of a pair that no user made
LAGS = 3  # an engaged moment is paired with this many of the user's next ones

Rows = np.ndarray  # int64 rows among the segments, sorted by room and window


@dataclass(frozen=True)
class TextPairs:
    """n positive pairs of texts, and what tells which other pairs are no negatives. All arrays are int64 [n].

    With `windows` above 1 as many pairs of texts in a row are one pair of moments: each side is the mean of its texts' vectors.
    """

    left: Sequence[str]
    right: Sequence[str]
    left_room: np.ndarray
    right_room: np.ndarray
    left_window: np.ndarray
    right_window: np.ndarray
    user: np.ndarray  # who engaged with both, or NOBODY
    windows: int = 1
    author: np.ndarray | None = None  # whose rooms they are, where only an author's own rooms shall be the negatives

    def __len__(self) -> int:
        return len(self.left)

    @property
    def moments(self) -> int:
        """How many pairs of moments there are."""
        return len(self) // self.windows

    def take(self, rows: np.ndarray) -> "TextPairs":
        """The chosen pairs of texts, in the order of `rows` int64 [k]."""
        arrays = {
            name: getattr(self, name)[rows] for name in ("left_room", "right_room", "left_window", "right_window", "user")
        }
        author = None if self.author is None else self.author[rows]
        texts = [self.left[row] for row in rows], [self.right[row] for row in rows]
        return TextPairs(*texts, **arrays, windows=self.windows, author=author)

    def take_moments(self, chosen: np.ndarray) -> "TextPairs":
        """The chosen pairs of moments with all their texts, in the order of `chosen` int64 [k]."""
        return self.take((chosen[:, None] * self.windows + np.arange(self.windows)).ravel())


def choose_pairs(
    segments: pa.Table, interactions: pa.Table, segment_config: SegmentConfig, config: FinetuneConfig, seed: int | None = None
) -> TextPairs:
    """As many pairs as `config` trains and validates on, from the marts `segments` and `interactions` of the training days.

    Pairs of the last day are for validation, `validation_share` of all, and no pair joins it with the days before; of a single
    day all are chosen alike. Too few engagements leave their place to the other kinds, too few neighbours to views. The order
    of the pairs is random.

    Raises:
        TrainingError: no pair can be made: nobody watched two rooms, and in no room anything was said.
    """
    rng = np.random.default_rng(config.seed if seed is None else seed)
    rooms, moments, ids = sorted_moments(segments)
    windows = np.fromiter((moment.window for moment in moments), np.int64, len(moments))
    candidates = _Candidates(
        *_engaged_together(ids, rooms, interactions, config),
        *_neighbours(rooms, windows, moments, config),
        _with_views(moments),
    )
    training = config.steps * config.batch_size
    validation = int(np.ceil(training * config.validation_share / (1.0 - config.validation_share)))
    last_day = windows >= first_window_of_last_day(windows, segment_config)
    if last_day.all():
        chosen = candidates.draw(training + validation, config, rng)
    else:
        chosen = candidates.among(~last_day).draw(training, config, rng)
        chosen = chosen.joined(candidates.among(last_day).draw(validation, config, rng))

    texts = _engaged_texts(rooms, moments, chosen.engaged_left, chosen.engaged_right, segment_config)
    near = zip(chosen.near_left, chosen.near_right, strict=True)
    texts += [_neighbour_texts(moments[a], moments[b], segment_config, rng) for a, b in near]
    texts += [_view_texts(moments[row], segment_config, rng) for row in chosen.views]
    if not texts:
        raise TrainingError(
            "no training pair can be made: nobody watched two rooms and nobody spoke; land more days of the archive"
        )
    lefts = np.concatenate([chosen.engaged_left, chosen.near_left, chosen.views])
    rights = np.concatenate([chosen.engaged_right, chosen.near_right, chosen.views])
    users = np.concatenate([chosen.user, np.full(len(texts) - len(chosen.user), NOBODY, np.int64)])
    pairs = TextPairs(
        [a for a, _ in texts], [b for _, b in texts], rooms[lefts], rooms[rights], windows[lefts], windows[rights], users
    )
    return pairs.take(rng.permutation(len(texts)))


def first_window_of_last_day(windows: np.ndarray, config: SegmentConfig) -> int:
    """Where the UTC day of the last of `windows` int64 [n] begins."""
    a_day = 86_400 // config.window_seconds
    return int(windows.max(initial=0)) // a_day * a_day


@dataclass(frozen=True)
class _Candidates:
    """Rows of all pairs that can be made: engaged ones with their user, neighbours, and windows with two views."""

    engaged_left: Rows
    engaged_right: Rows
    user: np.ndarray
    near_left: Rows
    near_right: Rows
    views: Rows

    def among(self, rows: np.ndarray) -> "_Candidates":
        """Those with both sides in the bool [segments] `rows`."""
        engaged, near = rows[self.engaged_left] & rows[self.engaged_right], rows[self.near_left] & rows[self.near_right]
        return self._keep(np.flatnonzero(engaged), np.flatnonzero(near), np.flatnonzero(rows[self.views]))

    def draw(self, wanted: int, config: FinetuneConfig, rng: np.random.Generator) -> "_Candidates":
        """At most `wanted` pairs, the kinds mixed as `config` says."""
        engaged = _draw(len(self.user), int(wanted * config.engagement_share), rng)
        rest = wanted - len(engaged)
        near = _draw(len(self.near_left), int(rest * config.neighbour_share / (1.0 - config.engagement_share + 1e-9)), rng)
        return self._keep(engaged, near, _draw(len(self.views), rest - len(near), rng))

    def joined(self, other: "_Candidates") -> "_Candidates":
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


def _engaged_together(
    ids: np.ndarray, rooms: np.ndarray, interactions: pa.Table, config: FinetuneConfig
) -> tuple[Rows, Rows, np.ndarray]:
    """(left, right, user) for each two long views of one user in different rooms, near in time and in the user's order."""
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


def _neighbours(
    rooms: np.ndarray, windows: np.ndarray, moments: Sequence[WindowText], config: FinetuneConfig
) -> tuple[Rows, Rows]:
    """Every two windows with words of one room, at most `neighbour_windows` apart."""
    talking = np.flatnonzero(np.fromiter((not moment.is_silent for moment in moments), bool, len(moments)))
    lefts, rights = [], []
    for lag in range(1, config.neighbour_windows + 1):
        first, second = talking[:-lag], talking[lag:]
        near = (rooms[first] == rooms[second]) & (windows[second] - windows[first] <= config.neighbour_windows)
        lefts.append(first[near])
        rights.append(second[near])
    return np.concatenate(lefts), np.concatenate(rights)


def _with_views(moments: Sequence[WindowText]) -> Rows:
    """Windows of which at least two of title, speech and chat are there."""
    views = np.fromiter((bool(m.title) + bool(m.speech) + bool(m.chat) for m in moments), np.int64, len(moments))
    return np.flatnonzero(views >= 2)


def _engaged_texts(
    rooms: np.ndarray, moments: Sequence[WindowText], left: Rows, right: Rows, config: SegmentConfig
) -> list[tuple[str, str]]:
    needed = set(left.tolist()) | set(right.tolist())
    texts = {
        row: compose_text(moment, earlier, config)
        for row, (moment, earlier) in enumerate(with_earlier(zip(rooms.tolist(), moments, strict=True), config))
        if row in needed
    }
    return [(texts[a], texts[b]) for a, b in zip(left.tolist(), right.tolist(), strict=True)]


def _neighbour_texts(left: WindowText, right: WindowText, config: SegmentConfig, rng: np.random.Generator) -> tuple[str, str]:
    """One side keeps the title; either may lose the host's or the viewers' words, never both."""
    sides = [_without_some_words(left, rng), _without_some_words(right, rng)]
    untitled = int(rng.integers(2))
    sides[untitled] = sides[untitled]._replace(title="", category="")
    return compose_text(sides[0], (), config), compose_text(sides[1], (), config)


def _view_texts(moment: WindowText, config: SegmentConfig, rng: np.random.Generator) -> tuple[str, str]:
    """The host's words against the viewers', or the title against what was said."""
    said = moment._replace(title="", category="")
    if moment.speech and moment.chat and (not moment.title or rng.random() < 0.6):
        sides = [said._replace(chat=()), said._replace(speech="")]
    else:
        sides = [moment._replace(speech="", chat=()), _without_some_words(said, rng)]
    if rng.random() < 0.5:
        sides.reverse()
    return compose_text(sides[0], (), config), compose_text(sides[1], (), config)


def _without_some_words(moment: WindowText, rng: np.random.Generator) -> WindowText:
    """Modality dropout: a room without speech, or without chat, should still be understood."""
    chance = rng.random()
    if moment.speech and moment.chat and chance < 0.5:
        return moment._replace(speech="") if chance < 0.25 else moment._replace(chat=())
    return moment


def _draw(count: int, wanted: int, rng: np.random.Generator) -> Rows:
    """At most `wanted` of the numbers below `count`, without repetition, in ascending order."""
    return np.sort(rng.choice(count, size=min(count, max(0, wanted)), replace=False))
