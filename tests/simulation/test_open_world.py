"""The open world: what is new on a day, what is odd about the words, and what the truth says about both."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livealign.errors import LiveAlignError
from livealign.simulation.archive import SimulationSummary, simulate
from livealign.simulation.carriers import CARRIERS, DENIALS, SLOTS, carrier
from livealign.simulation.config import SimulationConfig
from livealign.simulation.grammar import GARBLED_WORD, garbled
from livealign.simulation.lexicon import STOP_WORDS, lexicon, member_table, words_of
from livealign.simulation.members import (
    FEW,
    FIRST_MEMBERS,
    NEVER,
    NEW_A_DAY,
    WORDINGS,
    Talk,
    choose_members,
    never_introduced,
)
from livealign.simulation.topics import TOPICS

# Of SimulationConfig.tiny() at commit 7638b82, the last before there was an open world; `contents` of its archive.
CLOSED_WORLD = "8477f2d8e3e7edb2c3a60ef6dc9a7ef2301f8d1948a3001e3c4c9202f9f8668c"
OPEN = replace(SimulationConfig.tiny(seed=5), days=4, broadcasts=84, new_words=0.5)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> SimulationSummary:
    return simulate(OPEN, tmp_path_factory.mktemp("open") / "archive")


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> SimulationSummary:
    return simulate(replace(OPEN, new_words=0.0), tmp_path_factory.mktemp("closed") / "archive")


def contents(folder: Path) -> str:
    """SHA-256 of all files: what tables hold but for floats, which differ between processors; else the bytes."""
    whole = sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            table = pq.ParquetFile(path).read()
            exact = [field.name for field in table.schema if "float" not in str(field.type) and "double" not in str(field.type)]
            whole.update(f"{path.relative_to(folder)}{table.schema}{table.select(exact).to_pydict()}".encode())
        elif path.is_file():
            whole.update(path.read_bytes())
    return whole.hexdigest()


def test_a_share_of_zero_is_the_closed_world_of_before(tmp_path: Path) -> None:
    closed = simulate(replace(SimulationConfig.tiny(), new_words=0.0), tmp_path / "archive")
    assert contents(closed.out) == CLOSED_WORLD
    assert "new_words" not in json.loads((closed.out / "simulator.json").read_text())["config"]


def test_words_change_nothing_but_words_and_who_of_the_audience_writes_them(
    archive: SimulationSummary, closed: SimulationSummary
) -> None:
    texts = {"speech": ["text", "ended_at"], "comments": ["text", "user_id"], "rooms": ["title"]}
    for path in sorted(closed.out.glob("**/dt=*/*.parquet")):
        one, other = (pq.ParquetFile(file).read() for file in (path, archive.out / path.relative_to(closed.out)))
        same = [name for name in one.column_names if name not in texts.get(path.stem, [])]
        assert one.select(same).equals(other.select(same)), path


def test_every_topic_has_sixty_members_and_no_word_has_two() -> None:
    members = [member for of_topic in lexicon().members for member in of_topic]
    assert min(len(of_topic) for of_topic in lexicon().members) >= 60
    assert len({member.casefold() for member in members}) == len(members)
    by_word = defaultdict(set)
    for member in members:
        for word in words_of(member):
            by_word[word].add(member)
    shared = {word: said for word, said in by_word.items() if len(said) > 1 and len(word) > 1}
    assert {word: said for word, said in shared.items() if word not in STOP_WORDS} == {}
    assert not set(lexicon().homonyms) & set(by_word)


def test_no_word_of_a_member_is_said_in_every_room() -> None:
    phrases = [phrase for of_slot in SLOTS.values() for phrase in of_slot] + [t for kind in CARRIERS.values() for t in kind]
    everywhere = {word for phrase in phrases for word in words_of(phrase)} - STOP_WORDS
    members = {word for of_topic in lexicon().members for member in of_topic for word in words_of(member) if len(word) > 1}
    assert not everywhere & members
    assert not everywhere & set(lexicon().homonyms)


def test_every_topic_has_a_homonym_of_another() -> None:
    assert {topic for topics in lexicon().homonyms.values() for topic in topics} == set(range(len(TOPICS)))
    assert all(first != second for first, second in lexicon().homonyms.values())


def test_a_denied_member_follows_a_word_that_no_other_sentence_has_there() -> None:
    for kind, templates in CARRIERS.items():
        slots = ("{member}", "{other}")
        marked = [template.replace(slot, "@", 1) for slot in slots for template in templates if slot in template]
        for template in marked + garbled(pa.array(marked, pa.string())).to_pylist():
            word = (template.partition("@")[0].split() or [""])[-1]
            # Bad sound leaves the same of "without" as of every long word.
            assert (word in DENIALS or word == GARBLED_WORD) if kind == "denial" else word not in DENIALS, template


def test_the_words_of_a_member_reveal_its_topic_and_those_of_two_topics_nothing() -> None:
    rows = member_table().to_pylist()
    topics: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        for word in row["words"]:
            topics[word].add(row["topic"])
    assert all(len(of_word) == 1 for of_word in topics.values())
    assert not set(topics) & {*lexicon().homonyms, *STOP_WORDS, "one", "time"}
    silent = [row["member"] for row in rows if not row["words"] and not row["homonym"]]
    assert silent == []
    assert topics["tommy"] == topics["tmmy"] == {0}  # as bad sound leaves it, too


def days_said(archive: SimulationSummary) -> Iterator[tuple[date, str, set[str]]]:
    """Each day with its truth file's day folder and the revealing words that were said or written on it."""
    revealing = {word for row in member_table().to_pylist() for word in row["words"]}
    for folder in sorted(archive.out.glob("dt=*")):
        columns = (("speech", "text"), ("comments", "text"), ("rooms", "title"))
        texts = [
            text for table, name in columns for text in pq.ParquetFile(folder / f"{table}.parquet").read()[name].to_pylist()
        ]
        yield date.fromisoformat(folder.name[3:]), folder.name, {w for text in texts for w in words_of(text)} & revealing


