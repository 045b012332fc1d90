"""Members of the topics: real names that pretrained models know, and homonyms of two topics.

`lexicon.txt` beside this module holds them. No word but STOP_WORDS belongs to two members, and none to the vocabulary of every
room, so the words of a member that was said say nothing about another member.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import pyarrow as pa

from livealign.simulation.carriers import common_phrases
from livealign.simulation.grammar import garbled
from livealign.simulation.topics import TOPICS

STOP_WORDS = frozenset(
    ("a", "al", "and", "back", "de", "el", "in", "la", "of", "on", "one", "the", "to", "too", "under", "up", "with")
)
SHORTEST_WORD = 2  # letters of a word that reveals a topic
_HOMONYMS = "homonyms"


@dataclass(frozen=True)
class Lexicon:
    """`members` by topic in the order of `TOPICS`; `homonyms` with the two topics of each."""

    members: Sequence[Sequence[str]]
    homonyms: Mapping[str, tuple[int, int]]


@cache
def lexicon() -> Lexicon:
    """The lexicon as `lexicon.txt` has it."""
    sections: dict[str, list[str]] = {}
    for line in resources.files("livealign.simulation").joinpath("lexicon.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            lines = sections[line.strip("[]")] = []
        elif line and not line.startswith("#"):
            lines.append(line)
    number = {topic.name: index for index, topic in enumerate(TOPICS)}
    homonyms = {}
    for line in sections.pop(_HOMONYMS):
        word, _, topics = line.partition(": ")
        first, second = (number[name] for name in topics.split(", "))
        homonyms[word] = (first, second)
    return Lexicon([tuple("|".join(sections[topic.name]).split("|")) for topic in TOPICS], homonyms)


def words_of(text: str) -> list[str]:
    """The words of a text, case-folded."""
    return re.findall(r"\w+", text.casefold())


def member_table() -> pa.Table:
    """Members and homonyms with their topics, a row for each pair.

    `words` [list of strings]: what reveals the topic wherever it is read, as it is written and as bad sound leaves it. Stop
    words, numbers, homonyms and what two topics share reveal nothing.
    """
    rows = [(member, topic) for topic, members in enumerate(lexicon().members) for member in members]
    shared = [(word, topic) for word, topics in lexicon().homonyms.items() for topic in topics]
    common = {word for phrase in common_phrases() for word in words_of(phrase)}.union(STOP_WORDS, lexicon().homonyms)
    written = [_words(member) for member, _ in rows]
    all_written = set().union(*written)
    remains = [_words(broken) for broken in garbled(pa.array([member for member, _ in rows])).to_pylist()]
    revealing = [(own | (left - all_written)) - common for own, left in zip(written, remains, strict=True)]
    pairs = {(word, topic) for words, (_, topic) in zip(revealing, rows, strict=True) for word in words}
    topics = Counter(word for word, _ in pairs)
    return pa.table(
        {
            "member": [name for name, _ in rows + shared],
            "topic": pa.array([topic for _, topic in rows + shared], pa.int32()),
            "homonym": [False] * len(rows) + [True] * len(shared),
            "words": pa.array(
                [sorted(word for word in words if topics[word] == 1) for words in revealing] + [[]] * len(shared),
                pa.list_(pa.string()),
            ),
        }
    )


def _words(text: str) -> set[str]:
    """The words of a member that could reveal it; numbers are said of everything."""
    return {word for word in words_of(text) if len(word) >= SHORTEST_WORD and not word.isdigit()}
