"""A name is what a path's rooms say and its siblings' do not; fillers, lone voices and the words above name nothing."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livealign.codes.names import SegmentsOf, name_codes, path_names

FILLERS = ("wow", "hello", "desde", "méxico", "tonight")


class World:
    """Windows of rooms: each room says its path's words, and fillers; a room's windows are of one first code."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.codes: list[tuple[int, ...]] = []
        self.texts: list[str] = []
        self.rooms: list[int] = []
        self.authors: list[int] = []
        self.started_at: list[int] = []

    def room(
        self, path: tuple[int, ...], words: dict[str, float], author: int | None = None, windows: int = 6, loud: str = ""
    ) -> None:
        """A room whose windows say each word with its probability, each filler with 0.3 and a loud one with 0.9."""
        shares = {**words, **dict.fromkeys(FILLERS, 0.3), loud: 0.9}
        number = self.rooms[-1] + 1 if self.rooms else 0
        for window in range(windows):
            said = [word for word, share in shares.items() if self.rng.random() < share]
            self.codes.append(path)
            self.texts.append("the host says " + " ".join(said))
            self.rooms.append(number)
            self.authors.append(number if author is None else author)
            self.started_at.append(30_000 * (window + 1_000 * number))

    def names(self, **settings: int) -> dict[str, str]:
        ids = (np.array(column) for column in (self.rooms, self.authors, self.started_at))
        return name_codes(np.array(self.codes), self.texts, SegmentsOf(*ids), **settings)


TOPICS = {0: ("chess", "queen"), 1: ("karaoke", "chorus"), 2: ("poker", "river"), 3: ("yoga", "breath")}


def rooms_of_topics(world: World, each: int = 12) -> None:
    for topic, (first, second) in TOPICS.items():
        for _ in range(each):
            world.room((topic, 0), {first: 0.6, second: 0.4})


def test_a_path_is_named_by_its_own_words_and_never_by_fillers() -> None:
    world = World()
    rooms_of_topics(world)
    assert world.names() == {str(topic): f"{first}, {second}" for topic, (first, second) in TOPICS.items()}


def test_a_filler_that_one_code_says_more_often_than_the_others_does_not_name_it() -> None:
    world = World()
    rooms_of_topics(world, each=30)
    for _ in range(30):
        world.room((4, 0), {"pottery": 0.3, "clay": 0.2}, loud="wow")
    assert world.names()["4"] == "pottery, clay"


def test_a_broadcast_that_changes_its_subject_names_each_part() -> None:
    world = World()
    for _ in range(60):
        for topic in world.rng.permutation(4).tolist():
            world.room((topic, 0), {TOPICS[topic][0]: 0.6}, windows=20)
    names = world.names()
    one_room_of_four = np.array(world.rooms) // 4
    world.rooms, world.authors = one_room_of_four.tolist(), one_room_of_four.tolist()
    assert world.names() == names == {str(topic): first for topic, (first, _) in TOPICS.items()}


def test_a_child_is_named_by_what_distinguishes_it_within_its_parent() -> None:
    world = World()
    rooms_of_topics(world)
    for child, word in enumerate(("opening", "endgame")):
        for _ in range(15):
            world.room((0, child), {"chess": 0.9 - 0.5 * child, "queen": 0.4, word: 0.6})
    names = world.names()
    assert "chess" in names["0"]
    assert names["0-1"] == "endgame"
    assert names["0-0"] == "opening", "chess is said more often in this child, and is the parent's word"


@pytest.mark.parametrize("lone", ["author", "room"])
def test_a_word_of_one_author_or_room_does_not_name_a_code_of_many(lone: str) -> None:
    world = World()
    rooms_of_topics(world, each=10)
    for _ in range(1 if lone == "room" else 4):
        world.room((0, 0), {"mywatermark": 1.0}, author=999, windows=60 if lone == "room" else 12)
    assert "mywatermark" not in world.names()["0"]


def test_the_words_of_its_only_author_name_a_code() -> None:
    world = World()
    rooms_of_topics(world)
    for _ in range(10):
        world.room((4, 0), {"katabasis": 0.6}, author=999)
    assert world.names()["4"] == "katabasis"


def test_a_word_that_few_windows_of_a_code_say_does_not_name_it() -> None:
    world = World()
    rooms_of_topics(world)
    for _ in range(40):
        world.room((4, 0), {"curling": 0.08}, windows=10)
    assert "4" not in world.names()


def test_few_segments_and_an_only_child_have_no_name() -> None:
    world = World()
    rooms_of_topics(world)
    assert set(world.names()) == set("0123"), "all of a topic's rooms have one second code"
    assert world.names(minimum=10_000) == {}


def test_a_language_without_spaces_is_named_by_its_words() -> None:
    world = World()
    rooms_of_topics(world)
    lines = ("我喜欢象棋", "象棋太好了", "今天下象棋吗", "象棋开局")
    for number, line in product(range(6), lines):
        world.room((4, 0), {line: 0.5 + 0.05 * number})
    assert "象棋" in world.names()["4"].split(", ")


@pytest.mark.parametrize("texts", [["", "  "], ["666", "1 2"], ["ab", "!!"], []])
def test_without_a_word_there_are_no_names(texts: list[str]) -> None:
    n = len(texts)
    assert name_codes(np.zeros((n, 2), dtype=int), texts, SegmentsOf(*[np.arange(n)] * 3), minimum=1) == {}


def test_a_code_in_which_nothing_telling_was_said_has_no_names_and_leaves_the_others_theirs() -> None:
    world = World()
    rooms_of_topics(world)
    named = world.names()
    for child in range(2):
        for _ in range(6):
            world.room((4, child), {})
    world.texts = [text if path[0] != 4 else "" for text, path in zip(world.texts, world.codes, strict=True)]
    assert world.names().keys() == named.keys()


def test_the_names_do_not_depend_on_the_order_of_the_segments() -> None:
    world = World()
    rooms_of_topics(world)
    before = world.names()
    order = np.random.default_rng(1).permutation(len(world.texts)).tolist()
    world.codes, world.texts = [world.codes[row] for row in order], [world.texts[row] for row in order]
    world.rooms, world.authors = [world.rooms[row] for row in order], [world.authors[row] for row in order]
    world.started_at = [world.started_at[row] for row in order]
    assert world.names() == before


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6), children=st.integers(2, 4), stems=st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=3)
)
def test_no_name_repeats_a_word_of_the_names_above_it(seed: int, children: int, stems: list[str]) -> None:
    """Random trees of three levels, whose words share stems: "aaa", "aaab", "aaabb"."""
    world = World(seed)
    pool = [stem * 3 + tail for stem in set(stems) for tail in ("", "xy", "xyz", "zw")]
    for first, second, third in product(range(3), range(children), range(2)):
        words = {str(word): float(world.rng.uniform(0.3, 0.9)) for word in world.rng.choice(pool, 3)}
        words[f"topic{'abc'[first]}"] = float(world.rng.uniform(0.4, 0.9))
        for _ in range(4):
            world.room((first, second, third), words, windows=4)
    names = world.names()
    assert names
    for path, name in names.items():
        parts = path.split("-")
        above = [names.get("-".join(parts[:depth]), "") for depth in range(1, len(parts))]
        for word, other in product(name.split(", "), [one for line in above for one in line.split(", ") if one]):
            assert word not in other, (path, name, above)
            assert other not in word, (path, name, above)


def test_a_level_without_a_name_of_its_own_has_none() -> None:
    assert path_names([3, 7, 1], {"3": "chess", "3-7-1": "endgame"}) == ["chess", "", "endgame"]
    assert path_names([], {"3": "chess"}) == []