def test_new_broadcasts_say_what_no_day_before_said_and_the_others_what_was_said(archive: SimulationSummary) -> None:
    topic_of = {word: row["topic"] for row in member_table().to_pylist() for word in row["words"]}
    before: set[str] = set()
    seen = 0
    for _, name, of_day in days_said(archive):
        truth = pq.ParquetFile(archive.out / "truth" / "segments" / name / "part-0.parquet").read().to_pylist()
        windows = {(row["room_id"], row["window"]): row for row in truth}
        speech = pq.ParquetFile(archive.out / name / "speech.parquet").read(["room_id", "started_at", "text"])
        starts = speech["started_at"].cast("int64").to_numpy() // 30_000
        for room, window, text in zip(speech["room_id"].to_pylist(), starts.tolist(), speech["text"].to_pylist(), strict=True):
            row = windows[room, window]
            own = {word for word in words_of(text) if topic_of.get(word) == row["topic"]}
            # Words that bad sound left may be those of other members.
            if own and not row["low_quality"] and row["new_members"]:
                assert not own & before, text
                seen += bool(before)
        before |= of_day
    assert seen > 100


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_share_of_new_broadcasts_is_the_one_asked_for(share: float) -> None:
    config = replace(OPEN, new_words=share, days=12, broadcasts=None)
    introduced, rng = never_introduced(), np.random.default_rng(1)
    for number in range(12):
        talk = Talk(rng.integers(24, size=40), np.repeat(np.arange(40), 3), rng.integers(24, size=120))
        used = choose_members(config, number, talk, introduced)
        if number > 1:  # by then every topic was aired
            assert abs(used.is_new.all(axis=1).sum() - 40 * share) <= 1
            assert (used.is_new.any(axis=1) == used.is_new.all(axis=1)).all()
        room, topic = talk.room, talk.topic
        before = introduced[topic[:, None], used.members[room, topic]]
        assert ((before > NEVER).all(axis=1) | used.is_new[room, topic]).all()
        introduced = used.introduced


