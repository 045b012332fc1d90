"""The measurement of names knows a right name from a wrong one."""

import numpy as np

from benchmarks.quality.code_names import Said, held, of_topic, repeats
from livealign.codes.names import SegmentsOf
from livealign.codes.words import words_of

WORDS = ("chess", "karaoke", "poker")


def planted(rooms: int = 60, windows: int = 6) -> Said:
    """Rooms of three topics with a code each, half of whose windows say the topic's word."""
    rng = np.random.default_rng(0)
    room = np.repeat(np.arange(rooms), windows)
    topics = room % 3
    texts = [WORDS[topic] if rng.random() < 0.5 else "hello" for topic in topics.tolist()]
    return Said(np.stack([topics, topics * 0], axis=1), texts, SegmentsOf(room, room, np.arange(len(room)) * 30_000), topics)


def test_a_name_is_of_the_topic_whose_segments_say_it_most() -> None:
    said = planted()
    words, contains = words_of(said.texts)
    column = {word: place for place, word in enumerate(words.tolist())}
    assert of_topic(said, "1", "karaoke", column, contains)
    assert not of_topic(said, "1", "chess", column, contains)
    assert not of_topic(said, "1", "unheard", column, contains)


def test_names_of_one_half_of_the_rooms_hold_in_the_other_only_if_their_codes_say_them() -> None:
    said = planted()
    assert held(said, 0) == {1: [True, True, True]}
    shuffled = list(said.texts)
    second = np.isin(said.origin.rooms, np.random.default_rng(0).permutation(60)[30:])
    for row in np.flatnonzero(second).tolist():
        shuffled[row] = "hello"
    assert held(said._replace(texts=shuffled), 0) == {1: [False, False, False]}


def test_a_word_within_a_word_of_the_name_above_is_a_repeat() -> None:
    names = {"0": "chess, queen", "0-1": "chessboard", "0-2": "endgame", "0-2-1": "queens", "1-0": "chess"}
    assert [path for path in names if repeats(path, names)] == ["0-1", "0-2-1"]
