"""GAUC where the LLM reads a share of each day's windows, against reading all.

make retrain && .venv/bin/python -m benchmarks.quality.reading_budget --shares 0.5 0.2 0.1 --seeds 3

On the held-out day of the last retrain. A share is of the windows of the busiest day; each day's most shown windows are read
(`livealign.retrain.reading_budget`), with the vectors of that retrain. Intervals are over users, of the mean over the seeds.
The content check is left out, so that content is always used; `--content llm` leaves counted words out.
"""

import argparse
from dataclasses import replace

import numpy as np

from benchmarks.json_rows import BOOTSTRAP, JsonRows
from benchmarks.quality.retrained import Retrained, add_options
from livealign.dataset.corpus import RAW, TUNED, Corpus
from livealign.days import DAY_MS
from livealign.evaluation.frame import CLICK
from livealign.llm.backbone import choose_device, use_physical_cores
from livealign.metrics import UserAuc, gauc, paired_bootstrap, user_auc
from livealign.profiles import Profile
from livealign.ranking.variants import train_variant
from livealign.retrain.reading_budget import ReadingBudget, reading_budget

SOURCES = {"llm": "llm_codes", "both": "aligned_codes"}


def main() -> None:
    """Print and record a row for each share."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5, 0.2, 0.1])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--content", choices=SOURCES, default="both", help="the LLM beside counted words, or alone")
    add_options(parser)
    arguments = parser.parse_args()
    use_physical_cores()
    retrained = Retrained.of(arguments)
    profile = replace(retrained.profile, alignment=replace(retrained.profile.alignment, check=False))
    whole, out = retrained.corpus(profile), JsonRows(arguments.json, profile.seed)
    days = [*whole.train_days, whole.day]
    ids = np.load(retrained.embeddings / "segment_ids.npy", allow_pickle=False)
    busiest = int(np.unique(whole.segment_started_at[1:] // DAY_MS, return_counts=True)[1].max())
    all_windows = reading_budget(retrained.home.marts, days, ids, 0)
    budgets = {1.0: all_windows} | {
        share: reading_budget(retrained.home.marts, days, ids, max(1, round(share * busiest))) for share in arguments.shares
    }
    print("  share   windows read  impressions with a read window  with a vector    GAUC  against all, 95 %")
    aucs: dict[float, UserAuc] = {}
    for share, budget in budgets.items():
        corpus = whole if budget is all_windows else budgeted(whole, retrained, ids, budget)
        aucs[share] = mean_auc(SOURCES[arguments.content], corpus, profile, arguments.seeds)
        of_all = paired_bootstrap(aucs[share].auc, aucs[1.0].auc, aucs[share].impressions, 2_000, profile.seed)
        score = gauc(aucs[share])
        print(
            f"{share:7.2f} {len(budget.read):14,} {budget.read_share:31.3f} {budget.covered_share:14.3f} {score:7.4f}"
            f"  {of_all.difference:+.4f} [{of_all.low:+.4f}, {of_all.high:+.4f}]",
            flush=True,
        )
        out.add(f"share {share}: windows read", len(budget.read), "windows")
        out.add(f"share {share}: impressions with a read window", budget.read_share, "share")
        out.add(f"share {share}: GAUC", score, "GAUC")
        out.add(f"share {share}: GAUC over all", of_all.difference, "GAUC", (of_all.low, of_all.high), BOOTSTRAP)
    out.write()


def budgeted(corpus: Corpus, retrained: Retrained, ids: np.ndarray, budget: ReadingBudget) -> Corpus:
    """The corpus with the vectors that the retrain would have had within the budget."""
    for name in (RAW, TUNED):
        vectors = np.load(retrained.embeddings / f"{name}.npy", allow_pickle=False)
        corpus = corpus.with_content(name, ids, budget.for_all(vectors[budget.read]))
    return corpus


def mean_auc(variant: str, corpus: Corpus, profile: Profile, seeds: int) -> UserAuc:
    """The AUC of each user, its mean over the seeds."""
    by_seed = []
    for seed in range(profile.seed, profile.seed + seeds):
        trained = train_variant(variant, corpus, profile, seed, device=choose_device())
        by_seed.append(user_auc(trained.score(corpus.test)[:, CLICK], corpus.test.label("click"), corpus.test.user_id))
    return by_seed[0]._replace(auc=np.mean([of_users.auc for of_users in by_seed], axis=0))


if __name__ == "__main__":
    main()
