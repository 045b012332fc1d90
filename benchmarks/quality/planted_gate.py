"""GAUC of the towers by kind of gate, where content is informative for half of the authors.

.venv/bin/python -m benchmarks.quality.planted_gate --seeds 2
.venv/bin/python -m benchmarks.quality.planted_gate --users 100 --requests 300 --seeds 1      # seconds; no meaning

Half of the planted authors air one topic each, and their content is noise, or that of any room; the others air six of twelve,
and their content is informative. Only the towers are measured: GAUC of their dot product.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.json_rows import JsonRows, add_json_option
from livealign.alignment.towers import item_vectors
from livealign.alignment.training import train_alignment
from livealign.config import AlignmentConfig, DatasetConfig
from livealign.dataset.corpus import Corpus, load_corpus
from livealign.metrics import gauc, user_auc
from tests.planted.marts import Planted, plant_marts

AUTHORS, FIRST_AUTHOR = 60, 900  # ids of the planted authors count from there
GATES = {
    "the ID alone": ("id", False),
    "fixed mean": ("mean", False),
    "a gate that learns by itself": ("learned", False),
    "the gate with the content check": ("learned", True),
}


def main() -> None:
    """Print and record a row for each gate, with a column for each kind of content."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=400)
    parser.add_argument("--requests", type=int, default=4_200, help="a day, of seven (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=2, help="of the towers (default: %(default)s)")
    add_json_option(parser)
    arguments = parser.parse_args()
    out = JsonRows(arguments.json, AlignmentConfig().seed)
    with tempfile.TemporaryDirectory() as folder:
        planted = plant_marts(
            Path(folder), arguments.users, AUTHORS, 12, days=7, rooms_per_day=40, requests_per_day=arguments.requests,
            noise=0.1, taste_scale=1.8, base_logit=-1.2, topics_of_author=6, steady_authors=AUTHORS // 2,
        )  # fmt: skip
        corpus = load_corpus(planted.marts, planted.days[-1], DatasetConfig(half_life_seconds=0))
    true, static = planted.truth(corpus.test.impression_id)
    for name, score in {"true probabilities": true, "true, without the moment": static}.items():
        show(name, [within_users(corpus, score)], out)
    contents = contents_of(corpus, planted)
    print(f"{len(corpus.train):,} training impressions\n{'':<50}" + "".join(f"{kind:>28}" for kind in contents))
    for name, (mode, check) in GATES.items():
        show(
            name,
            [mean_gauc(corpus, content, mode, check, arguments.seeds) for content in contents.values()],
            out,
            list(contents),
        )
    silenced = [np.where(is_uninformative(corpus)[:, None], 0, content) for content in list(contents.values())[:1]]
    show(
        "content taken away by hand",
        [mean_gauc(corpus, content, "learned", False, arguments.seeds) for content in silenced],
        out,
    )
    out.write()


def is_uninformative(corpus: Corpus) -> NDArray[np.bool_]:
    """[segments] whether the author is of the half with uninformative content."""
    return (corpus.segment_author_id >= FIRST_AUTHOR) & (corpus.segment_author_id < FIRST_AUTHOR + AUTHORS // 2)


def contents_of(corpus: Corpus, planted: Planted) -> dict[str, NDArray[np.float32]]:
    """Content [segments, d] by its kind for the first half of the authors."""
    rng = np.random.default_rng(AlignmentConfig().seed)
    informative = corpus.with_content("planted", planted.segment_ids, planted.vectors).content["planted"]
    noise = rng.normal(size=informative.shape).astype(np.float32) * (informative != 0).any(1, keepdims=True)
    shuffled = informative[np.r_[0, rng.permutation(np.arange(1, len(informative)))]]
    half = is_uninformative(corpus)[:, None]
    return {
        "noise for half": np.where(half, noise, informative),
        "anybody's for half": np.where(half, shuffled, informative),
        "tells": informative,
    }


def mean_gauc(corpus: Corpus, content: NDArray[np.float32], mode: str, check: bool, seeds: int) -> float:
    """GAUC of the dot product, mean over the seeds."""
    config, by_seed = AlignmentConfig(check=check), []
    for seed in range(config.seed, config.seed + seeds):
        towers, _ = train_alignment(corpus, content, replace(config, seed=seed), mode)
        by_seed.append(within_users(corpus, towers.logits(corpus.test, item_vectors(towers, corpus, content))))
    return float(np.mean(by_seed))


def within_users(corpus: Corpus, score: NDArray[np.floating]) -> float:
    """GAUC of a score on the held-out clicks."""
    return gauc(user_auc(score, corpus.test.label("click"), corpus.test.user_id))


def show(name: str, values: list[float], out: JsonRows, kinds: list[str] | None = None) -> None:
    """Print and record a row."""
    print(f"{name:<50}" + "".join(f"{value:>28.3f}" for value in values), flush=True)
    for kind, value in zip(kinds or [""], values, strict=True):
        out.add(f"{name}, {kind}" if kind else name, value, "GAUC")


if __name__ == "__main__":
    main()
