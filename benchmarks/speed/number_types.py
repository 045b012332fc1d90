"""Speed of the encoder in int8 against bfloat16, and how far its vectors are apart.

    python -m benchmarks.speed.number_types --segments 512 --repeats 7

Raw and tuned vectors of the same texts, in turns, on one thread. The texts are those of a tick, by the simulator's grammar;
the adapter is a fresh one. Prints a row (JSON) for the whole pass and two for the products alone (2,048 rows, the weight of a
gate). `encoder.number_type = "int8"` is worth setting where the first, by processor seconds, is at least 1.4. Cosines are
to the vectors in float32, less their mean.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.json_rows import JsonRows, add_json_option
from benchmarks.speed.encoder import fresh_adapter, simulated_texts
from benchmarks.speed.rows import Cost, comparison, cost_of, in_turns, show
from livealign.config import INT8
from livealign.home import Home
from livealign.llm.backbone import load_backbone
from livealign.llm.encoder import Encoder
from livealign.llm.int8 import Int8Product, NormedInt8Product
from livealign.llm.matmul import OneDnnProduct, Product
from livealign.profiles import load_profile

ROWS, TIMES = 2_048, 20
COMPARED = 256  # texts that are read in float32 too


def main() -> int:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Home.from_environment("simulator").models)
    parser.add_argument("--segments", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7)
    add_json_option(parser)
    arguments = parser.parse_args()
    profile = load_profile("laptop")
    out, texts = JsonRows(arguments.json, profile.seed), simulated_texts(arguments.segments, profile.seed)
    backbone = load_backbone(profile.backbone, arguments.models)
    exact = load_backbone(profile.backbone, arguments.models, dtype=torch.float32)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        adapter = fresh_adapter(backbone, profile, Path(folder))
        floats, wanted = (Encoder.load(one, adapter, profile.encoder, profile.segments) for one in (backbone, exact))
        integers = Encoder.load(backbone, adapter, replace(profile.encoder, number_type=INT8), profile.segments)
    of_pass = in_turns(
        lambda: cost_of(lambda: integers.encode_raw_and_tuned(texts)),
        lambda: cost_of(lambda: floats.encode_raw_and_tuned(texts)),
        arguments.repeats,
    )
    reference = wanted.encode(texts[:COMPARED])
    facts = {}
    for name, encoder in (("int8", integers), ("bfloat16", floats)):
        cosines = cosines_to(reference, encoder.encode(texts[:COMPARED]))
        facts[f"{name}, mean cosine to float32"] = (float(cosines.mean()), "")
        facts[f"{name}, lowest"] = (float(cosines.min()), "")
    work = (len(texts), len(texts), "segments/s")
    show(
        comparison("embedding: segments/s in int8 ÷ in bfloat16, raw and tuned", "at least 1.4", *of_pass, work, None, facts),
        out,
    )
    weight = backbone.model.get_submodule("layers.0.mlp.gate_proj").get_parameter("weight")
    flops = 2e-9 * TIMES * ROWS * weight.numel()
    for name, product in (
        ("rows of a norm", NormedInt8Product(weight.float(), None)),
        ("other rows", Int8Product(weight.float(), None)),
    ):
        costs = in_turns(product_cost(product, weight), product_cost(OneDnnProduct(weight, None), weight), arguments.repeats)
        show(comparison(f"product in int8 ÷ in bfloat16, {name}, rounding included", "", *costs, (flops, flops, "G/s")), out)
    out.write()
    return 0


def product_cost(product: Product, weight: torch.Tensor) -> Callable[[], Cost]:
    """The cost of TIMES products with this weight."""
    rows = torch.randn(ROWS, weight.shape[1], generator=torch.Generator().manual_seed(1)).bfloat16()

    def products() -> None:
        with torch.inference_mode():
            for _ in range(TIMES):
                product(rows)

    return lambda: cost_of(products)


def cosines_to(reference: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The cosine of each vector to its reference, both less the mean of the references."""
    one, other = reference - reference.mean(0), vectors - reference.mean(0)
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


if __name__ == "__main__":
    sys.exit(main())
