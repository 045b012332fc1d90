"""Examples a processor second that the towers and the ranker learn from, on one thread.

    make retrain && .venv/bin/python -m benchmarks.speed.heads --days 2 --epochs 2

On the landed days before the last retrain's, with its vectors. An example is one impression in one epoch.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch

from benchmarks.json_rows import JsonRows
from benchmarks.quality.retrained import Retrained, add_options
from livealign.alignment.towers import item_vectors
from livealign.alignment.training import train_alignment
from livealign.codes.codebook import codebook_rows, fit_codebook
from livealign.dataset.content import content_names, content_of
from livealign.ranking.training import train_ranker
from livealign.ranking.variants import ranker_items

T = TypeVar("T")


def main() -> None:
    """Train both once, print and record the rates."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=2)
    add_options(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    retrained = Retrained.of(arguments)
    profile = replace(
        retrained.profile,
        alignment=replace(retrained.profile.alignment, epochs=arguments.epochs, check=False),
        ranker=replace(retrained.profile.ranker, epochs=arguments.epochs),
    )
    corpus, out = retrained.corpus(profile), JsonRows(arguments.json, profile.seed)
    examples = arguments.epochs * len(corpus.train.user_id)
    content, sources = content_of(corpus, *content_names(profile.alignment.sources))
    (alignment, _), seconds = spent(lambda: train_alignment(corpus, content, profile.alignment, "learned", "cpu", sources))
    show(out, "towers", examples / seconds)
    vectors = item_vectors(alignment, corpus, content)
    codebook = fit_codebook(vectors[codebook_rows(corpus, content)], profile.codes)
    items = ranker_items(alignment, vectors, codebook.encode(vectors))
    _, seconds = spent(lambda: train_ranker(corpus, items, profile.ranker, codebook.version, codebook.codes_per_level, "cpu"))
    show(out, "ranker", examples / seconds)
    out.write()


def spent(work: Callable[[], T]) -> tuple[T, float]:
    """The result of the work, and its processor seconds."""
    started = time.process_time()
    return work(), time.process_time() - started


def show(out: JsonRows, name: str, rate: float) -> None:
    """Print and record a rate."""
    print(f"{name}: {rate:,.0f} examples a processor second", flush=True)
    out.add(f"{name}: examples learned from", rate, "examples/processor s")


if __name__ == "__main__":
    main()
