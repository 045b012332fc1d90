"""The embedding engine against the machine's own matrix multiplication, in one run, in turns.

    python benchmarks/bench_embed.py --segments 1000

Prints one JSON object: medians over the repeats. The texts are those of the simulated platform in its own mix of lengths; the
adapter is a fresh one (its weights do not change the cost).
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model

from livealign.backbone import Backbone, load_backbone
from livealign.config import load_profile
from livealign.embed import Encoder, tokenize
from livealign.home import Home
from livealign.layers import LayerStack, copy_with_own_layers
from livealign.segments import Moment, compose_text
from livealign.simulation.grammar import about_topics

MATMUL_SIZE = 2_048


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Home.from_environment("simulator").models)
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--backbone")
    parser.add_argument("--segments", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    profile = load_profile(arguments.profile, backbone=arguments.backbone)
    backbone = load_backbone(profile.backbone, arguments.models)
    texts = simulated_texts(arguments.segments, profile.seed)
    with tempfile.TemporaryDirectory() as folder:
        encoder = Encoder.load(backbone, fresh_adapter(backbone, profile, Path(folder)), profile.encoder, profile.segments)
    encoder.encode_raw_and_tuned(texts[: max(1, len(texts) // 10)])  # first calls choose kernels
    lengths = np.array([len(ids) for ids in tokenize(backbone, texts, profile.segments.token_budget)])
    flops = useful_flops(backbone, lengths, profile.encoder.first_adapted_layer, profile.encoder.exit_layer)
    seconds, shares = [], []
    for _ in range(arguments.repeats):
        before = matmul_flops_per_second(backbone)
        started = time.perf_counter()
        encoder.encode_raw_and_tuned(texts)
        seconds.append(time.perf_counter() - started)
        shares.append(flops / seconds[-1] / np.mean([before, matmul_flops_per_second(backbone)]))
    result = {
        "segments": len(texts),
        "tokens_mean": round(float(lengths.mean()), 1),
        "threads": torch.get_num_threads(),
        "dtype": str(backbone.dtype),
        "device": str(backbone.device),
        "segments_per_second": round(len(texts) / float(np.median(seconds)), 1),
        "tokens_per_second": round(float(lengths.sum()) / float(np.median(seconds))),
        "share_of_matmul_rate": round(float(np.median(shares)), 3),
        "share_range": [round(min(shares), 3), round(max(shares), 3)],
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_024,
    }
    print(json.dumps(result, indent=2))
    return 0


def simulated_texts(count: int, seed: int) -> list[str]:
    """Distinct texts with the simulated platform's mix: long and short, with and without speech or chat."""
    rng = np.random.default_rng(seed)
    topics = rng.integers(0, 24, count)
    title, *said = (about_topics(kind, topics, rng).to_pylist() for kind in ("title", "speech", "speech", "chat", "chat"))
    spoken, written = rng.random(count) < 0.85, rng.random(count) < 0.8
    texts = []
    for row in range(count):
        speech = f"{said[0][row]} {said[1][row]}" if spoken[row] else ""
        chat = (said[2][row], said[3][row]) if written[row] else ()
        texts.append(compose_text(Moment(row, row, title[row], "", speech, chat), (), load_profile("laptop").segments))
    return texts


def fresh_adapter(backbone: Backbone, profile, folder: Path) -> Path:
    first, last = profile.encoder.first_adapted_layer, profile.encoder.exit_layer
    settings = LoraConfig(
        r=profile.finetune.rank,
        target_modules=list(profile.finetune.target_modules),
        layers_to_transform=list(range(first, last)),
        layers_pattern="layers",
    )
    model = get_peft_model(copy_with_own_layers(backbone.model, first, last), settings)
    model.save_pretrained(str(folder), save_embedding_layers=False)
    return folder


def useful_flops(backbone: Backbone, lengths: np.ndarray, first: int, last: int) -> float:
    """Multiplications and additions of raw and tuned together, counting real tokens only, never padding.

    The layers below `first` run once, those up to `last` twice; each token attends to half of its text on average.
    """
    layer = LayerStack(backbone.model).layers[0]
    weights = sum(parameter.numel() for parameter in layer.parameters() if parameter.dim() == 2)
    passes = first + 2 * (last - first)
    return passes * float((2 * weights * lengths + 2 * backbone.hidden_size * lengths.astype(float) ** 2).sum())


def matmul_flops_per_second(backbone: Backbone, times: int = 5) -> float:
    """Best of a few products of two square matrices in the backbone's number type."""
    a, b = (torch.randn(MATMUL_SIZE, MATMUL_SIZE, dtype=backbone.dtype, device=backbone.device) for _ in range(2))
    best = np.inf
    for _ in range(times + 1):
        started = time.perf_counter()
        product = a @ b
        if backbone.device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
        del product
    return 2 * MATMUL_SIZE**3 / best


if __name__ == "__main__":
    sys.exit(main())
