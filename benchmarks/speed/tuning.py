"""Speed of the tuning loop, compared with sentence-transformers' trainer.

    python -m benchmarks.speed.tuning --repeats 5

Both have the same weights, layers, LoRA, pairs and batch, and run one step in turns. The peer's model is cut to the layers that
ours uses, then has all layers, as its user has it. Both read every token of every text once a step; the rate counts only real
tokens. Nothing of ours is computed before the step is measured.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.json_rows import JsonRows, add_json_option
from benchmarks.speed.encoder import simulated_texts
from benchmarks.speed.rows import Peer, comparison, cost_of, in_turns, show
from livealign.home import Home
from livealign.llm.backbone import load_backbone
from livealign.llm.fitting import layers_of
from livealign.llm.pooling import Pooling
from livealign.llm.prefix import tokenize
from livealign.profiles import load_profile
from livealign.tuning.adapted_model import adapter_parameters, with_adapter
from livealign.tuning.loop import TuningLoop, TuningProgress
from livealign.tuning.pairs import NO_USER, TextPairs


def main() -> int:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Home.from_environment("simulator").models)
    parser.add_argument("--repeats", type=int, default=5)
    add_json_option(parser)
    arguments = parser.parse_args()
    profile = load_profile("laptop")
    out = JsonRows(arguments.json, profile.seed)
    backbone = load_backbone(profile.backbone, arguments.models)
    steps, size = arguments.repeats + 1, profile.finetune.batch_size
    texts = simulated_texts(2 * size, profile.seed)  # the same batch at every step: every step costs the same
    left, right = texts[:size], texts[size:]
    rooms, nothing = np.arange(size), np.zeros(size, np.int64)
    pairs = TextPairs(left, right, rooms, rooms, nothing, nothing, np.full(size, NO_USER))
    tokens = sum(map(len, tokenize(backbone, texts, profile.segments.token_budget)))

    first, last = layers_of(backbone, profile.encoder)
    for layers in (last, backbone.n_layers):
        model = with_adapter(backbone, profile.encoder, profile.finetune, None)
        parameters = adapter_parameters(model)
        loop = TuningLoop(backbone, model, parameters, profile.segments, profile.encoder, profile.finetune, Pooling("mean"))
        loop.whitening = torch.eye(backbone.hidden_size, device=backbone.device)
        taking = loop.fit(pairs, pairs.take(np.arange(0)), TuningProgress())
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "pairs.json")
            file.write_text(json.dumps(list(zip(left, right, strict=True)) * (steps + 1)))
            peer = Peer(
                "tune",
                model=str(arguments.models / profile.backbone),
                layers=layers,
                adapted=list(range(first, last)),
                texts=str(file),
                tokens=profile.segments.token_budget,
                dtype=str(backbone.dtype).removeprefix("torch."),
                threads=torch.get_num_threads(),
                rank=profile.finetune.rank,
                alpha=profile.finetune.alpha,
                targets=list(profile.finetune.target_modules),
                batch=size,
                steps=steps + 1,
            )
            trainable = sum(parameter.numel() for parameter in parameters)
            if peer.facts["trainable"] != trainable:
                raise SystemExit(f"the peer trains {peer.facts['trainable']} parameters, not {trainable}: not the same LoRA")
            ours, theirs = in_turns(lambda taking=taking: cost_of(lambda: next(taking)), peer, arguments.repeats)
            peer.close()
        which = "all" if layers == backbone.n_layers else "the same"
        show(
            comparison(
                f"tuning: useful tokens/s ÷ sentence-transformers' trainer, the same LoRA, {which} {layers} layers",
                "at least 1.5",
                ours,
                theirs,
                (tokens, tokens, "tokens/s"),
                peer.facts["peak_mib"],
            ),
            out,
        )
    out.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
