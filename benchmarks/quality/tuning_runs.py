"""One tuning run of the LLM with other settings, on the pairs of the last retrain.

make retrain && .venv/bin/python -m benchmarks.quality.tuning_runs --steps 240 --batch-size 32 [--learning-rate 5e-3] [--ranked]

Prints losses, and how often the partner of a pair is nearest. With `--ranked` the segments are embedded again and the tuned
vectors are given to the ranker (`tuned_llm`), beside the frozen ones (`raw_llm`). Other settings are the profile's.
"""

import argparse
import tempfile
from dataclasses import replace
from datetime import timedelta
from math import log
from pathlib import Path

from benchmarks.json_rows import JsonRows
from benchmarks.quality.retrained import Retrained, add_options
from livealign.dataset.corpus import load_corpus
from livealign.evaluation.frame import CLICK
from livealign.llm.backbone import choose_device, load_backbone, use_physical_cores
from livealign.metrics import gauc, user_auc
from livealign.profiles import Profile
from livealign.ranking.variants import train_variant
from livealign.retrain.content import embed_segments, training_pairs
from livealign.retrain.corpus import with_embeddings
from livealign.tuning.adapter import tune_adapter

READING = {"pooling": str, "exit_layer": int, "first_adapted_layer": int}
SETTINGS = {"steps": int, "batch_size": int, "learning_rate": float, "temperature": float, "whitening_floor": float}


def main() -> None:
    """Print and record each validation, then the ranker's GAUC."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, kind in (READING | SETTINGS).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind)
    parser.add_argument("--ranked", action="store_true", help="rank with the vectors, too")
    add_options(parser)
    arguments = parser.parse_args()
    use_physical_cores()
    retrained = Retrained.of(arguments)
    reading, tuned = (
        {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
        for names in (READING, SETTINGS)
    )
    profile = retrained.profile
    profile = replace(profile, encoder=replace(profile.encoder, **reading), finetune=replace(profile.finetune, **tuned))
    home, day, tuning = retrained.home, retrained.day, profile.finetune
    out = JsonRows(arguments.json, tuning.seed)
    days = [day - timedelta(days=back) for back in range(profile.dataset.train_days, 0, -1)]
    with tempfile.TemporaryDirectory() as folder:
        pairs, adapter = training_pairs(home.marts, days, profile), Path(folder) / "adapter"
        backbone = load_backbone(profile.backbone, home.models)
        report = tune_adapter(backbone, pairs, profile.segments, profile.encoder, tuning, adapter)
        print(f"validated on {report.validated_on}, chance {log(2 * tuning.batch_size - 1):.3f}, {report.seconds:.0f} s")
        print(f"{'steps':>6}{'loss':>9}{'partner nearest':>17}")
        for steps, loss, nearest in zip(
            report.validation_steps, report.validation_losses, report.validation_accuracy, strict=True
        ):
            print(f"{steps:>6}{loss:>9.3f}{nearest:>17.3f}")
            out.add(f"{steps} steps: validation loss", loss, "nats")
            out.add(f"{steps} steps: partner nearest", nearest, "share")
        if arguments.ranked:
            show_ranked(retrained, profile, Path(folder), out)
    out.write()


def show_ranked(retrained: Retrained, profile: Profile, folder: Path, out: JsonRows) -> None:
    """Print and record the GAUC of the ranker with frozen and with tuned vectors."""
    home, day = retrained.home, retrained.day
    places = {"adapter": folder / "adapter", "models": home.models, "cache": folder / "cache", "out": folder / "embeddings"}
    embed_segments(home.marts, day, profile.dataset, profile, **places)
    corpus = with_embeddings(load_corpus(home.marts, day, profile.dataset), places["out"])
    for name in ("raw_llm", "tuned_llm"):
        score = train_variant(name, corpus, profile, device=choose_device()).score(corpus.test)[:, CLICK]
        value = gauc(user_auc(score, corpus.test.label("click"), corpus.test.user_id))
        print(f"{name:<12} GAUC {value:.4f}", flush=True)
        out.add(name, value, "GAUC")


if __name__ == "__main__":
    main()
