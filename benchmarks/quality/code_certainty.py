"""How often a code's main topic is the true one, by the certainty of the code.

make retrain && .venv/bin/python -m benchmarks.quality.code_certainty [--day 2025-06-09]

Simulated platforms only. A code's main topic is the most frequent one among its segments of the training days; measured are
the segments of the held-out day. The levels are those of the live wall (`words.js`): unsure up to 0.2, clear from 0.5 on.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from benchmarks.json_rows import JsonRows
from benchmarks.quality.retrained import Retrained, add_options
from livealign.codes.certainty import code_certainty
from livealign.codes.codebook import Codebook
from livealign.dataset.corpus import load_corpus
from livealign.errors import LiveAlignError
from livealign.evaluation.day_truth import read_day_truth
from livealign.release.bundle import CODEBOOK
from livealign.retrain.artifacts import DayArtifacts, read_codes, read_vectors

EDGES = {"unsure": (0.0, 0.2), "likely": (0.2, 0.5), "clear": (0.5, 1.01)}


def main() -> None:
    """Print and record a row for each word of the wall."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_options(parser)
    arguments = parser.parse_args()
    home, profile, day = Retrained.of(arguments)
    out = JsonRows(arguments.json, profile.seed)
    corpus, artifacts = load_corpus(home.marts, day, profile.dataset), DayArtifacts.of(home, day)
    truth = read_day_truth(home.archive, corpus)
    if truth is None:
        raise LiveAlignError(f"{home.archive} has no truth: only a simulated platform can be asked")
    segments = np.arange(1, len(corpus.segment_ids))  # row 0 is no segment
    codes, vectors = read_codes(artifacts)[segments], read_vectors(artifacts)[segments]
    codebook = Codebook.load(artifacts.codes / CODEBOOK)
    certainty = code_certainty(codebook, vectors, codes)[:, 0]
    train = corpus.segment_is_train[segments]
    main_topic = main_topics(codes[train, 0], truth.topics[train], codebook.codes_per_level)
    right = main_topic[codes[~train, 0]] == truth.topics[~train]
    print(f"{(~train).sum():,} segments of {day}\n{'certainty':<10}{'segments':>10}{'main topic is right':>22}")
    for word, (low, high) in EDGES.items():
        rows = (certainty[~train] >= low) & (certainty[~train] < high)
        share = float(right[rows].mean()) if rows.any() else float("nan")
        print(f"{word:<10}{rows.mean():>10.1%}{share:>22.1%}")
        out.add(f"{word}: segments", float(rows.mean()), "share")
        out.add(f"{word}: the main topic is right", share, "share")
    out.write()


def main_topics(codes: NDArray[np.integer], topics: NDArray[np.integer], size: int) -> NDArray[np.int64]:
    """The most frequent topic [size] of each first code; -1 for a code that no segment has."""
    counts = np.zeros((size, int(topics.max()) + 1), dtype=np.int64)
    np.add.at(counts, (codes, topics), 1)
    return np.where(counts.any(1), counts.argmax(1), -1)


if __name__ == "__main__":
    main()
