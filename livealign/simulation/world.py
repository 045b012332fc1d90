"""Authors with topics, users with tastes, and how both change over the days."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from livealign.simulation.config import SimulationConfig
from livealign.simulation.grammar import GENRE_OF_TOPIC, PHRASES
from livealign.simulation.topics import TOPICS
from livealign.simulation.vocabulary import GENRES

TREND_TOPIC = 3  # no author streams it before the shift
MIX_SLOTS = 6  # topics of one author at most; the last slot is kept for the trend
FIRST_AUTHOR_ID = 20_001
FIRST_USER_ID = 1_000_001

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Authors:
    """The A authors.

    `topics` and `weights` [A, MIX_SLOTS]: what each airs, and how much of the time (rows sum to 1).
    """

    topics: Ints
    weights: Floats
    popularity: Floats  # sums to 1
    appeal: Floats  # logit that the author adds to every click
    low_quality: Floats  # probability that a broadcast is of low quality
    phrase: Ints  # habit of speech
    phrase_rate: Floats
    off_topic: Bools  # whose rooms' words are not about what is aired

    @property
    def ids(self) -> Ints:
        return FIRST_AUTHOR_ID + np.arange(len(self.popularity))


@dataclass(frozen=True)
class Users:
    """The U users.

    `taste` [U, topics] in logits; `beloved` [U, 4] author rows, -1 where there are fewer; `follows` alike.
    """

    taste: Floats
    beloved: Ints
    follows: Ints
    activity: Floats  # mean 1

    @property
    def ids(self) -> Ints:
        return FIRST_USER_ID + np.arange(len(self.activity))


def generator(config: SimulationConfig, purpose: str, *numbers: int) -> np.random.Generator:
    """A random stream of its own for each purpose (and day, and chunk).

    Draws for one purpose never change those for another.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([config.seed, *purpose.encode(), *numbers])))


def make_authors(config: SimulationConfig) -> Authors:
    """Authors before the shift."""
    rng = generator(config, "authors")
    count = config.authors
    topics, weights = _mixes(count, rng)
    rank = rng.permutation(count) + 1.0
    popularity = (rank + 3.0) ** -0.9
    return Authors(
        topics=topics,
        weights=weights,
        popularity=(popularity / popularity.sum()).astype(np.float32),
        appeal=rng.normal(0.0, config.author_appeal, count).astype(np.float32),
        low_quality=rng.beta(0.5, 5.0, count).astype(np.float32),
        phrase=rng.integers(len(PHRASES), size=count),
        phrase_rate=rng.uniform(0.05, 0.3, count).astype(np.float32),
        off_topic=generator(config, "off topic").random(count) < config.off_topic_share,
    )


def authors_on(config: SimulationConfig, authors: Authors, day: int) -> Authors:
    """The authors on that day: from the shift on, some have taken up the new topic."""
    if day < config.shift_day:
        return authors
    rng = generator(config, "trend")
    takes_up = rng.random(config.authors) < config.trend_share
    share = np.where(takes_up, rng.uniform(0.25, 0.6, config.authors), 0.0).astype(np.float32)
    weights = authors.weights * (1.0 - share[:, None])
    weights[:, MIX_SLOTS - 1] = share
    return replace(authors, weights=weights)


def make_users(config: SimulationConfig, authors: Authors) -> Users:
    """Users before the shift."""
    rng = generator(config, "users")
    taste = _tastes(config, config.users, rng)
    beloved = _beloved(taste, authors, rng)
    follows = np.where(rng.random(beloved.shape) < 0.7, beloved, -1)
    activity = np.clip(rng.pareto(1.6, config.users) + 0.35, None, 12.0)
    return Users(taste, beloved, follows, (activity / activity.mean()).astype(np.float32))


def users_on(config: SimulationConfig, users: Users, day: int) -> Users:
    """The users on that day, given the users of the day before."""
    if day == 0:
        return users
    rng = generator(config, "drift", day)
    taste = users.taste + rng.normal(0.0, config.drift, users.taste.shape).astype(np.float32)
    if day == config.shift_day:
        changed = rng.random(len(taste)) < config.changed_share
        taste[changed] = _tastes(config, int(changed.sum()), rng)
        curious = changed | (rng.random(len(taste)) < 0.05)
        taste[curious, TREND_TOPIC] += config.loved
    return replace(users, taste=taste)


def _mixes(count: int, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """Three to five different topics for each author, from anywhere, and an uneven share of time for each."""
    topics = np.argsort(rng.random((count, len(TOPICS))), axis=1)
    topics = np.where(topics == TREND_TOPIC, topics[:, MIX_SLOTS - 1 : MIX_SLOTS], topics)[:, :MIX_SLOTS]
    topics[:, MIX_SLOTS - 1] = TREND_TOPIC
    weights = rng.gamma(3.0, size=(count, MIX_SLOTS))
    size = rng.choice((3, 4, 5), size=count, p=(0.2, 0.4, 0.4))
    weights[np.arange(MIX_SLOTS) >= size[:, None]] = 0.0
    return topics, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _tastes(config: SimulationConfig, count: int, rng: np.random.Generator) -> Floats:
    """Sparse tastes [count, topics]: two to four loved topics, mostly of two loved genres, one or two disliked ones."""
    appeal = generator(config, "topic appeal").normal(0.0, 0.25, len(TOPICS))  # the same for all users
    genres = np.argsort(rng.random((count, len(GENRES))), axis=1)
    in_loved_genre = (genres[:, :1] == GENRE_OF_TOPIC) | (genres[:, 1:2] == GENRE_OF_TOPIC)
    order = np.argsort(rng.random((count, len(TOPICS))) - 0.75 * in_loved_genre, axis=1)
    loved, disliked = rng.integers(2, 5, size=count), rng.integers(1, 3, size=count)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(len(TOPICS))[None, :], axis=1)
    taste = appeal + rng.normal(0.0, config.taste_noise, (count, len(TOPICS))) + config.loved_genre * in_loved_genre
    taste += config.loved * rng.uniform(0.7, 1.3, taste.shape) * (rank < loved[:, None])
    taste += config.disliked * (rank >= len(TOPICS) - disliked[:, None])
    taste[:, TREND_TOPIC] = rng.normal(0.0, config.taste_noise, count)
    return taste.astype(np.float32)


def _beloved(taste: Floats, authors: Authors, rng: np.random.Generator) -> Ints:
    """Two to four authors for each user [U, 4]: of a few that the user meets, those who air what the user likes."""
    count, considered = len(taste), 24
    met = np.searchsorted(np.cumsum(authors.popularity), rng.random((count, considered)), side="right")
    met = np.minimum(met, len(authors.popularity) - 1)
    match = np.einsum("umk,umk->um", authors.weights[met], taste[np.arange(count)[:, None, None], authors.topics[met]])
    best = np.argsort(-match - rng.gumbel(size=match.shape), axis=1)[:, :4]
    beloved = np.take_along_axis(met, best, axis=1)
    beloved[np.arange(4) >= rng.integers(2, 5, size=count)[:, None]] = -1
    return beloved