def test_all_broadcasts_with_new_members_share_the_few_that_a_day_brings() -> None:
    config = replace(OPEN, new_words=0.5)
    talk = Talk(np.full(300, 7), np.arange(300), np.full(300, 7))
    introduced = never_introduced()
    for number in range(3):
        used = choose_members(config, number, talk, introduced)
        members = used.members[:, 7]
        assert all(len(set(row)) == FEW for row in members.tolist())
        arrived = np.flatnonzero(used.introduced[7] == number)
        assert len(arrived) == (NEW_A_DAY if number else FIRST_MEMBERS)
        introduced = used.introduced


def test_a_topic_that_is_used_up_takes_the_members_again_that_came_longest_ago() -> None:
    config = replace(OPEN, new_words=1.0)
    talk = Talk(np.full(30, 7), np.arange(30), np.full(30, 7))
    introduced, last_said = never_introduced(), np.full(100, NEVER)
    first = None
    for number in range(60):
        used = choose_members(config, number, talk, introduced)
        if used.used_up and first is None:
            first = number
        said = np.unique(used.members[:, 7])
        again = said[last_said[said] > NEVER]
        if number > 0:
            assert (number - last_said[again] > 14).all()
        assert used.used_up == bool(len(again) and number > 0)
        last_said[said] = number
        introduced = used.introduced
    size = len(lexicon().members[7])
    assert first is not None
    assert abs(first - (size - FIRST_MEMBERS) / NEW_A_DAY) <= 1.5


def test_some_rooms_are_odd_and_the_truth_says_which(archive: SimulationSummary) -> None:
    members = member_table().to_pylist()
    topic_of = {word: row["topic"] for row in members for word in row["words"]}
    said: dict[str, list[str]] = {wording: [] for wording in WORDINGS}
    contradicts: dict[str, list[bool]] = {wording: [] for wording in WORDINGS}
    for folder in sorted(archive.out.glob("dt=*")):
        truth = pq.ParquetFile(archive.out / "truth" / "segments" / folder.name / "part-0.parquet").read().to_pylist()
        wording = {row["room_id"]: row["wording"] for row in truth}
        aired = defaultdict(set)
        for row in truth:
            aired[row["room_id"]].add(row["topic"])
        speech = pq.ParquetFile(folder / "speech.parquet").read(["room_id", "text"]).to_pylist()
        for row in speech:
            said[wording[row["room_id"]]].append(row["text"])
        for row in pq.ParquetFile(folder / "rooms.parquet").read(["room_id", "title"]).to_pylist():
            named = {topic_of[word] for word in words_of(row["title"]) if word in topic_of}
            contradicts[wording[row["room_id"]]].append(bool(named - aired[row["room_id"]]))
    assert all(len(titles) >= 0.05 * 84 for titles in contradicts.values())
    assert np.mean(contradicts["contradicting title"]) > 0.8 > 0.2 > np.mean(contradicts["plain"])

    def share(wording: str, has: set[str]) -> float:
        return float(np.mean([bool(has & set(words_of(text))) for text in said[wording]]))

    homonyms, denials = set(lexicon().homonyms), {"no", "not", "without"}
    assert share("homonym", homonyms) > 0.2
    assert share("plain", homonyms) == 0
    assert share("denial", denials) > share("plain", denials) + 0.2


def test_texts_are_as_long_as_in_a_closed_world(archive: SimulationSummary, closed: SimulationSummary) -> None:
    def characters(summary: SimulationSummary, table: str) -> float:
        files = sorted(summary.out.glob(f"dt=*/{table}.parquet"))
        return float(np.mean([len(text) for file in files for text in pq.ParquetFile(file).read()["text"].to_pylist()]))

    for table in ("speech", "comments"):
        assert 0.8 < characters(archive, table) / characters(closed, table) <= 1.0
        assert archive.rows[table] == closed.rows[table]


def test_a_sentence_has_the_member_that_it_was_given() -> None:
    given = {"member": pa.array(["Sicilian", "udon"] * 50), "other": pa.array(["x", "y"] * 50)}
    for sentence, member in zip(
        carrier("chat").sentences(100, np.random.default_rng(0), given).to_pylist(), ["Sicilian", "udon"] * 50, strict=True
    ):
        assert member in sentence


def test_a_share_of_broadcasts_is_no_more_than_all() -> None:
    with pytest.raises(LiveAlignError, match=r"0 to 1, not -0\.1"):
        replace(SimulationConfig(), new_words=-0.1)
