"""Speed of the engine on one GPU: rooms a tick, share of the card's rate, LoRA tokens/s.

    python -m benchmarks.speed.gpu             # on the GPU: shapes of SmolLM2-135M, Qwen2-1.5B and Llama-7B
    python -m benchmarks.speed.gpu --tiny      # the same code on any machine, in seconds; its numbers mean nothing

It needs only torch and transformers. All weights are random: throughput does not depend on them, quality is not measured. No
network is used and no file is read. The rate that shares are taken of is measured in the same run: products of two square
matrices in the same number type.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from transformers import LlamaConfig, LlamaModel, PreTrainedModel, Qwen2Config, Qwen2Model

from benchmarks.json_rows import JsonRows, add_json_option
from livealign.llm.fused_layers import FusedStack, stack_of
from livealign.llm.packing import pack, pack_whole
from livealign.llm.pooling import Pooling

TICK_SECONDS = 30
REPEATS, SEED = 5, 17


@dataclass(frozen=True)
class Shape:
    """The sizes of a model; `exit_layer` and `first_adapted` as in EncoderConfig."""

    name: str
    qwen: bool
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    exit_layer: int
    first_adapted: int
    tuned_texts: int = 512  # in one step

    def model(self, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
        """A model of this shape with random weights."""
        sizes = {
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.inner,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
        }
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with device:
                made = Qwen2Model(Qwen2Config(**sizes)) if self.qwen else LlamaModel(LlamaConfig(**sizes))
        finally:
            torch.set_default_dtype(before)
        return made.eval().requires_grad_(False)


SHAPES = (
    Shape("SmolLM2-135M's shape, exit after 6 layers", False, 576, 1536, 30, 9, 3, 49_152, 6, 2, 2_048),
    Shape("SmolLM2-135M's shape, all layers", False, 576, 1536, 30, 9, 3, 49_152, 30, 0, 1_024),
    Shape("1.5B, Qwen2's shape, all layers", True, 1536, 8960, 28, 12, 2, 151_936, 28, 0, 512),
    Shape("7B, Llama's shape, all layers", False, 4096, 11_008, 32, 32, 32, 32_000, 32, 0, 128),
)
TINY = (
    Shape("tiny Llama", False, 64, 128, 3, 4, 2, 512, 2, 1, 16),
    Shape("tiny Qwen2", True, 64, 128, 3, 4, 2, 512, 3, 0, 16),
)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true")
    add_json_option(parser)
    parsed = parser.parse_args(arguments)
    tiny, out = parsed.tiny, JsonRows(parsed.json, SEED)
    if not tiny and not torch.cuda.is_available():
        print("there is no CUDA device here; run on a machine with one, or with --tiny to see the code run", file=sys.stderr)
        return 1
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    card = torch.cuda.get_device_name() if device.type == "cuda" else "CPU (a check of the code, not a measurement)"
    size = 256 if tiny else 8_192
    rate = matrix_rate(device, dtype, size)
    print(f"{card}, torch {torch.__version__}, {dtype}, {size}³ product: {rate / 1e12:.3g} TFLOP/s; random weights\n")
    out.add(f"product of two {size}³ matrices, {str(dtype).removeprefix('torch.')}", rate / 1e12, "TFLOP/s")
    print(f"| shape | rooms in {TICK_SECONDS} s | share of the card's rate | LoRA tokens/s | peak GiB |")
    print("|---|---|---|---|---|")
    for shape in TINY if tiny else SHAPES:
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        model = shape.model(device, dtype)
        texts_a_second, share = embedding(shape, model, 32 if tiny else 16_384, rate, device)
        tokens_a_second = tuning(shape, model, device)
        peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else float("nan")
        cells = (shape.name, f"{TICK_SECONDS * texts_a_second:,.0f}", f"{share:.2f}", f"{tokens_a_second:,.0f}", f"{peak:.1f}")
        print("| " + " | ".join(cells) + " |", flush=True)
        out.add(f"{shape.name}: rooms in {TICK_SECONDS} s", TICK_SECONDS * texts_a_second, "rooms")
        out.add(f"{shape.name}: share of the card's rate", share, "share")
        out.add(f"{shape.name}: LoRA tuning", tokens_a_second, "tokens/s")
        out.add(f"{shape.name}: peak memory", peak, "GiB")
        del model
    out.write()
    return 0


def made_up_texts(count: int, vocabulary: int, seed: int = SEED) -> list[list[int]]:
    """Token ids with the simulator's mix of lengths; no two texts begin alike.

    The lengths are 32 to 64, half of them 64.
    """
    rng = np.random.default_rng(seed)
    lengths = np.where(rng.random(count) < 0.5, 64, rng.integers(32, 64, count))
    return [rng.integers(3, vocabulary, length).tolist() for length in lengths]


def embedding(
    shape: Shape, model: PreTrainedModel, count: int, rate: float, device: torch.device, nodes: int = 65_536
) -> tuple[float, float]:
    """Texts a second, and the share of the rate of matrix products in useful operations.

    The time is from token ids to vectors on the host.
    """
    stack, texts = stack_of(model), made_up_texts(count, shape.vocabulary)

    def encode() -> None:
        with torch.inference_mode():
            for _, batch in pack(texts, nodes, True, device):
                stack.read(stack.embed(batch), batch, 0, shape.exit_layer, Pooling("mean")).cpu()

    seconds = median_seconds(encode, device)
    layer = model.layers[0]
    weights = sum(parameter.numel() for parameter in layer.parameters() if parameter.dim() == 2)
    lengths = np.array([len(ids) for ids in texts], dtype=float)
    useful = shape.exit_layer * float((2 * weights * lengths + 2 * shape.hidden * lengths**2).sum())
    return count / seconds, useful / seconds / rate


def tuning(shape: Shape, model: PreTrainedModel, device: torch.device, rank: int = 16) -> float:
    """Tokens a second through forward, backward and optimizer.

    The adapters are on all projections of the adapted layers.
    """
    frozen = stack_of(model)
    generator = torch.Generator(device).manual_seed(SEED)
    parameters: list[nn.Parameter] = []
    for layer in model.layers[shape.first_adapted : shape.exit_layer]:
        for module in (*layer.self_attn.children(), *layer.mlp.children()):
            if isinstance(module, nn.Linear):
                parameters += adapt(module, rank, generator)
    adapted = FusedStack(model, checkpoint_layers=True)  # knows the adapters that `frozen` was made without
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    texts = made_up_texts(shape.tuned_texts, shape.vocabulary)

    def step() -> None:
        _, batch = pack_whole(texts, True, device)
        with torch.no_grad():
            shared = frozen.run(frozen.embed(batch), batch, 0, shape.first_adapted)
        vectors = adapted.read(shared, batch, shape.first_adapted, shape.exit_layer, Pooling("mean"))
        left, right = nn.functional.normalize(vectors, dim=1).chunk(2)
        loss = nn.functional.cross_entropy(left @ right.T / 0.1, torch.arange(len(left), device=device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return sum(map(len, texts)) / median_seconds(step, device)


def adapt(module: nn.Linear, rank: int, generator: torch.Generator) -> list[nn.Parameter]:
    """Give a linear module an adapter under peft's names, without peft."""
    device = module.weight.device
    down, up = nn.Linear(module.in_features, rank, bias=False), nn.Linear(rank, module.out_features, bias=False)
    down.weight.data = torch.randn(rank, module.in_features, generator=generator, device=device) / rank
    up.weight.data = torch.zeros(module.out_features, rank, device=device)
    module.lora_A, module.lora_B = nn.ModuleDict({"default": down}), nn.ModuleDict({"default": up})
    module.scaling = {"default": 2.0}
    return [down.weight, up.weight]


def matrix_rate(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """FLOP/s of a product of two square matrices, median of repeats of ten products."""
    a, b = (torch.randn(size, size, dtype=dtype, device=device) for _ in range(2))
    return 10 * 2 * size**3 / median_seconds(lambda: [a @ b for _ in range(10)], device)


def median_seconds(work: Callable[[], object], device: torch.device) -> float:
    """Median seconds of the repeats, after two warm-ups; waits for a GPU's work."""
    seconds = []
    for repeat in range(REPEATS + 2):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if repeat >= 2:
            seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


if __name__ == "__main__":
    sys.exit(main())
