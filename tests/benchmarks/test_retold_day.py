"""The held-out day told again names only members that nobody said, and its ceilings know what is planted."""

from pathlib import Path

import numpy as np

from benchmarks.quality.retold_day import TRUE_TOPIC, retold, with_ceilings
from livealign.config import DatasetConfig
from livealign.dataset.corpus import RAW, TUNED, Corpus, load_corpus
from livealign.simulation.lexicon import lexicon
from tests.planted.marts import plant_marts


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


def test_a_probe_finds_the_topics_that_a_vector_tells_and_none_in_noise(tmp_path: Path) -> None:
    planted = plant_marts(tmp_path, authors=8, topics=4, noise=0.1, topics_of_author=4)
    corpus = load_corpus(planted.marts, planted.days[-1], DatasetConfig(half_life_seconds=0))
    noise = np.random.default_rng(0).normal(size=planted.vectors.shape).astype(np.float32)
    for name, vectors in {RAW: planted.vectors, TUNED: noise}.items():
        corpus = corpus.with_content(name, planted.segment_ids, vectors)
    topics = planted.segment_topic[np.searchsorted(planted.segment_ids, corpus.segment_ids[1:])]
    again = corpus.with_content(RAW, planted.segment_ids, noise)
    first, second = with_ceilings([corpus, again], topics)

    def right(told: Corpus, name: str, *, train: bool) -> float:
        rows = corpus.segment_is_train[1:] == train
        return float((told.content[name][1:].argmax(1) == topics)[rows].mean())

    assert right(first, TRUE_TOPIC, train=False) == 1
    for train in (True, False):  # a training row is read by the folds without its room: noise is no better there
        assert right(first, "topic by the frozen LLM", train=train) > 0.9
        assert right(first, "topic by the tuned LLM", train=train) < 0.4
    assert right(second, "topic by the frozen LLM", train=False) < 0.4  # the probe knows the first telling alone
