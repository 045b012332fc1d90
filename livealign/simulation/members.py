"""The members of its topics that each broadcast of an open world uses, old or new.

    introduced = never_introduced()                            # before the first day
    used = choose_members(config, number, talk, introduced)    # of the day's broadcasts
    introduced = used.introduced                               # before the next day

On the day that a topic is first aired, its broadcasts draw from the first FIRST_MEMBERS of its lexicon, in an order that the
seed decides. From then on a share of the day's broadcasts (`new_words`) draws from the next NEW_A_DAY members, which no
day before had; the others draw from members of the days before: those that came in the last RECENT_DAYS, and at least the last
FIRST_MEMBERS that came. So trends pass. A topic whose lexicon is used up takes again the members that came longest ago, which
have been unsaid for two weeks then.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livealign.simulation.config import SimulationConfig
from livealign.simulation.grammar import GENRE_OF_TOPIC
from livealign.simulation.lexicon import lexicon
from livealign.simulation.topics import TOPICS
from livealign.simulation.world import Bools, Ints, generator

FEW = 3  # members of a topic in one broadcast
FIRST_MEMBERS = 12  # of a topic on the day that it is first aired
NEW_A_DAY = 3  # of a topic, for all broadcasts with new members together
RECENT_DAYS = 7
NEVER = -1_000_000  # a day before all others

# What is odd about the words of a broadcast, by row number, with its share of the broadcasts.
WORDINGS = ("plain", "homonym", "denial", "contradicting title")
WORDING_SHARES = (0.7, 0.1, 0.1)  # the last has the rest
_, HOMONYM, DENIAL, CONTRADICTION = range(len(WORDINGS))


@dataclass(frozen=True)
class Talk:
    """The topics that a day's R broadcasts speak of.

    By title [R], and in W windows (`room` and `topic` [W]).
    """

    title_topic: Ints
    room: Ints
    topic: Ints


@dataclass(frozen=True)
class UsedMembers:
    """Members in R broadcasts, for every topic that a broadcast may speak of.

    `members` [R, topics, FEW]: rows in the topic's lexicon. `is_new` [R, topics]: no day before had any of them. `homonym`
    [R, topics]: row in the lexicon's homonyms. Per broadcast [R]: `wording` (row in WORDINGS), `other_topic` (of another genre,
    which the host denies or the title names). `introduced` [topics, most members]: the day on which each came last.
    """

    members: Ints
    is_new: Bools
    homonym: Ints
    wording: Ints
    other_topic: Ints
    introduced: Ints
    used_up: bool  # whether a topic had to take members again that came before


def never_introduced() -> Ints:
    """The days on which members came, before the first day."""
    most = max(len(members) for members in lexicon().members)
    return np.full((len(TOPICS), most), NEVER, dtype=np.int64)


def choose_members(config: SimulationConfig, number: int, talk: Talk, introduced: Ints) -> UsedMembers:
    """The members of the day's broadcasts, given when each member came."""
    rng = generator(config, "members", number)
    count = len(talk.title_topic)
    wording = np.searchsorted(np.cumsum(WORDING_SHARES), _spread(count, rng), side="right")
    takes_new = _spread(count, rng) < config.new_words
    members = np.zeros((count, len(TOPICS), FEW), dtype=np.int64)
    for topic, order in enumerate(_orders(config)):
        pool = _known_pool(order, introduced[topic], number)
        batch = _new_batch(order, introduced[topic], pool)
        drawn, fresh = _drawn(pool, count, rng), _drawn(batch, count, rng)
        members[:, topic] = np.where(takes_new[:, None], fresh, drawn)
    aired = _aired(talk)
    known: Bools = np.logical_or(aired.any(axis=0), (introduced > NEVER).any(axis=1))
    other_topic = _other_topics(talk.title_topic, known, rng)
    odd = np.flatnonzero((wording == DENIAL) | (wording == CONTRADICTION))
    aired[odd, other_topic[odd]] = True
    before = introduced[np.arange(len(TOPICS))[None, :, None], members]
    again = takes_new[:, None, None] & (before > NEVER) & aired[:, :, None]
    rooms, topics, places = np.nonzero(aired[:, :, None] & (takes_new[:, None, None] | (before == NEVER)))
    after = introduced.copy()
    after[topics, members[rooms, topics, places]] = number
    return UsedMembers(
        members=members,
        is_new=(before == NEVER).all(axis=2),
        homonym=_homonyms(count, rng),
        wording=wording,
        other_topic=other_topic,
        introduced=after,
        used_up=bool(again.any()),
    )


def _spread(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Evenly spread numbers below 1 in random order [count]: of any range, as many as its width says, give or take one."""
    spread: NDArray[np.float64] = (rng.permutation(count) + rng.random()) / count
    return spread


def _orders(config: SimulationConfig) -> list[Ints]:
    """The order in which the members of each topic come."""
    rng = generator(config, "lexicon")
    return [rng.permutation(len(members)) for members in lexicon().members]


def _known_pool(order: Ints, introduced: Ints, number: int) -> Ints:
    """Members that came on days before and are still talked of; of a topic never aired, those it begins with."""
    came = introduced[order]
    if not (came > NEVER).any():
        return order[:FIRST_MEMBERS]
    latest = order[np.argsort(-came, kind="stable")]
    recent = int((came >= number - RECENT_DAYS).sum())
    return latest[: min(max(recent, FIRST_MEMBERS), int((came > NEVER).sum()))]


def _new_batch(order: Ints, introduced: Ints, pool: Ints) -> Ints:
    """The next members that none has used, or else those that came longest ago; a topic never aired has its pool."""
    if not (introduced > NEVER).any():
        return pool
    waiting = order[~np.isin(order, pool)]
    return waiting[np.argsort(introduced[waiting], kind="stable")][:NEW_A_DAY]


def _drawn(pool: Ints, count: int, rng: np.random.Generator) -> Ints:
    """FEW different members of the pool for each broadcast [count, FEW]; a smaller pool is repeated."""
    columns = np.argsort(rng.random((count, len(pool))), axis=1)
    drawn: Ints = pool[columns[:, np.arange(FEW) % len(pool)]]
    return drawn


def _other_topics(title_topic: Ints, known: Bools, rng: np.random.Generator) -> Ints:
    """A topic [R] of another genre than the title's, of the known ones [topics] if there is any."""
    allowed = GENRE_OF_TOPIC[title_topic][:, None] != GENRE_OF_TOPIC
    other: Ints = np.argmax(rng.random(allowed.shape) + allowed + (allowed & known), axis=1)
    return other


def _homonyms(count: int, rng: np.random.Generator) -> Ints:
    """A homonym for each broadcast and topic [count, topics], as row in the lexicon's homonyms."""
    chosen = np.zeros((count, len(TOPICS)), dtype=np.int64)
    for topic in range(len(TOPICS)):
        rows = np.flatnonzero([topic in topics for topics in lexicon().homonyms.values()])
        chosen[:, topic] = rows[rng.integers(len(rows), size=count)]
    return chosen


def _aired(talk: Talk) -> Bools:
    """The topics that each broadcast speaks of [R, topics], its title included."""
    aired = np.zeros((len(talk.title_topic), len(TOPICS)), dtype=bool)
    aired[talk.room, talk.topic] = True
    aired[np.arange(len(aired)), talk.title_topic] = True
    return aired
