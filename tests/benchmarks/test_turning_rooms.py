"""The measurement of turning rooms draws the pairs that it describes, and counts their ranks rightly."""

import math

import numpy as np
import pytest

from benchmarks.load.turning_plan import LEAST_ENTRIES, Person, plan
from benchmarks.load.turning_rooms import fallen, seconds_to_top
from livealign.errors import LiveAlignError
from livealign.simulation.grammar import GENRE_OF_TOPIC
from livealign.simulation.topics import TOPICS

AUTHORS = list(range(101, 181))


def people(count: int, entries: int) -> list[Person]:
    """Users who like a topic each, have entered it so often, and have never entered the last 20 authors."""
    rng = np.random.default_rng(0)
    found = []
    for user in range(count):
        taste = rng.normal(size=len(TOPICS))
        taste[user % len(TOPICS)] = 5.0
        entered = np.array([user % len(TOPICS)] * entries + [(user + 1) % len(TOPICS)] * 5)
        found.append(Person(user, taste, entered, frozenset(AUTHORS[:60])))
    return found


def test_a_pair_is_a_user_and_an_unknown_author_who_turns_from_what_the_user_does_not_like() -> None:
    known = people(60, LEAST_ENTRIES)
    stage = plan(known, AUTHORS, pairs=20, rooms=70, rng=np.random.default_rng(1))
    assert len({pair.user_id for pair in stage.pairs}) == len({pair.liked for pair in stage.pairs}) == 20
    assert len(set(stage.author_ids.tolist())) == 70
    for pair, first, second in zip(stage.pairs, stage.first, stage.second, strict=False):
        person = known[pair.user_id]
        assert pair.author_id not in person.authors
        assert (pair.first, pair.liked) == (first, second)
        assert pair.liked == person.taste.argmax()
        assert person.taste[pair.first] <= np.median(person.taste)
        assert GENRE_OF_TOPIC[pair.first] != GENRE_OF_TOPIC[pair.liked]
    assert stage.author_ids[:20].tolist() == [pair.author_id for pair in stage.pairs]
    assert (stage.first[20:] == stage.second[20:]).all()
    assert np.ptp(np.bincount(stage.first[20:], minlength=len(TOPICS))) <= 1
    assert not {pair.user_id for pair in stage.pairs} & set(stage.watchers)


@pytest.mark.parametrize(("entries", "pairs", "rooms"), [(LEAST_ENTRIES - 1, 1, 10), (LEAST_ENTRIES, 21, 70), (5, 10, 81)])
def test_a_platform_that_has_no_such_pairs_is_refused(entries: int, pairs: int, rooms: int) -> None:
    with pytest.raises(LiveAlignError, match="--pairs"):
        plan(people(60, entries), AUTHORS, pairs, rooms, np.random.default_rng(1))


def test_ranks_are_counted_by_the_time_of_the_top_and_by_falls_from_the_best() -> None:
    ranks = np.array([[40, 6, 3, 60], [5, 6, 20, 30], [2, 6, 24, 51], [23, 6, 3, 52]])
    assert seconds_to_top(ranks, [5, 10, 15, 20]).tolist() == [10.0, math.inf, 5.0, math.inf]
    assert fallen(ranks).tolist() == [True, False, True, True]
    assert fallen(ranks, places=21).tolist() == [False, False, False, True]
