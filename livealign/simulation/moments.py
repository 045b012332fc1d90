"""The broadcasts of one day, and the topic of every 30-second window."""

from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import numpy as np

from livealign.days import midnight
from livealign.simulation.config import WINDOW_MS, SimulationConfig
from livealign.simulation.grammar import GENRE_OF_TOPIC
from livealign.simulation.members import Talk, UsedMembers
from livealign.simulation.topics import TOPICS
from livealign.simulation.world import Authors, Bools, Floats, Ints, Users, generator

MINUTE_MS = 60_000
HIGHLIGHT_START = 0.03  # probability that a highlight begins in a window
HIGHLIGHT_WINDOWS = 4
HIGHLIGHT_SHARE = 1 - (1 - HIGHLIGHT_START) ** HIGHLIGHT_WINDOWS


@dataclass(frozen=True)
class Rooms:
    """R broadcasts of one day and their W windows, room after room.

    Per room [R]: author row, start and end (ms since 1970), topic of the title, first window, `offset` of the first window
    among the W. Per window [W]: room row, window number, topic, topic that people talk about, highlight, silent (the host says
    nothing).
    """

    ids: Ints
    author: Ints
    start: Ints
    end: Ints
    title_topic: Ints
    low_quality: Bools
    first_window: Ints
    offset: Ints
    room: Ints
    window: Ints
    topic: Ints
    talk: Ints
    highlight: Bools
    silent: Bools

    @property
    def talked_of(self) -> Talk:
        """The topics that the broadcasts speak of."""
        return Talk(self.title_topic, self.room, self.talk)

    def window_row(self, room: Ints, time: Ints) -> Ints:
        """Row among the W windows of each room at each time (ms); the room must be live."""
        return self.offset[room] + time // WINDOW_MS - self.first_window[room]


@dataclass(frozen=True)
class Day:
    """One day: its number from 0, and its authors, users and rooms.

    In an open world also the members that the rooms use.
    """

    config: SimulationConfig
    number: int
    authors: Authors
    users: Users
    rooms: Rooms
    members: UsedMembers | None = None

    @property
    def date(self) -> date:
        return self.config.dates[self.number]

    @property
    def midnight(self) -> int:
        """00:00 UTC in ms since 1970."""
        return midnight(self.date)

    def generator(self, purpose: str, *numbers: int) -> np.random.Generator:
        """The day's random stream for the purpose."""
        return generator(self.config, purpose, self.number, *numbers)


@dataclass(frozen=True)
class LiveRooms:
    """The rooms that the logging policy considers in each window.

    `rooms` is [windows, P], -1 where there are fewer.
    """

    first_window: int
    rooms: Ints
    log_weight: Floats  # [windows, P], log of the policy's weight


def make_rooms(config: SimulationConfig, authors: Authors, day: int) -> Rooms:
    """The day's broadcasts. All begin and end within the UTC day."""
    rng = generator(config, "rooms", day)
    date_ = config.dates[day]
    count = config.broadcasts_per_day[day]
    author = _who_streams(authors, count, rng)
    start, end = _schedule(config, midnight(date_), count, rng)
    first, last = start // WINDOW_MS, (end - 1) // WINDOW_MS
    length = last - first + 1
    offset = np.cumsum(length) - length
    room = np.repeat(np.arange(count), length)
    window = np.arange(length.sum()) - offset[room] + first[room]
    planned, topic = _topics(authors, author, start, room, window, rng)
    anything = generator(config, "talk", day)
    return Rooms(
        ids=int(f"{date_:%Y%m%d}") * 100_000 + np.arange(1, count + 1),
        author=author,
        start=start,
        end=end,
        title_topic=np.where(authors.off_topic[author], anything.integers(len(TOPICS), size=count), planned),
        low_quality=rng.random(count) < authors.low_quality[author],
        first_window=first,
        offset=offset,
        room=room,
        window=window,
        topic=topic,
        talk=np.where(authors.off_topic[author][room], anything.integers(len(TOPICS), size=len(room)), topic),
        highlight=_highlights(room, rng),
        silent=_silences(length, offset, rng),
    )


