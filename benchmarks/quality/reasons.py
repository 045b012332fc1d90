"""The share of reasons that name a word of the room's true topic, by matched level.

make retrain && .venv/bin/python -m benchmarks.quality.reasons [--day 2025-06-09]

Simulated platforms only. For held-out impressions whose user has entered the room's code path, the name in the reason is that
of the deepest named level that the history shares (`livealign.live.reasons`), if the room's first code is clear. Beside it
stand the names that would be said without this condition. A word is of the topic whose segments say it most. A reason is true
if at least one word of its name is of the room's topic when it was shown.
"""

import argparse
from collections import defaultdict

import numpy as np

from benchmarks.json_rows import JsonRows
from benchmarks.quality.code_names import read_segments
from benchmarks.quality.retrained import Retrained, add_options
from livealign.codes.certainty import code_certainty
from livealign.codes.codebook import Codebook
from livealign.codes.names import path_names
from livealign.codes.words import words_of
from livealign.dataset.corpus import load_corpus
from livealign.errors import LiveAlignError
from livealign.evaluation.day_truth import read_day_truth
from livealign.files import read_json
from livealign.live.reasons import named_level, sure_names
from livealign.release.bundle import CODE_NAMES, CODEBOOK
from livealign.retrain.artifacts import DayArtifacts, read_codes, read_vectors


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
    items = test.item[shown]
    certainty = code_certainty(Codebook.load(artifacts.codes / CODEBOOK), read_vectors(artifacts)[items], codes[items])[:, 0]
    found = defaultdict[str, list[bool]](list)
    for row, sure in zip(shown.tolist(), certainty.tolist(), strict=True):
        path, length = codes[test.item[row]].tolist(), int(test.history_length[row])
        entries = test.engaged.segment[test.history[row, :length]], test.engaged.item[test.history[row, :length]]
        entered = np.where(entries[0][:, None] > 0, codes[entries[1]].astype(np.int64), -1)
        every = path_names(tuple(path), names)
        for kind, of_path in (("", sure_names(every, sure)), ("also of unclear codes, ", every)):
            level = named_level(path, of_path, entered)
            if level is not None:
                true = any(topic_of.get(word) == topics[test.segment[row]] for word in of_path[level].split(", "))
                found[f"{kind}level {level + 1}"].append(true)
                found[f"{kind}all"].append(true)
    out = JsonRows(arguments.json, profile.seed)
    print(f"{len(shown):,} impressions, {len(found['all']):,} with a reason that names a code")
    for name, trues in sorted(found.items(), key=lambda item: (item[0].startswith("also"), item[0])):
        share = float(np.mean(trues))
        print(f"{name:<32}{len(trues):>8}{share:>8.3f}")
        out.add(f"{name}: name a word of the true topic", share, "share")
    out.write()


if __name__ == "__main__":
    main()
