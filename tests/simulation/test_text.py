"""What is said and written on the simulated platform with a closed vocabulary; `test_open_world` has the open one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from livealign.errors import LiveAlignError
from livealign.simulation.archive import SimulationSummary, simulate
from livealign.simulation.config import SimulationConfig
from livealign.simulation.grammar import GENRE_OF_TOPIC, topic_grammar
from livealign.simulation.topics import TOPICS
from livealign.simulation.vocabulary import GENRES

ALL_TOPICS = range(len(TOPICS))
CLOSED = replace(SimulationConfig.tiny(seed=3), new_words=0.0)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> SimulationSummary:
    return simulate(CLOSED, tmp_path_factory.mktemp("text") / "archive")


def texts(archive: SimulationSummary, table: str, column: str = "text") -> list[str]:
    return [text for path in sorted(archive.out.glob(f"dt=*/{table}.parquet")) for text in _column(path, column)]


def _column(path: Path, column: str) -> list:
    return pq.ParquetFile(path).read([column]).column(column).to_pylist()


def vocabulary(topic: int, count: int = 400) -> set[str]:
    sentences = topic_grammar("speech", topic).sentences(count, np.random.default_rng(topic)).to_pylist()
    return {word for sentence in sentences for word in sentence.replace(",", "").replace(":", "").split()}


def test_there_are_24_topics_in_6_genres_of_4() -> None:
    assert len(TOPICS) == 24
    assert np.bincount(GENRE_OF_TOPIC).tolist() == [4] * len(GENRES)
    assert len({topic.name for topic in TOPICS}) == 24


@pytest.mark.parametrize("topic", ALL_TOPICS)
def test_a_topic_can_be_spoken_of_in_over_a_hundred_thousand_sentences(topic: int) -> None:
    grammar = topic_grammar("speech", topic)
    assert sum(grammar.combinations) > 100_000
    sentences = grammar.sentences(3_000, np.random.default_rng(1)).to_pylist()
    assert len(set(sentences)) > 0.97 * len(sentences)


def test_topics_of_one_genre_share_more_words_than_topics_of_two() -> None:
    words = [vocabulary(topic) for topic in ALL_TOPICS]
    everywhere = set.intersection(*words)
    words = [own - everywhere for own in words]
    shared = np.array([[len(a & b) / len(a | b) for b in words] for a in words])
    same = GENRE_OF_TOPIC[:, None] == GENRE_OF_TOPIC
    different_topics = ~np.eye(len(TOPICS), dtype=bool)
    assert shared[same & different_topics].mean() > 2 * shared[~same].mean()


def test_what_a_host_says_rarely_comes_twice(archive: SimulationSummary) -> None:
    said = texts(archive, "speech")
    assert len(set(said)) > 0.9 * len(said)
    assert all(said)


def test_chat_has_slang_emotes_sixes_bots_and_other_languages(archive: SimulationSummary) -> None:
    chat = texts(archive, "comments")
    is_bot = np.array(texts(archive, "comments", "is_bot"))
    assert 0.001 < is_bot.mean() < 0.1
    for sign in ("666", "lol", ":Kappa:", "🔥", "加油", "vamos", "привет"):
        assert any(sign in text for text in chat), sign
    assert len(set(chat)) < 0.9 * len(chat)  # people do repeat each other


def test_titles_tell_only_a_part(archive: SimulationSummary) -> None:
    titles = texts(archive, "rooms", "title")
    vague = [title for title in titles if any(genre.name in title for genre in GENRES)]
    assert 0.2 < len(vague) / len(titles) < 0.7


def test_low_quality_streams_say_little_and_some_rooms_are_silent_for_minutes(archive: SimulationSummary) -> None:
    utterances: dict[tuple[int, int], int] = {}
    for path in archive.out.glob("dt=*/speech.parquet"):
        table = pq.ParquetFile(path).read(["room_id", "started_at"])
        starts = table.column("started_at").cast("int64").to_pylist()
        for room, start in zip(table.column("room_id").to_pylist(), starts, strict=True):
            utterances[room, start // 30_000] = utterances.get((room, start // 30_000), 0) + 1
    counts: dict[bool, list[int]] = {True: [], False: []}
    longest, current, previous = 0, 0, None
    for path in sorted(archive.out.glob("truth/segments/dt=*/part-0.parquet")):
        for row in pq.ParquetFile(path).read().to_pylist():
            said = utterances.get((row["room_id"], row["window"]), 0)
            counts[row["low_quality"]].append(said)
            current = 0 if said or row["room_id"] != previous else current + 1
            longest, previous = max(longest, current), row["room_id"]
    assert np.mean(counts[True]) < 0.6 * np.mean(counts[False])
    assert longest >= 6


def share_told(archive: SimulationSummary) -> float:
    """Of the utterances: how many share more words with their window's true topic than with any other."""
    words = [vocabulary(topic) for topic in ALL_TOPICS]
    everywhere = set.intersection(*words)
    topics = {
        (row["room_id"], row["window"]): row["topic"]
        for path in archive.out.glob("truth/segments/dt=*/part-0.parquet")
        for row in pq.ParquetFile(path).read(["room_id", "window", "topic"]).to_pylist()
    }
    told = []
    for path in archive.out.glob("dt=*/speech.parquet"):
        table = pq.ParquetFile(path).read(["room_id", "started_at", "text"])
        starts = table.column("started_at").cast("int64").to_pylist()
        for room, start, text in zip(table["room_id"].to_pylist(), starts, table["text"].to_pylist(), strict=True):
            said = set(text.replace(",", "").replace(":", "").split()) - everywhere
            shared = [len(said & one) for one in words]
            if max(shared):
                told.append(int(np.argmax(shared)) == topics[room, start // 30_000])
    return float(np.mean(told))


def test_off_topic_authors_are_talked_around_and_nothing_else_changes(archive: SimulationSummary, tmp_path: Path) -> None:
    config = replace(CLOSED, off_topic_share=1.0)
    talk_of_anything = simulate(config, tmp_path / "archive")
    assert share_told(archive) > 0.5
    assert share_told(talk_of_anything) < 0.15
    for path in archive.out.glob("truth/impressions/dt=*/part-0.parquet"):
        other = talk_of_anything.out / path.relative_to(archive.out)
        assert pq.ParquetFile(path).read().equals(pq.ParquetFile(other).read())


def test_a_share_of_authors_is_no_more_than_all() -> None:
    with pytest.raises(LiveAlignError, match=r"0 to 1, not 1\.5"):
        replace(SimulationConfig(), off_topic_share=1.5)
