"""The plan of `turning_rooms.py`: pairs of a user and a room that turns to what they like.

Of a simulated platform only: its truth says what a user likes and what a window was about.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from livealign.dataset.marts import built_days, read_mart
from livealign.days import day_of
from livealign.errors import LiveAlignError
from livealign.files import read_json
from livealign.home import Home
from livealign.release.bundle import SNAPSHOT, Bundle
from livealign.simulation.config import WINDOW_MS
from livealign.simulation.grammar import GENRE_OF_TOPIC
from livealign.simulation.topics import TOPICS
from livealign.simulation.truth import has_truth, read_truth_file, truth_file
from livealign.simulation.world import FIRST_USER_ID

LEAST_ENTRIES = 3  # of the favourite topic, in a history of 20
Ints = NDArray[np.int64]


class Person(NamedTuple):
    """A user of the platform, as its truth and the release's snapshot have them."""

    user_id: int
    taste: NDArray[np.floating]  # log odds of a click by topic
    entered: Ints  # topics of the history in the snapshot
    authors: frozenset[int]  # ever entered


class Pair(NamedTuple):
    """A user, and the author of the room that turns from the topic `first` to the topic `liked`."""

    user_id: int
    author_id: int
    first: int
    liked: int


class Stage(NamedTuple):
    """R rooms: the pairs' in their order, then those that keep their topic."""

    pairs: Sequence[Pair]
    author_ids: Ints  # [R]
    first: Ints  # [R] topics before the turn
    second: Ints  # [R] topics after it
    watchers: Sequence[int]  # users of no pair


def people_of(home: Home, bundle: Bundle) -> list[Person]:
    """The users with a history in the release's snapshot.

    Raises:
        LiveAlignError: the platform is not a simulated one, or the truth is damaged.
    """
    if not has_truth(home.archive):
        raise LiveAlignError(f"{home.archive} has no truth: only a simulated platform says what a user likes")
    folder = bundle.path / SNAPSHOT
    moment = int(read_json(folder / "state.json")["moment"])
    topic_of = _topics_of_segments(home)
    segments = pq.read_table(folder / "items.parquet", columns=["segment_id"])["segment_id"].to_pylist()
    tastes = read_truth_file(truth_file(home.archive, "tastes", day_of(moment)), ["taste"])["taste"].to_pylist()
    ever = defaultdict[int, set[int]](set)
    engaged = read_mart(home.marts, "user_histories", built_days(home.marts, "user_histories"), ["user_id", "author_id"])
    for user, author in zip(engaged["user_id"].to_pylist(), engaged["author_id"].to_pylist(), strict=True):
        ever[user].add(author)
    histories = pq.read_table(folder / "histories.parquet", columns=["user_id", "items"])
    return [
        Person(
            user,
            np.asarray(tastes[user - FIRST_USER_ID]),
            np.array([topic_of[segments[item]] for item in items if item >= 0], dtype=np.int64),
            frozenset(ever[user]),
        )
        for user, items in zip(histories["user_id"].to_pylist(), histories["items"].to_pylist(), strict=True)
    ]


def plan(people: Sequence[Person], authors: Sequence[int], pairs: int, rooms: int, rng: np.random.Generator) -> Stage:
    """Draw the pairs and the topics of the other rooms.

    Liked topics are spread as evenly as the users allow, the others' evenly. A user's favourite topic is the true one,
    and the history has it LEAST_ENTRIES times. The first topic is of another genre, and the user likes it less than most. The
    user has never entered a room of the author.

    Raises:
        LiveAlignError: the platform has too few such users, or too few authors.
    """
    by_topic = defaultdict[int, list[Person]](list)
    for place in rng.permutation(len(people)).tolist():
        favourite = int(people[place].taste.argmax())
        if (people[place].entered == favourite).sum() >= LEAST_ENTRIES:
            by_topic[favourite].append(people[place])
    chosen = [person for _, person in zip(range(pairs), _in_turns(by_topic, rng), strict=False)]
    if len(chosen) < pairs or not 1 <= pairs <= rooms <= len(authors):
        raise LiveAlignError(
            f"{pairs} pairs in {rooms} rooms cannot be drawn from {sum(map(len, by_topic.values()))} users who have entered"
            f" their favourite topic often, and {len(authors)} authors; give other --pairs and --rooms"
        )
    free = [authors[place] for place in rng.permutation(len(authors)).tolist()]
    drawn = [_pair(person, free, rng) for person in chosen]
    turns = 1 + rooms // len(TOPICS)
    others = np.concatenate([rng.permutation(len(TOPICS)) for _ in range(turns)])[: rooms - pairs]
    in_pairs = {pair.user_id for pair in drawn}
    return Stage(
        pairs=drawn,
        author_ids=np.array([*(pair.author_id for pair in drawn), *free[: rooms - pairs]], dtype=np.int64),
        first=np.concatenate([[pair.first for pair in drawn], others]).astype(np.int64),
        second=np.concatenate([[pair.liked for pair in drawn], others]).astype(np.int64),
        watchers=[person.user_id for person in people if person.user_id not in in_pairs],
    )


def _in_turns(by_topic: Mapping[int, Sequence[Person]], rng: np.random.Generator) -> Iterator[Person]:
    """One user of each topic, topics in random order, then the next of each."""
    order = [by_topic[topic] for topic in rng.permutation(sorted(by_topic)).tolist()]
    for nth in range(max(map(len, order), default=0)):
        yield from (people[nth] for people in order if nth < len(people))


def _pair(person: Person, free: list[int], rng: np.random.Generator) -> Pair:
    """The user with an author, who is taken from the free ones."""
    liked = int(person.taste.argmax())
    allowed = (person.taste <= np.median(person.taste)) & (GENRE_OF_TOPIC[liked] != GENRE_OF_TOPIC)
    author = next((author for author in free if author not in person.authors), None)
    if author is None:
        raise LiveAlignError(f"user {person.user_id} has entered rooms of all authors that are left; give fewer --pairs")
    free.remove(author)
    return Pair(person.user_id, author, int(rng.choice(np.flatnonzero(allowed))), liked)


def _topics_of_segments(home: Home) -> dict[int, int]:
    """The true topic by segment id, of all days in the marts."""
    topic_of: dict[int, int] = {}
    for day in built_days(home.marts, "segments"):
        segments = read_mart(home.marts, "segments", [day], ["segment_id", "room_id", "started_at"])
        started = pc.cast(segments["started_at"], pa.timestamp("ms")).cast(pa.int64()).to_numpy()
        truth = read_truth_file(truth_file(home.archive, "segments", day), ["room_id", "window", "topic"])
        known = {(room, window): topic for room, window, topic in zip(*(column.to_pylist() for column in truth), strict=True)}
        keys = zip(segments["room_id"].to_pylist(), (started // WINDOW_MS).tolist(), strict=True)
        topic_of |= {segment: known[key] for segment, key in zip(segments["segment_id"].to_pylist(), keys, strict=True)}
    return topic_of
