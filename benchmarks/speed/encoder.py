"""Speed of the encoder, compared with matrix products and with sentence-transformers.

    python -m benchmarks.speed.encoder --segments 512

Prints one row (JSON) each for: useful work ÷ matrix products of this machine; sentence-transformers on the same weights, cut
to the layers that the engine uses, on texts of a retrain (all windows of some rooms that the last `make retrain` embedded) and
on texts of a tick (one for each room, made by the simulator's grammar); sentence-transformers with all layers, as its user has
the backbone. All texts are different, their lengths are the platform's, nothing is cached; the adapter is a fresh one (its
weights do not change the cost).
"""

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model

from benchmarks.json_rows import JsonRows, add_json_option
from benchmarks.speed.rows import Cost, Peer, Row, comparison, cost_of, in_turns, show
from livealign.dataset.columns import rows_by_key
from livealign.dataset.marts import built_days, read_mart
from livealign.days import day_range
from livealign.home import Home
from livealign.llm.backbone import Backbone, load_backbone
from livealign.llm.encoder import Encoder
from livealign.llm.fitting import layers_of
from livealign.llm.layers import LayerStack, copy_with_own_layers
from livealign.llm.pooling import write_token_weights
from livealign.llm.prefix import tokenize
from livealign.llm.segment_text import WindowText, compose_text
from livealign.llm.texts import texts_of
from livealign.profiles import Profile, load_profile
from livealign.simulation.grammar import about_topics

MATMUL_SIZE = 2_048
ROOM_COLUMNS = ("segment_id", "room_id")
AGREEMENT = {torch.float32: 2e-3, torch.bfloat16: 2e-2}  # largest difference of two equal embeddings, in units of their length


def main() -> int:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Home.from_environment("simulator").models)
    parser.add_argument("--segments", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    add_json_option(parser)
    arguments = parser.parse_args()
    profile = load_profile("laptop")
    out = JsonRows(arguments.json, profile.seed)
    backbone = load_backbone(profile.backbone, arguments.models)
    texts = simulated_texts(arguments.segments, profile.seed)
    show(against_matrix_products(backbone, profile, texts, arguments.repeats), out)
    of_a_retrain = retrain_texts(profile, arguments.segments)
    model, least, most = arguments.models / profile.backbone, layers_of(backbone, profile.encoder)[1], backbone.n_layers
    for what, read, layers in (
        ("texts of a retrain, the same", of_a_retrain, least),
        ("texts of a tick, the same", texts, least),
        ("texts of a retrain, all", of_a_retrain, most),
    ):
        show(against_peer(backbone, profile, what, read, model, layers, arguments.repeats), out)
    out.write()
    return 0


def against_matrix_products(backbone: Backbone, profile: Profile, texts: list[str], repeats: int) -> Row:
    """Useful FLOP/s of raw and tuned vectors in one pass ÷ FLOP/s of matrix products."""
    with tempfile.TemporaryDirectory() as folder:
        encoder = Encoder.load(backbone, fresh_adapter(backbone, profile, Path(folder)), profile.encoder, profile.segments)
    lengths = np.array([len(ids) for ids in tokenize(backbone, texts, profile.segments.token_budget)])
    useful = useful_flops(backbone, lengths, *layers_of(backbone, profile.encoder))
    times = max(1, round(useful / 3 / (2 * MATMUL_SIZE**3)))  # long enough to run under the same conditions
    a, b = (torch.randn(MATMUL_SIZE, MATMUL_SIZE, dtype=backbone.dtype, device=backbone.device) for _ in range(2))

    def products() -> Cost:
        return cost_of(lambda: [a @ b for _ in range(times)])

    ours, theirs = in_turns(lambda: cost_of(lambda: encoder.encode_raw_and_tuned(texts)), products, repeats)
    return comparison(
        f"embedding: useful FLOP/s ÷ matrix products' ({str(backbone.dtype).removeprefix('torch.')}, {MATMUL_SIZE}³)",
        "at least 0.75",
        ours,
        theirs,
        (useful / 1e9, times * 2 * MATMUL_SIZE**3 / 1e9, "GFLOP/s"),
    )


def against_peer(
    backbone: Backbone, profile: Profile, what: str, texts: list[str], model: Path, layers: int, repeats: int
) -> Row:
    """Raw vectors by both engines with mean pooling.

    They must agree if both stop at the same layer.
    """
    encoder = Encoder.load(backbone, None, replace(profile.encoder, pooling="mean"), profile.segments)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "texts.json").write_text(json.dumps(texts))
        peer = Peer(
            "embed",
            model=str(model),
            layers=layers,
            texts=str(Path(folder, "texts.json")),
            vectors=str(Path(folder, "vectors.npy")),
            tokens=profile.segments.token_budget,
            dtype=str(backbone.dtype).removeprefix("torch."),
            threads=torch.get_num_threads(),
        )
        if layers == encoder.last:
            check_agreement(
                encoder.encode(texts[:32]), np.load(Path(folder, "vectors.npy"), allow_pickle=False), backbone.dtype
            )
        ours, theirs = in_turns(lambda: cost_of(lambda: encoder.encode(texts)), peer, repeats)
        peer.close()
    return comparison(
        f"embedding: segments/s ÷ sentence-transformers' encode, {what} {layers} layers",
        "at least 2.0",
        ours,
        theirs,
        (len(texts), len(texts), "segments/s"),
        peer.facts["peak_mib"],
        {"batch of the peer": (peer.facts["batch"], "texts")},
    )