def live_rooms(day: Day) -> LiveRooms:
    """The policy's pool in each window of the day.

    It has every live room; of very many rooms, half are chosen by popularity and half at random.
    """
    config, authors, rooms, rng = day.config, day.authors, day.rooms, day.generator("pool")
    first, last = int(rooms.window.min()), int(rooms.window.max())
    order = np.argsort(rooms.window, kind="stable")
    begins = np.searchsorted(rooms.window[order], np.arange(first, last + 2))
    width = min(config.pool_size, int(np.diff(begins).max()))
    pool = np.full((last - first + 1, width), -1, dtype=np.int64)
    weight = np.zeros(pool.shape, dtype=np.float32)
    for row, (begin, stop) in enumerate(pairwise(begins)):
        live = rooms.room[order[begin:stop]]
        if len(live) > width:
            half = width // 2
            by_popularity = np.argsort(-np.log(authors.popularity[rooms.author[live]]) - rng.gumbel(size=len(live)))
            live = live[np.concatenate([by_popularity[:half], rng.permutation(by_popularity[half:])[: width - half]])]
        if len(live):
            share = authors.popularity[rooms.author[live]]
            pool[row, : len(live)] = live
            weight[row, : len(live)] = config.popular_share * share / share.sum() + (1 - config.popular_share) / len(live)
    with np.errstate(divide="ignore"):
        return LiveRooms(first, pool, np.log(weight))


def _who_streams(authors: Authors, count: int, rng: np.random.Generator) -> Ints:
    """Different authors; the popular ones stream on more days."""
    keys = 0.6 * np.log(authors.popularity) + rng.gumbel(size=len(authors.popularity))
    return np.sort(np.argsort(-keys, kind="stable")[:count])


def _schedule(config: SimulationConfig, day_start: int, count: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Start and end of each broadcast in ms: short ones are commoner, and most cover a part of prime time."""
    span = config.max_minutes - config.min_minutes
    minutes = np.full(count, config.mean_minutes)
    if config.min_minutes < config.mean_minutes < config.max_minutes:
        mean = (config.mean_minutes - config.min_minutes) / span
        minutes = config.min_minutes + span * rng.beta(1.2, 1.2 / mean - 1.2, count)
    begin = config.prime_minute + rng.uniform(-config.early_minutes, config.late_minutes, count)
    off_peak = rng.random(count) < config.off_peak_broadcast_share
    begin = np.where(off_peak, rng.uniform(480.0, 1_080.0, count), begin)
    begin = np.clip(begin, 1.0, 1_438.0 - minutes)
    start = day_start + (begin * MINUTE_MS).astype(np.int64)
    return start, start + (minutes * MINUTE_MS).astype(np.int64)


def _topics(
    authors: Authors, author: Ints, start: Ints, room: Ints, window: Ints, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """The planned topic of each room and the topic of each window.

    A Markov chain with 6 to 10 minutes a step. Each step goes to the planned topic, to the same genre, or anywhere. Each
    of these kernels leaves the author's mix unchanged, so over many broadcasts an author airs exactly that mix.
    """
    count, rows = len(author), np.arange(len(author))
    topics, weights = authors.topics[author], authors.weights[author]
    planned = _draw(weights, rng)
    middle = window * WINDOW_MS + WINDOW_MS // 2
    boundary = start.copy()
    slot = np.where(rng.random(count) < 0.7, planned, _draw(weights, rng))
    slot_of_window = slot[room]
    while True:
        boundary = boundary + (rng.uniform(6.0, 10.0, count) * MINUTE_MS).astype(np.int64)
        later = middle >= boundary[room]
        if not later.any():
            return topics[rows, planned], topics[np.arange(count)[room], slot_of_window]
        same_genre = weights * (GENRE_OF_TOPIC[topics] == GENRE_OF_TOPIC[topics[rows, slot]][:, None])
        how = rng.random(count)
        slot = np.where(how < 0.35, planned, np.where(how < 0.5, _draw(same_genre, rng), _draw(weights, rng)))
        slot_of_window = np.where(later, slot[room], slot_of_window)


def _draw(weights: Floats, rng: np.random.Generator) -> Ints:
    """One column of each row of `weights` [n, k], in proportion to them."""
    cumulative = np.cumsum(weights, axis=1)
    threshold = rng.random(len(weights)) * cumulative[:, -1]
    column: Ints = np.minimum((cumulative <= threshold[:, None]).sum(axis=1), weights.shape[1] - 1)
    return column


def _highlights(room: Ints, rng: np.random.Generator) -> Bools:
    begins = rng.random(len(room)) < HIGHLIGHT_START
    highlight = begins.copy()
    for later in range(1, HIGHLIGHT_WINDOWS):
        highlight[later:] |= begins[:-later] & (room[later:] == room[:-later])
    return highlight


def _silences(length: Ints, offset: Ints, rng: np.random.Generator) -> Bools:
    """In some rooms the host says nothing for three to eight minutes."""
    silent = np.zeros(int(length.sum()), dtype=bool)
    for index in np.flatnonzero(rng.random(len(length)) < 0.2):
        windows = min(int(rng.integers(6, 17)), int(length[index]))
        begin = int(offset[index]) + int(rng.integers(length[index] - windows + 1))
        silent[begin : begin + windows] = True
    return silent
