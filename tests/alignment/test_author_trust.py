"""Trust in authors' content, against planted gains."""

import numpy as np
import pytest

from livealign.alignment.author_trust import trust_by_author

AUTHORS = 400


def planted(seed: int, mean: float = 0.0, spread: float = 0.02) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """True gain of each author [AUTHORS + 1]; gain, author and room of each impression: rooms differ, and so do impressions."""
    rng = np.random.default_rng(seed)
    true = np.r_[0, rng.normal(mean, spread, AUTHORS)]
    rooms_of = rng.integers(1, 9, AUTHORS)
    author_of_room = np.repeat(np.arange(1, AUTHORS + 1), rooms_of)
    room = np.repeat(np.arange(len(author_of_room)), rng.integers(20, 60, len(author_of_room)))
    author = author_of_room[room]
    of_room = rng.normal(0, 0.03, len(author_of_room))
    return true, true[author] + of_room[room] + rng.normal(0, 0.1, len(room)), author, room


def test_trust_is_the_share_of_authors_whose_content_really_tells_more() -> None:
    true, gain, author, room = planted(seed=1)
    trust = trust_by_author(gain, author, room, AUTHORS + 1)
    positive = true[1:] > 0
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.01)):
        here = (trust[1:] >= low) & (trust[1:] < high)
        assert here.sum() > 30
        assert positive[here].mean() == pytest.approx(trust[1:][here].mean(), abs=0.12)
    assert trust[1:][positive].mean() > trust[1:][~positive].mean() + 0.3


def test_many_impressions_of_one_room_are_one_opinion() -> None:
    """The same rooms shown ten times as often say nothing new."""
    _, gain, author, room = planted(seed=2)
    once = trust_by_author(gain, author, room, AUTHORS + 1)
    often = trust_by_author(np.tile(gain, 10), np.tile(author, 10), np.tile(room, 10), AUTHORS + 1)
    assert np.allclose(once, often, atol=1e-3)


def test_an_author_never_seen_is_trusted_like_one_of_many() -> None:
    _, gain, author, room = planted(seed=3, mean=0.02)
    shown = author <= 300
    trust = trust_by_author(gain[shown], author[shown], room[shown], AUTHORS + 1)
    assert (trust[301:] == trust[0]).all()
    assert trust[0] == pytest.approx(0.84, abs=0.06)  # P(N(0.02, 0.02²) > 0)


def test_nothing_known_speaks_against_nobody() -> None:
    nobody = np.zeros(5, dtype=np.int64)
    assert (trust_by_author(np.ones(5), nobody, nobody, 3) == 1).all()
    assert (trust_by_author(np.zeros(0), nobody[:0], nobody[:0], 3) == 1).all()
