"""Speed of the semantic codes, compared with faiss' ResidualQuantizer.

    python -m benchmarks.speed.codes

Both fit and encode the same vectors with the same levels and sizes, in turns. The vectors are a mixture like the aligned ones:
topics, authors within topics, noise. The error is the mean squared distance between a vector and its decoded codes; the row
counts only if ours is not higher.
"""

import argparse
import sys

import faiss
import numpy as np

from benchmarks.json_rows import JsonRows, add_json_option
from benchmarks.speed.rows import comparison, cost_of, in_turns, show
from livealign.codes.codebook import fit_codebook
from livealign.config import CodesConfig

DIM, SEED = 64, 17


def main() -> int:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    add_json_option(parser)
    arguments = parser.parse_args()
    vectors, config, errors = mixture(arguments.vectors), CodesConfig(), {}

    def ours() -> None:
        codebook = fit_codebook(vectors, config)
        errors["ours"] = float(((codebook.decode(codebook.encode(vectors)) - vectors) ** 2).sum(1).mean())

    def theirs() -> None:
        quantizer = faiss.ResidualQuantizer(DIM, config.levels, int(np.log2(config.codes_per_level)))
        quantizer.train(vectors)
        errors["theirs"] = float(((quantizer.decode(quantizer.compute_codes(vectors)) - vectors) ** 2).sum(1).mean())

    costs = in_turns(lambda: cost_of(ours), lambda: cost_of(theirs), arguments.repeats)
    row = comparison(
        "codes: fit and encode ÷ faiss ResidualQuantizer",
        "at least 1.0 at equal or lower error",
        *costs,
        (len(vectors), len(vectors), "vectors/s"),
        facts={f"squared error, {side}": (error, "squared distance") for side, error in errors.items()},
    )
    out = JsonRows(arguments.json, SEED)
    show(row, out)
    out.write()
    return 0


def mixture(count: int, seed: int = SEED) -> np.ndarray:
    """float32 [count, 64] of unit length: 24 topics, 400 authors."""
    rng = np.random.default_rng(seed)
    topics, authors = rng.normal(size=(24, DIM)), 0.6 * rng.normal(size=(400, DIM))
    author = rng.integers(0, 400, count)
    vectors = topics[rng.integers(0, 24, count)] + authors[author] + 0.5 * rng.normal(size=(count, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
