"""Variants over several held-out days, for a platform with few impressions a day.

make retrain PLATFORM=twitch … && .venv/bin/python -m benchmarks.quality.last_days --platform twitch --held-out 14 --seeds 3 \
    --variants id_only shuffled tfidf llm_codes llm_lexical_codes

Each of the last days is held out in turn, with the history before it. Prints AUC within days, GAUC within users and days, and
GAUC within users and channels: of a user's impressions of one channel on all days, where the author's ID says nothing. Each day
has models of its own, which expect its clicks to be as many as before; so scores of several days are compared as log odds above
their day's mean. After each GAUC follow its differences from the variants before it, and the p-value of a permutation test
against `shuffled`, both by group.

The vectors are those of the last retrain, whose adapter was tuned on days that include some of the held-out ones: the text is
known to it, the clicks are not. A segment that the last retrain did not embed has no content; the share of impressions with
content is printed. TF-IDF is fitted to the training days of each held-out day.
"""

import argparse
from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from benchmarks.json_rows import BOOTSTRAP, JsonRows
from benchmarks.quality.controls import CONTROLS, with_controls
from benchmarks.quality.retrained import Retrained, add_options
from livealign.dataset.corpus import TUNED
from livealign.evaluation.frame import CLICK
from livealign.llm.backbone import choose_device, use_physical_cores
from livealign.llm.texts import texts_of
from livealign.metrics import gauc, paired_bootstrap, permutation_test, user_auc
from livealign.ranking.variants import VARIANTS, train_variant

DEFAULT = ("id_only", "aligned_codes", "shuffled", "aligned", "no_gate")
RESAMPLED = 2_000


def main() -> None:
    """Print and record a row for each variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held-out", type=int, default=14, help="days (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="of towers, codes and ranker (default: %(default)s)")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=DEFAULT)
    add_options(parser)
    arguments = parser.parse_args()
    use_physical_cores()
    retrained = Retrained.of(arguments)
    profile, out = retrained.profile, JsonRows(arguments.json, retrained.profile.seed)
    controls = [name for name in CONTROLS if name in arguments.variants]
    scores: dict[str, list[NDArray]] = {name: [] for name in arguments.variants}  # by day: [seeds, impressions]
    labels, users, authors, dates, let_in, with_content = [], [], [], [], [], []
    by_minilm: dict[str, NDArray[np.float32]] = {}
    for back in range(arguments.held_out - 1, -1, -1):
        corpus = retrained.corpus(day=retrained.day - timedelta(days=back))
        if controls:
            days = [*corpus.train_days, corpus.day]
            texts = texts_of(retrained.home.marts, corpus.segment_ids[1:], days, profile.segments)
            corpus = with_controls(corpus, texts, controls, encoded=by_minilm)
        labels.append(corpus.test.label("click"))
        users.append(corpus.test.user_id)
        authors.append(corpus.segment_author_id[corpus.test.segment])
        dates.append(np.full(len(corpus.test.user_id), back))
        with_content.append((corpus.content[TUNED][corpus.test.segment] != 0).any(1))
        for name in arguments.variants:
            of_seeds = []
            for seed in range(profile.seed, profile.seed + arguments.seeds):
                trained = train_variant(name, corpus, profile, seed, device=choose_device())
                of_seeds.append(above_mean(trained.score(corpus.test)[:, CLICK]))
                if name == "aligned_codes" and trained.alignment is not None:
                    let_in.append(trained.alignment.gate_mode != "id")
            scores[name].append(np.stack(of_seeds))
        print(f"{corpus.day} done, {len(labels[-1]):,} impressions", flush=True)
    label, user, author, date = (np.concatenate(parts) for parts in (labels, users, authors, dates))
    known = np.concatenate(with_content).mean()
    print(
        f"{len(label):,} impressions, {known:.3f} of them with content; content let in by {sum(let_in)} of {len(let_in)} towers"
    )
    out.add("impressions", len(label), "impressions")
    out.add("impressions with content", known, "share")
    out.add("towers of aligned_codes that let content in", sum(let_in), "towers")
    table = {name: np.concatenate(by_day, axis=1) for name, by_day in scores.items()}
    for name, of_seeds in table.items():
        value = float(np.mean([gauc(user_auc(score, label, date)) for score in of_seeds]))
        print(f"{name} AUC within days {value:.4f}")
        out.add(f"{name}: AUC within days", value, "AUC")
    for what, groups in {"days": date, "channels": author}.items():
        _, group = np.unique(np.stack([user, groups]), axis=1, return_inverse=True)
        show(f"within users and {what}", table, label, group, out)
    out.write()


def above_mean(probability: NDArray) -> NDArray:
    """The log odds of a day's clicks above their mean [n]."""
    p = probability.astype(np.float64).clip(1e-9, 1 - 1e-9)
    logit = np.log(p) - np.log1p(-p)
    return logit - logit.mean()


def show(what: str, table: Mapping[str, Sequence[NDArray] | NDArray], label: NDArray, group: NDArray, out: JsonRows) -> None:
    """Print and record GAUC within groups, mean over seeds.

    Each variant's differences from those before it come with it, paired over groups.
    """
    found = {name: [user_auc(score, label, group) for score in of_seeds] for name, of_seeds in table.items()}
    impressions = next(iter(found.values()))[0].impressions
    mean = {name: np.mean([each.auc for each in every], axis=0) for name, every in found.items()}
    judged = next(iter(mean.values()))
    print(f"\n{what}: {np.isfinite(judged).sum():,} groups with both classes")
    out.add(f"{what}: groups", int(np.isfinite(judged).sum()), "groups")
    for place, (name, of_group) in enumerate(mean.items()):
        value = float(np.mean([gauc(each) for each in found[name]]))
        print(f"{name:<20}{value:.4f}")
        out.add(f"{what}: {name}", value, "GAUC")
        for other in list(mean)[:place]:
            gain = paired_bootstrap(of_group, mean[other], impressions, RESAMPLED, out.seed or 0)
            line = f"    over {other:<20}{gain.difference:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
            if other == "shuffled":
                p = permutation_test(of_group, mean[other], impressions, RESAMPLED, out.seed or 0)
                line += f"  p {p:.4f}"
                out.add(f"{what}: {name} over {other}, p", p, "p")
            print(line)
            out.add(f"{what}: {name} over {other}", gain.difference, "GAUC", (gain.low, gain.high), BOOTSTRAP)


if __name__ == "__main__":
    main()
