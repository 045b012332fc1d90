"""Telling words that both texts of a pair have, kept on one side only."""

import re

import numpy as np

from livealign.llm.segment_text import WindowText
from livealign.tuning.shared_words import telling_words, with_shared_words_split

LEFT = WindowText(
    3, 3, title="blitz", speech="and now the Berlin Defence, then the Najdorf", chat=("najdorf!", "love the Caro-Kann")
)
RIGHT = WindowText(4, 4, speech="the Najdorf again", chat=("is the Berlin Defence dead", "Caro-Kann"))
TELLING = {"berlin", "defence", "najdorf", "caro", "kann"}


def words(window: WindowText) -> set[str]:
    return set(re.findall(r"\w\w+", " ".join((window.title, window.speech, *window.chat)).casefold()))


def test_each_shared_telling_word_stays_on_one_side_and_names_stay_whole() -> None:
    sides = set()
    for seed in range(40):
        left, right = with_shared_words_split(LEFT, RIGHT, TELLING, np.random.default_rng(seed))
        assert not words(left) & words(right) & TELLING
        assert (words(left) | words(right)) == (words(LEFT) | words(RIGHT))
        assert words(left) & TELLING
        assert words(right) & TELLING
        for name in ({"berlin", "defence"}, {"caro", "kann"}):
            assert (words(left) & name, words(right) & name) in ((name, set()), (set(), name))
        sides.add(frozenset(words(left) & TELLING))
    assert len(sides) > 3


def test_a_message_of_nothing_else_is_gone_and_words_of_one_side_stay() -> None:
    left, right = with_shared_words_split(LEFT, RIGHT, {"najdorf", "berlin"}, np.random.default_rng(0))
    assert left.title == "blitz"
    assert "love the Caro-Kann" in left.chat
    assert "Caro-Kann" in right.chat
    assert "" not in left.chat + right.chat


def test_a_side_that_would_lose_all_that_tells_stays_as_it_is() -> None:
    for telling in ({"najdorf"}, {"berlin", "defence"}, set()):
        assert with_shared_words_split(LEFT, RIGHT, telling, np.random.default_rng(0)) == (LEFT, RIGHT)


def test_telling_words_are_those_that_few_rooms_say() -> None:
    rooms = np.repeat(np.arange(60), 2)
    windows = [WindowText(0, 0, speech=f"hello Member{room // 2}", chat=("the usual",)) for room in rooms]
    assert telling_words(rooms, windows) == {f"member{one}" for one in range(30)}
