"""GAUC of the ranker's logit + b × the towers' dot product, by b.

make retrain && .venv/bin/python -m benchmarks.quality.dot_product --seeds 2 [--day 2025-06-08]
"""

import argparse

import numpy as np
from scipy.special import logit

from benchmarks.json_rows import JsonRows
from benchmarks.quality.retrained import Retrained, add_options
from livealign.evaluation.frame import CLICK
from livealign.llm.backbone import choose_device, use_physical_cores
from livealign.metrics import gauc, user_auc
from livealign.ranking.variants import train_variant


def main() -> None:
    """Print and record a row for each variant and seed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.25, 0.5, 1.0], help="b (default: %(default)s)")
    add_options(parser)
    arguments = parser.parse_args()
    use_physical_cores()
    retrained = Retrained.of(arguments)
    profile, corpus = retrained.profile, retrained.corpus()
    out, label, user = JsonRows(arguments.json), corpus.test.label("click"), corpus.test.user_id
    print(f"{'variant':<16}{'seed':>5}" + "".join(f"{f'b = {weight}':>12}" for weight in [*arguments.weights, "∞"]))
    for name in ("aligned", "aligned_codes"):
        for seed in range(profile.seed, profile.seed + arguments.seeds):
            trained = train_variant(name, corpus, profile, seed, device=choose_device())
            if trained.alignment is None or trained.items.vectors is None:
                print(f"{name:<16}{seed:>5}  the content check let no content in: there is no product")
                continue
            by_ranker = logit(np.clip(trained.score(corpus.test)[:, CLICK].astype(np.float64), 1e-7, 1 - 1e-7))
            product = trained.alignment.logits(corpus.test, trained.items.vectors)
            scores = {f"b = {weight}": by_ranker + weight * product for weight in arguments.weights} | {
                "the product alone": product
            }
            gauc_of = {b: gauc(user_auc(score, label, user)) for b, score in scores.items()}
            print(f"{name:<16}{seed:>5}" + "".join(f"{value:>12.4f}" for value in gauc_of.values()), flush=True)
            for b, value in gauc_of.items():
                out.add(f"{name}, {b}", value, "GAUC", seed=seed)
    out.write()


if __name__ == "__main__":
    main()
