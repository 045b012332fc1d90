"""Every variant over several seeds of its heads, on the day that `make retrain` held out last: GAUC, spread, share of the gap.

make retrain && .venv/bin/python benchmarks/compare_variants.py --seeds 3
"""

import argparse
from datetime import date

import numpy as np

from livealign.artifacts import read_json
from livealign.backbone import choose_device, use_physical_cores
from livealign.challenger import day_corpus
from livealign.config import load_profile
from livealign.evaluation import evaluate
from livealign.heldout import read_truth
from livealign.home import Home
from livealign.offline import CLICK, held_out_frame
from livealign.variants import VARIANTS, train_variant

WITHOUT_TEXT_MODELS = tuple(name for name in VARIANTS if name not in ("tfidf", "minilm"))


def main() -> None:
    """Train, score, print one row for each variant."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--platform", default="simulator")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", nargs="+", default=list(WITHOUT_TEXT_MODELS), choices=VARIANTS)
    arguments = parser.parse_args()

    use_physical_cores()
    home, profile = Home.from_environment(arguments.platform), load_profile(arguments.profile)
    day = date.fromisoformat(read_json(home.reports / "latest" / "summary.json")["data_window"]["end"])
    corpus = day_corpus(home, day, profile.dataset)
    scores = {
        name: np.stack(
            [
                train_variant(name, corpus, profile, profile.seed + seed, device=choose_device()).score(corpus.test)[:, CLICK]
                for seed in range(arguments.seeds)
            ]
        )
        for name in arguments.variants
    }
    frame = held_out_frame(corpus, home.marts, profile.evaluation)
    truth = read_truth(home.archive, corpus.test.impression_id, day)
    report = evaluate(scores, frame, profile.evaluation, truth)
    shares = report.ceiling_shares()
    print(f"{'variant':<14} {'GAUC':>7} {'spread':>7} {'AUC':>7} {'NDCG@10':>8}  over id_only (95 %)        share of the gap")
    for name, metrics in {**report.variants, **report.oracle}.items():
        interval = report.differences.get(name)
        gain = f"{interval.difference:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]" if interval else ""
        share = f"{shares[name]:.2f}" if name in shares else ""
        spread = metrics.gauc_seed_std or 0.0
        print(f"{name:<14} {metrics.gauc:7.4f} {spread:7.4f} {metrics.auc:7.4f} {metrics.ndcg:8.4f}  {gain:<26} {share}")


if __name__ == "__main__":
    main()