def check_agreement(ours: np.ndarray, theirs: np.ndarray, dtype: torch.dtype) -> None:
    """Stop unless both engines make the same vectors: else the comparison means nothing."""
    apart = np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)
    if apart.max() > AGREEMENT[dtype]:
        raise SystemExit(f"the peer's vectors differ by {apart.max():.4f} of their length; it does not do the same work")


def retrain_texts(profile: Profile, count: int) -> list[str]:
    """Texts that the last retrain embedded: all those of some rooms.

    The rooms are drawn by the profile's seed.

    Raises:
        SystemExit: there was no retrain.
    """
    home = Home.from_environment("simulator")
    trained = sorted(home.artifacts.glob("*/embeddings/segment_ids.npy"))
    if not trained:
        raise SystemExit(f"{home.artifacts} holds no retrain; run `make retrain` first")
    day = date.fromisoformat(trained[-1].parts[-3])
    days = day_range(day - timedelta(days=profile.dataset.train_days), day)
    segment_ids = np.load(trained[-1], allow_pickle=False)
    known = read_mart(home.marts, "segments", sorted(set(days) & set(built_days(home.marts, "segments"))), ROOM_COLUMNS)
    rooms = known["room_id"].to_numpy()[rows_by_key(known["segment_id"].to_numpy(), segment_ids)]
    texts = np.array(texts_of(home.marts, segment_ids, days, profile.segments), dtype=object)
    chosen: dict[str, None] = {}
    for room in np.random.default_rng(profile.seed).permutation(np.unique(rooms)):
        chosen |= dict.fromkeys(texts[rooms == room])
        if len(chosen) >= count:
            break
    return list(chosen)[:count]


def simulated_texts(count: int, seed: int) -> list[str]:
    """Distinct texts with the simulator's mix of lengths, with and without speech or chat."""
    rng = np.random.default_rng(seed)
    topics = rng.integers(0, 24, count)
    title, *lines = (about_topics(kind, topics, rng).to_pylist() for kind in ("title", "speech", "speech", "chat", "chat"))
    spoken, written = rng.random(count) < 0.85, rng.random(count) < 0.8
    texts = []
    for row in range(count):
        speech = f"{lines[0][row]} {lines[1][row]}" if spoken[row] else ""
        chat = (lines[2][row], lines[3][row]) if written[row] else ()
        texts.append(compose_text(WindowText(row, row, title[row], "", speech, chat), (), load_profile("laptop").segments))
    return texts


def fresh_adapter(backbone: Backbone, profile: Profile, folder: Path) -> Path:
    """Write an untrained LoRA adapter to the folder and return the folder."""
    first, last = layers_of(backbone, profile.encoder)
    settings = LoraConfig(
        r=profile.finetune.rank,
        target_modules=list(profile.finetune.target_modules),
        layers_to_transform=list(range(first, last)),
        layers_pattern="layers",
    )
    model = get_peft_model(copy_with_own_layers(backbone.model, first, last), settings)
    model.save_pretrained(str(folder), save_embedding_layers=False)
    write_token_weights(torch.ones(len(backbone.tokenizer)), folder)
    return folder


def useful_flops(backbone: Backbone, lengths: np.ndarray, first: int, last: int) -> float:
    """Multiplications and additions of raw and tuned vectors, counting only real tokens.

    The layers below `first` run once, those up to `last` twice; each token attends to half of its text on average.
    """
    layer = LayerStack(backbone.model).layers[0]
    weights = sum(parameter.numel() for parameter in layer.parameters() if parameter.dim() == 2)
    passes = first + 2 * (last - first)
    return passes * float((2 * weights * lengths + 2 * backbone.hidden_size * lengths.astype(float) ** 2).sum())


if __name__ == "__main__":
    sys.exit(main())
