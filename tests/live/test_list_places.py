"""The places of a list: several codes, and draws whose probability is known."""

import uuid
from collections import Counter

import numpy as np
import pytest

from livealign.live.list_places import diverse, explored


def test_a_list_is_not_full_of_one_code_as_long_as_there_are_others() -> None:
    codes = [4, 4, 4, 4, 5, 5, 6]
    assert diverse(range(7), codes, 5, 2) == [0, 1, 4, 5, 6]
    assert diverse(range(7), codes, 6, 2) == [0, 1, 2, 4, 5, 6]  # the best of those that were passed over, in their place
    assert diverse(range(7), codes, 3, 9) == [0, 1, 2]
    assert diverse([], [], 3, 1) == []


@pytest.mark.parametrize(("k", "share"), [(10, 0.1), (10, 0.35), (5, 1.0), (2, 0.5)])
def test_a_room_is_in_a_list_as_often_as_its_propensity_says(k: int, share: float) -> None:
    order, lists = list(range(30)), 6_000
    counted: Counter[int] = Counter()
    places_of_drawn: Counter[int] = Counter()
    stated: dict[int, float] = {}
    for number in range(lists):
        places = explored(order[:k], order, share, uuid.UUID(int=number, version=4).hex)
        assert len(set(places.chosen)) == k
        assert places.drawn == set(places.chosen) - set(order[:k])
        assert [place for place in places.chosen if place < k] == [place for place in order[:k] if place in places.chosen]
        for room, propensity in zip(places.chosen, places.propensities, strict=True):
            counted[room] += 1
            assert stated.setdefault(room, propensity) == propensity
        places_of_drawn.update(places.chosen.index(room) for room in places.drawn)
    assert stated[0] == 1.0
    assert sum(stated.values()) == pytest.approx(k)  # every room was seen: a list has k
    for room, propensity in stated.items():
        assert abs(counted[room] / lists - propensity) < 5 * np.sqrt(propensity * (1 - propensity) / lists) + 1e-12
    drawn = sum(places_of_drawn.values())
    assert places_of_drawn.keys() == set(range(1, k))
    assert all(abs(count / drawn - 1 / (k - 1)) < 5 / np.sqrt(drawn) for count in places_of_drawn.values())


def test_without_exploration_or_other_rooms_nothing_is_drawn() -> None:
    for best, order, share in (([0, 1, 2], range(9), 0.0), ([0, 1, 2], range(3), 1.0), ([0], range(9), 1.0), ([], [], 1.0)):
        places = explored(best, list(order), share, "request")
        assert (places.chosen, places.drawn, places.propensities) == (best, set(), [1.0] * len(best))
