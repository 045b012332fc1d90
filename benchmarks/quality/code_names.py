"""The names of a retrain's codes: how many, of which topic, and held in other rooms.

make retrain && .venv/bin/python -m benchmarks.quality.code_names [--day 2025-06-09] [--names code_names.json] [--show]

- in the majority topic (simulated platforms): the topic whose segments say the words of the name most is the most frequent one
  of the code;
- words that hold: named by half of the rooms, the share of words that the path's segments in the other half say more often
  than 1.5 times as often as its siblings' there;
- repeats: names with a word that contains a word of a name above, or is contained in it.

`--names` measures the names of a file instead of naming the codes anew.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from benchmarks.json_rows import JsonRows
from benchmarks.quality.retrained import Retrained, add_options
from livealign.codes.names import SegmentsOf, name_codes
from livealign.codes.segment_codes import CodedSegments
from livealign.codes.words import words_of
from livealign.dataset.corpus import load_corpus
from livealign.evaluation.day_truth import read_day_truth
from livealign.files import read_json
from livealign.llm.texts import texts_of
from livealign.release.bundle import CODED_SEGMENTS
from livealign.retrain.artifacts import DayArtifacts

HOLDS = 1.5  # times as often as the siblings
Codes = NDArray[np.integer]


class Said(NamedTuple):
    """n coded segments."""

    codes: Codes  # [n, levels]
    texts: list[str]  # [n]
    origin: SegmentsOf
    topics: NDArray[np.int64] | None  # [n] true ones

    def of(self, rows: NDArray[np.bool_]) -> "Said":
        """These segments alone."""
        texts = [text for text, kept in zip(self.texts, rows, strict=True) if kept]
        topics = None if self.topics is None else self.topics[rows]
        return Said(self.codes[rows], texts, SegmentsOf(*(ids[rows] for ids in self.origin)), topics)

    def names(self) -> dict[str, str]:
        """The names of the codes."""
        return name_codes(self.codes, self.texts, self.origin)


def main() -> None:
    """Print and record a row for each level and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_options(parser)
    parser.add_argument("--names", type=Path, help="a code_names.json; default: named anew")
    parser.add_argument("--show", action="store_true", help="print every name")
    arguments = parser.parse_args()
    retrained = Retrained.of(arguments)
    out = JsonRows(arguments.json, retrained.profile.seed)
    said = read_segments(retrained)
    names = said.names() if arguments.names is None else read_json(arguments.names)
    words, contains = words_of(said.texts)
    column = {word: place for place, word in enumerate(words.tolist())}
    halves = [] if arguments.names else [held(said, seed) for seed in range(2)]
    print(f"{len(said.texts):,} segments")
    print(f"{'level':<7}{'named':>7}{'segments':>10}{'in topic':>10}{'repeats':>9}{'words hold':>12}{'of':>5}")
    for level in range(1, said.codes.shape[1] + 1):
        mine = {path: name for path, name in names.items() if path.count("-") == level - 1}
        named = sum(int(in_path(said.codes, path).sum()) for path in mine) / len(said.texts)
        in_topic = (
            None if said.topics is None else [of_topic(said, path, name, column, contains) for path, name in mine.items()]
        )
        hold = [found for half in halves for found in half.get(level, [])]
        measures = {
            "paths with a name": (len(mine), "paths"),
            "segments of a named path": (named, "share"),
            "names in their majority topic": (float(np.mean(in_topic)) if in_topic else None, "share"),
            "names that repeat one above": (sum(repeats(path, names) for path in mine), "names"),
            "words that hold in other rooms": (float(np.mean(hold)) if hold else None, "share"),
            "words compared": (len(hold), "words"),
        }
        shown = [
            "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
            for value, _ in measures.values()
        ]
        print(f"{level:<7}{shown[0]:>7}{shown[1]:>10}{shown[2]:>10}{shown[3]:>9}{shown[4]:>12}{shown[5]:>5}")
        for measure, (value, unit) in measures.items():
            if value is not None:
                out.add(f"level {level}: {measure}", value, unit)
    for path, name in names.items() if arguments.show else ():
        print(f"{path:<10}{name}")
    out.write()


def read_segments(retrained: Retrained) -> Said:
    """The segments that the retrain coded."""
    home, profile, day = retrained
    corpus = load_corpus(home.marts, day, profile.dataset)
    codes = CodedSegments.load(DayArtifacts.of(home, day).codes / CODED_SEGMENTS).codes_of(corpus.segment_ids[1:])
    texts = texts_of(home.marts, corpus.segment_ids[1:], [*corpus.train_days, day], profile.segments)
    origin = SegmentsOf(corpus.segment_room_id[1:], corpus.segment_author_id[1:], corpus.segment_started_at[1:])
    truth = read_day_truth(home.archive, corpus)
    return Said(codes, texts, origin, None if truth is None else truth.topics).of(codes[:, 0] >= 0)


def in_path(codes: Codes, path: str) -> NDArray[np.bool_]:
    """[n] which segments have the path."""
    numbers = [int(code) for code in path.split("-")]
    return np.asarray((codes[:, : len(numbers)] == numbers).all(1))


def of_topic(said: Said, path: str, name: str, column: Mapping[str, int], contains: csr_matrix) -> bool:
    """Whether the topic that says the words of a name most is the path's most frequent one."""
    assert said.topics is not None
    places = [column[word] for word in name.split(", ") if word in column]
    if not places:
        return False
    counts = np.bincount(said.topics)
    times = np.bincount(said.topics, np.asarray(contains[:, places].sum(1)).reshape(-1))
    most = np.bincount(said.topics[in_path(said.codes, path)]).argmax()
    return bool((times / np.maximum(counts, 1)).argmax() == most)


def repeats(path: str, names: Mapping[str, str]) -> bool:
    """Whether a word of the path's name contains one of a name above it, or is contained in one."""
    codes = path.split("-")
    above = [word for depth in range(1, len(codes)) for word in names.get("-".join(codes[:depth]), "").split(", ") if word]
    return any(word in other or other in word for word in names[path].split(", ") for other in above)


def held(said: Said, seed: int) -> dict[int, list[bool]]:
    """By level, whether each word of names from half of the rooms holds in the other half."""
    rooms = np.unique(said.origin.rooms)
    half = np.random.default_rng(seed).permutation(len(rooms))[: len(rooms) // 2]
    first = np.isin(said.origin.rooms, rooms[half])
    other, found = said.of(~first), dict[int, list[bool]]()
    words, contains = words_of(other.texts)
    for path, name in said.of(first).names().items():
        parent, _, _ = path.rpartition("-")
        family = in_path(other.codes, parent) if parent else np.ones(len(other.texts), dtype=np.bool_)
        here = in_path(other.codes, path)
        if here.any() and (family & ~here).any():
            found.setdefault(path.count("-") + 1, []).extend(_holds(name, words, contains, here, family & ~here))
    return found


def _holds(
    name: str, words: NDArray[np.str_], contains: csr_matrix, here: NDArray[np.bool_], there: NDArray[np.bool_]
) -> Iterator[bool]:
    for word in name.split(", "):
        column = contains[:, np.flatnonzero(words == word)]
        yield column.shape[1] > 0 and bool(column[here].mean() > HOLDS * column[there].mean())


if __name__ == "__main__":
    main()
