"""Variants over several held-out days, for a platform with few impressions a day.

make retrain PLATFORM=twitch … && .venv/bin/python -m benchmarks.quality.last_days --platform twitch --held-out 14

AUC and UAUC of all days together. Each of the last days is held out in turn, with the history before it. The vectors are those
of the last retrain, whose adapter was tuned on days that include some of the held-out ones: the text is known to it, the clicks
are not. A segment that the last retrain did not embed has no content; the number of impressions with content is printed.
"""

import argparse
from datetime import timedelta

import numpy as np

from benchmarks.json_rows import JsonRows
from benchmarks.quality.retrained import Retrained, add_options
from livealign.dataset.corpus import TUNED
from livealign.evaluation.frame import CLICK
from livealign.llm.backbone import choose_device, use_physical_cores
from livealign.metrics import auc, uauc, user_auc
from livealign.ranking.variants import VARIANTS, train_variant

DEFAULT = ("id_only", "aligned_codes", "shuffled", "aligned", "no_gate")


def main() -> None:
    """Print and record a row for each variant."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--held-out", type=int, default=14, help="days (default: %(default)s)")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=DEFAULT)
    add_options(parser)
    arguments = parser.parse_args()
    use_physical_cores()
    retrained = Retrained.of(arguments)
    profile, out = retrained.profile, JsonRows(arguments.json, retrained.profile.seed)
    scores: dict[str, list[np.ndarray]] = {name: [] for name in arguments.variants}
    labels, users, let_in, with_content = [], [], [], []
    for back in range(arguments.held_out - 1, -1, -1):
        corpus = retrained.corpus(day=retrained.day - timedelta(days=back))
        labels.append(corpus.test.label("click"))
        users.append(corpus.test.user_id)
        with_content.append((corpus.content[TUNED][corpus.test.segment] != 0).any(1))
        for name in arguments.variants:
            trained = train_variant(name, corpus, profile, device=choose_device())
            scores[name].append(trained.score(corpus.test)[:, CLICK])
            if name == "aligned_codes" and trained.alignment is not None:
                let_in.append(trained.alignment.gate_mode != "id")
        print(f"{corpus.day} done, {len(labels[-1]):,} impressions", flush=True)
    label, user = np.concatenate(labels), np.concatenate(users)
    known = np.concatenate(with_content).mean()
    print(
        f"{len(label):,} impressions, {known:.3f} of them with content; content let in on {sum(let_in)} of {len(let_in)} days"
    )
    out.add("impressions", len(label), "impressions")
    out.add("impressions with content", known, "share")
    out.add("days on which content was let in", sum(let_in), "days")
    print(f"{'variant':<16}{'AUC':>8}{'UAUC':>8}")
    for name, by_day in scores.items():
        score = np.concatenate(by_day)
        of_all, of_users = auc(score, label), uauc(user_auc(score, label, user))
        print(f"{name:<16}{of_all:>8.4f}{of_users:>8.4f}")
        out.add(f"{name}: AUC", of_all, "AUC")
        out.add(f"{name}: UAUC", of_users, "UAUC")
    out.write()


if __name__ == "__main__":
    main()
