"""The use of a retrain's codes, and their information about the true topic, by level.

make retrain && .venv/bin/python -m benchmarks.quality.code_topics [--day 2025-06-09]

Simulated platforms only. NMI: normalised mutual information of a level's codes and the true topics of the segments that the
release coded.
"""

import argparse

from sklearn.metrics import normalized_mutual_info_score

from benchmarks.json_rows import JsonRows
from benchmarks.quality.retrained import Retrained, add_options
from livealign.codes.segment_codes import CodedSegments
from livealign.dataset.corpus import load_corpus
from livealign.errors import LiveAlignError
from livealign.evaluation.day_truth import read_day_truth
from livealign.files import read_json
from livealign.release.bundle import CODED_SEGMENTS
from livealign.retrain.artifacts import DayArtifacts


def main() -> None:
    """Print and record a row for each level."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_options(parser)
    arguments = parser.parse_args()
    home, profile, day = retrained = Retrained.of(arguments)
    out = JsonRows(arguments.json, profile.seed)
    corpus, folder = load_corpus(home.marts, day, profile.dataset), DayArtifacts.of(retrained.home, day).codes
    truth = read_day_truth(home.archive, corpus)
    if truth is None:
        raise LiveAlignError(f"{home.archive} has no truth: only a simulated platform can be asked")
    codes = CodedSegments.load(folder / CODED_SEGMENTS).codes_of(corpus.segment_ids[1:])
    coded = codes[:, 0] >= 0
    print(f"{coded.sum():,} segments\n{'level':<8}{'dead':>6}{'entropy ratio':>15}{'NMI':>8}")
    for level, health in enumerate(read_json(folder / "health.json")["levels"]):
        nmi = normalized_mutual_info_score(truth.topics[coded], codes[coded, level])
        print(f"{level + 1:<8}{health['dead']:>6}{health['entropy_ratio']:>15.3f}{nmi:>8.3f}")
        out.add(f"level {level + 1}: dead codes", health["dead"], "codes")
        out.add(f"level {level + 1}: entropy ratio", health["entropy_ratio"], "ratio")
        out.add(f"level {level + 1}: with the true topics", nmi, "NMI")
    out.write()


if __name__ == "__main__":
    main()
