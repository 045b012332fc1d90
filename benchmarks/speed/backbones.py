"""Speed of the pinned backbones by depth: texts a second of processor time, one thread.

    OMP_NUM_THREADS=1 python -m benchmarks.speed.backbones
    --models FOLDER   folder of the backbones (default: LIVEALIGN_HOME/models); `livealign backbone fetch NAME` fetches them
    --texts N         simulated texts of one tick (default 512)
    --json FILE       write the rows for machines

The texts are all different and nothing is cached; the vectors are frozen ones. Processor time is given, because another
process on the machine then makes no difference. A backbone that is not there is left out.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.json_rows import REPEATS, JsonRows, add_json_option
from benchmarks.speed.encoder import simulated_texts
from livealign.home import Home
from livealign.llm.backbone import load_backbone
from livealign.llm.encoder import Encoder
from livealign.llm.pooling import MEAN
from livealign.profiles import load_profile

DEPTHS = {"smollm2-135m": (6, 9), "gemma3-270m": (3, 4, 6, 9), "minilm-l6": (6,)}
RUNS = 4


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Home.from_environment("simulator").models)
    parser.add_argument("--texts", type=int, default=512)
    add_json_option(parser)
    arguments = parser.parse_args()
    profile = load_profile("laptop")
    out = JsonRows(arguments.json, profile.seed)
    texts = simulated_texts(arguments.texts, profile.seed)
    print("| backbone | layers | number type | layers are | texts/s | least | most |\n|---|---:|---|---|---:|---:|---:|")
    for name in [name for name in DEPTHS if (arguments.models / name).is_dir()]:
        backbone = load_backbone(name, arguments.models)
        for depth in DEPTHS[name]:
            config = replace(profile.encoder, pooling=MEAN, exit_layer=depth, first_adapted_layer=0)
            encoder = Encoder.load(backbone, None, config, profile.segments)
            encoder.encode(texts[:64])
            rates = []
            for _ in range(RUNS):
                started = time.process_time()
                encoder.encode(texts)
                rates.append(len(texts) / (time.process_time() - started))
            kind = "fused" if encoder.fused else "the model's own"
            number_type = str(backbone.dtype).removeprefix("torch.")
            cells = (
                f"`{name}`",
                depth,
                number_type,
                kind,
                *(f"{rate:.0f}" for rate in (median(rates), min(rates), max(rates))),
            )
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
            out.add(f"{name}, {depth} layers", median(rates), "texts/s of processor time", (min(rates), max(rates)), REPEATS)
    out.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
