"""The share of reasons that name a word of the room's true topic, by matched level.

make retrain && .venv/bin/python -m benchmarks.quality.reasons [--day 2025-06-09]

Simulated platforms only. For held-out impressions whose user has entered the room's code path, the name in the reason is that
of the deepest named level that the history shares (`livealign.live.reasons`). A word is of the topic whose segments say it
most. A reason is true if at least one word of its name is of the room's topic when it was shown.
"""

import argparse
from collections import defaultdict

import numpy as np

from benchmarks.json_rows import JsonRows
from benchmarks.quality.code_names import read_segments
from benchmarks.quality.retrained import Retrained, add_options
from livealign.codes.names import path_names
from livealign.codes.words import words_of
from livealign.dataset.corpus import load_corpus
from livealign.errors import LiveAlignError
from livealign.evaluation.day_truth import read_day_truth
from livealign.files import read_json
from livealign.live.reasons import named_level
from livealign.release.bundle import CODE_NAMES
from livealign.retrain.artifacts import DayArtifacts, read_codes


def main() -> None:
    """Print and record a row for each level, and one for all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_options(parser)
    parser.add_argument("--impressions", type=int, default=20_000, help="drawn at random (default: %(default)s)")
    arguments = parser.parse_args()
    home, profile, day = retrained = Retrained.of(arguments)
    corpus, artifacts = load_corpus(home.marts, day, profile.dataset), DayArtifacts.of(home, day)
    truth, said = read_day_truth(home.archive, corpus), read_segments(retrained)
    if truth is None or said.topics is None:
        raise LiveAlignError(f"{home.archive} has no truth: only a simulated platform can be asked")
    words, contains = words_of(said.texts)
    said_in = np.stack([np.asarray(contains[said.topics == topic].mean(0)).reshape(-1) for topic in np.unique(said.topics)])
    topic_of = dict(zip(words.tolist(), np.unique(said.topics)[said_in.argmax(0)].tolist(), strict=True))
    names, codes, test = read_json(artifacts.codes / CODE_NAMES), read_codes(artifacts), corpus.test
    rng, topics = np.random.default_rng(profile.seed), np.append(-1, truth.topics)
    shown = rng.permutation(np.flatnonzero(test.segment > 0))[: arguments.impressions]
    found = defaultdict[int, list[bool]](list)
    for row in shown.tolist():
        path, length = codes[test.item[row]].tolist(), int(test.history_length[row])
        entries = test.engaged.segment[test.history[row, :length]], test.engaged.item[test.history[row, :length]]
        entered = np.where(entries[0][:, None] > 0, codes[entries[1]].astype(np.int64), -1)
        of_path = path_names(tuple(path), names)
        level = named_level(path, of_path, entered)
        if level is not None:
            true = topics[test.segment[row]]
            found[level].append(any(topic_of.get(word) == true for word in of_path[level].split(", ")))
    out = JsonRows(arguments.json, profile.seed)
    print(f"{len(shown):,} impressions, {sum(map(len, found.values())):,} with a reason that names a code")
    everything = [true for level in found.values() for true in level]
    for name, trues in (*((f"level {level + 1}", found[level]) for level in sorted(found)), ("all", everything)):
        share = float(np.mean(trues)) if trues else None
        print(f"{name:<10}{len(trues):>8}" + ("" if share is None else f"{share:>8.3f}"))
        out.add(f"{name}: name a word of the true topic", share, "share")
    out.write()


if __name__ == "__main__":
    main()
