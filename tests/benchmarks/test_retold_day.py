"""The held-out day told again names only members that nobody said."""

from benchmarks.quality.retold_day import retold
from livealign.simulation.lexicon import lexicon


def test_every_member_gives_way_to_one_of_its_topic_that_no_text_names() -> None:
    every = [f"host: today {names[0]} and {names[1].upper()}, then {names[2]} for {names[0]}" for names in lexicon().members]
    told = [retold(every[:5], every, draw) for draw in range(2)]
    for topic in range(5):
        names = lexicon().members[topic]
        for text in (told[0][topic], told[1][topic]):
            assert text.startswith("host: today ")
            assert not any(name.casefold() in text.casefold() for name in names[:3])
            assert sum(name in text for name in names[3:]) >= 3
        assert told[0][topic] != told[1][topic]


def test_the_same_member_becomes_the_same_one_and_other_words_stay() -> None:
    first, second = lexicon().members[0][:2]
    one, other, plain = retold([f"{first} again", f"no {first}", "no member here"], [f"{first} and {second}"], draw=0)
    assert one.removesuffix(" again") == other.removeprefix("no ")
    assert plain == "no member here"


def test_a_part_of_a_longer_word_is_no_member() -> None:
    name = lexicon().members[0][3]  # a short one
    assert retold([f"x{name}y"], [name], draw=0) == [f"x{name}y"]
