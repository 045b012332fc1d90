"""A tuned LLM on words that no day before had, by the share of the change that is kept.

make retrain && .venv/bin/python -m benchmarks.quality.kept_share --shares 0 0.25 0.5 0.75 1 [--adapter FOLDER]

The topic of a held-out segment is that of the nearest class mean of training segments, in vectors whitened with a floor of 3
mean variances. Rows are the shares; share 0 is the frozen model with the adapter's token weights. Accuracy is given on rooms
whose members are new and on the others, with the difference from share 0, paired, and its 95 % interval over rooms. With
`--adapter` that adapter is measured, which another workspace may have made: then no training segment was tuned on.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from benchmarks.json_rows import JsonRows
from benchmarks.quality.retrained import Retrained, add_options, with_chosen_layers
from benchmarks.quality.topic_probes import whitened
from livealign.dataset.corpus import load_corpus
from livealign.errors import LiveAlignError
from livealign.evaluation.day_truth import read_day_truth
from livealign.llm.backbone import load_backbone, use_physical_cores
from livealign.llm.encoder import Encoder
from livealign.llm.texts import texts_of
from livealign.retrain.artifacts import DayArtifacts

FLOOR, RESAMPLED = 3.0, 2_000


def main() -> None:
    """Print and record a row for each share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75, 1.0], help="(default: %(default)s)")
    parser.add_argument("--adapter", type=Path, help="(default: that of the last retrain)")
    parser.add_argument("--train", type=int, default=2_500, help="segments (default: %(default)s)")
    parser.add_argument("--test", type=int, default=1_500, help="segments of each kind of room (default: %(default)s)")
    add_options(parser)
    arguments = parser.parse_args()
    use_physical_cores()
    home, profile, day = Retrained.of(arguments)
    out, corpus = JsonRows(arguments.json, profile.seed), load_corpus(home.marts, day, profile.dataset)
    truth = read_day_truth(home.archive, corpus)
    if truth is None or "members" not in truth.slices:
        raise LiveAlignError(f"{home.archive} has no truth of new members: simulate a platform with --new-words")
    adapter = arguments.adapter or DayArtifacts.of(home, day).adapter
    profile = with_chosen_layers(profile, adapter)  # of that workspace
    rng, is_train = np.random.default_rng(profile.seed), corpus.segment_is_train[1:]
    new = truth.slices["members"][1:] == "new"
    kinds = {"training": is_train, "new": ~is_train & new, "said before": ~is_train & ~new}
    drawn = {
        kind: rng.permutation(np.flatnonzero(part))[: arguments.train if kind == "training" else arguments.test]
        for kind, part in kinds.items()
    }
    rows = np.concatenate(list(drawn.values()))
    texts = texts_of(home.marts, corpus.segment_ids[1:][rows], [*corpus.train_days, day], profile.segments)
    topic, room, n = truth.topics[rows], corpus.segment_room_id[1:][rows], len(drawn["training"])
    backbone = load_backbone(profile.backbone, home.models)
    correct: dict[float, NDArray[np.bool_]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for share in arguments.shares:
            of_share = with_kept_share(adapter, share, Path(folder) / f"{share:g}")
            encoder = Encoder.load(backbone, of_share, profile.encoder, profile.segments)
            correct[share] = nearest_mean(encoder.encode(texts), topic, n) == topic[n:]
            print(f"share {share:<5g}", end="")
            begin = 0
            for kind in ("new", "said before"):
                part = slice(begin, begin := begin + len(drawn[kind]))
                value = float(correct[share][part].mean())
                gain, low, high = over_rooms(
                    correct[share][part] * 1.0 - correct[arguments.shares[0]][part], room[n:][part], rng
                )
                print(f"   {kind} {value:.3f} ({gain:+.3f} [{low:+.3f}, {high:+.3f}])", end="")
                out.add(f"{share:g}: {kind}", value, "share")
                out.add(f"{share:g}: {kind}, over {arguments.shares[0]:g}", gain, "share", (low, high))
            print(flush=True)
    out.write()


def with_kept_share(adapter: Path, share: float, out: Path) -> Path:
    """A copy of an adapter that keeps another share of its tuning's change."""
    shutil.copytree(adapter, out)
    file = out / "adapter_model.safetensors"
    weights = {name: weight * (share if "lora_B" in name else 1.0) for name, weight in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    return out


def nearest_mean(vectors: NDArray[np.float32], topic: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """The topic with the nearest mean, int64, of each row from `n` on.

    Means are those of the first `n` rows; nearness is the cosine of whitened vectors.
    """
    white = whitened(vectors.astype(np.float64), n, FLOOR)
    white /= np.linalg.norm(white, axis=1, keepdims=True)
    topics = np.unique(topic[:n])
    means = np.stack([white[:n][topic[:n] == one].mean(0) for one in topics])
    return topics[(white[n:] @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T).argmax(1)]


def over_rooms(gain: NDArray[np.float64], room: NDArray[np.int64], rng: np.random.Generator) -> tuple[float, float, float]:
    """Mean gain and its 95 % interval, rooms resampled."""
    of_room = np.unique(room, return_inverse=True)[1]
    summed, count = np.bincount(of_room, gain), np.bincount(of_room)
    drawn = rng.integers(len(count), size=(RESAMPLED, len(count)))
    means = summed[drawn].sum(1) / count[drawn].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(gain.mean()), float(low), float(high)


if __name__ == "__main__":
    main()
