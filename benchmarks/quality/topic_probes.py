"""The topic information in a frozen LLM's vectors, by layer and pooling.

make retrain && .venv/bin/python -m benchmarks.quality.topic_probes --layers 2 4 6 8 --half-shares 1e-3 3e-4 1e-4

The probes are a linear classifier, ten nearest neighbours and 24-means. `telling` weighs tokens by their information
(`livealign/llm/pooling.py`), counted in the training segments. Neighbours are those of vectors whitened with a floor of 0.1 of
a dimension's variance, clusters with a floor of 3. TF-IDF is the baseline. `--tuned` adds the tuned vectors of the last
retrain, one window each; `--images` adds image encoders, with a column for the rooms whose pictures are scenes. Segments are
drawn by the profile's seed; with few test segments NMI is high by chance.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import normalized_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier

from benchmarks.json_rows import JsonRows
from benchmarks.quality.controls import tfidf_content
from benchmarks.quality.retrained import Retrained, add_options, scene_rooms
from livealign.dataset.columns import rows_by_key
from livealign.dataset.corpus import load_corpus
from livealign.errors import LiveAlignError
from livealign.evaluation.day_truth import read_day_truth
from livealign.evaluation.frame import SLICE_ORDER
from livealign.llm.backbone import load_backbone, use_physical_cores
from livealign.llm.encoder import Encoder
from livealign.llm.image_encoder import load_image_encoder
from livealign.llm.pooling import MEAN, TELLING, Pooling, telling_weights
from livealign.llm.prefix import tokenize
from livealign.llm.texts import texts_of
from livealign.retrain.frames import embed_frames

TOPICS, NEIGHBOURS = 24, 10


def main() -> None:
    """Print and record a row for each pooling and layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 4, 6, 8], help="to stop after (default: %(default)s)")
    parser.add_argument("--half-shares", type=float, nargs="*", default=[3e-4], help="of `telling` (default: %(default)s)")
    parser.add_argument("--train", type=int, default=1_500, help="segments (default: %(default)s)")
    parser.add_argument("--test", type=int, default=700, help="segments of the held-out day (default: %(default)s)")
    parser.add_argument("--tuned", action="store_true")
    parser.add_argument("--images", nargs="*", default=[], help="image encoders, where the platform has pictures")
    add_options(parser)
    arguments = parser.parse_args()
    use_physical_cores()
    home, profile, day = retrained = Retrained.of(arguments)
    out, corpus = JsonRows(arguments.json, profile.seed), load_corpus(home.marts, day, profile.dataset)
    truth = read_day_truth(home.archive, corpus)
    if truth is None:
        raise LiveAlignError(f"{home.archive} has no truth: only a simulated platform can be asked")
    rng, is_train = np.random.default_rng(profile.seed), corpus.segment_is_train[1:]
    drawn = [
        rng.permutation(np.flatnonzero(part))[:n] for part, n in ((is_train, arguments.train), (~is_train, arguments.test))
    ]
    rows, n = np.concatenate(drawn), len(drawn[0])
    segment_ids, topic = corpus.segment_ids[1:][rows], truth.topics[rows]
    parts = {
        value: values[1:][rows][n:] == value
        for values in truth.slices.values()
        for value in SLICE_ORDER
        if (values[1:][rows][n:] == value).any()
    }
    scenes = scene_rooms(home, day)
    if scenes is not None:
        parts["scene"] = np.isin(corpus.segment_room_id[1:][rows][n:], scenes)
    texts = texts_of(home.marts, segment_ids, [*corpus.train_days, day], profile.segments)

    def show(name: str, vectors: NDArray) -> None:
        by_probe = probes(vectors.astype(np.float64), topic, n, profile.seed, parts)
        print(f"{name:<28}" + "".join(f"{value:>9.3f}" for value in by_probe.values()), flush=True)
        for probe, value in by_probe.items():
            out.add(f"{name}: {probe}", value, "NMI" if probe == "NMI" else "share")

    print(f"{n:,} training and {len(rows) - n:,} test segments")
    print(*(f"{part.sum():,} {value}" for value, part in parts.items()), sep=", ")
    print(f"{'':<28}" + "".join(f"{name.split()[-1]:>9}" for name in ("linear", "kNN", "NMI", *parts)))
    backbone = load_backbone(profile.backbone, home.models)
    tokens = tokenize(backbone, texts[:n], profile.segments.token_budget)
    weights = {share: telling_weights(tokens, len(backbone.tokenizer), share) for share in arguments.half_shares}
    ways = {MEAN: Pooling(MEAN)}
    ways |= {f"{TELLING}, s = {share:g}": Pooling(TELLING, weight.to(backbone.device)) for share, weight in weights.items()}
    for layer in arguments.layers:
        config = replace(profile.encoder, exit_layer=layer, first_adapted_layer=0)
        for way, pooling in ways.items():
            encoder = Encoder(backbone, None, None, pooling, config, profile.segments.token_budget)
            show(f"layer {layer}, {way}", encoder.encode(texts))
    show("TF-IDF", tfidf_content(texts, np.arange(len(rows)) < n))
    for name in arguments.images:
        encoder = load_image_encoder(name, home.models)
        days, ordered = [*corpus.train_days, day], np.sort(segment_ids)
        frames = embed_frames(home.marts, home.landing, days, ordered, encoder, home.embedding_cache)
        vectors = np.zeros((len(rows), encoder.width), dtype=np.float32)
        place = rows_by_key(frames.segment_ids, segment_ids)
        vectors[place >= 0] = frames.vectors[place[place >= 0]]
        show(f"pictures, {name}", vectors)
    if arguments.tuned:
        known, tuned = (
            np.load(retrained.embeddings / f"{name}.npy", allow_pickle=False) for name in ("segment_ids", "tuned_llm")
        )
        show("tuned LLM", tuned[rows_by_key(known, segment_ids)])
    out.write()


def probes(vectors: NDArray, topic: NDArray, n: int, seed: int, parts: Mapping[str, NDArray[np.bool_]]) -> dict[str, float]:
    """Accuracy of two classifiers and NMI of clusters, on the test rows from `n` on.

    Args:
        parts: rows among the test rows, on which the linear classifier's accuracy is given as well.
    """
    near, far = whitened(vectors, n, 0.1), whitened(vectors, n, 3.0)
    correct = RidgeClassifier(alpha=10.0).fit(near[:n], topic[:n]).predict(near[n:]) == topic[n:]
    neighbours = KNeighborsClassifier(NEIGHBOURS, metric="cosine").fit(near[:n], topic[:n]).score(near[n:], topic[n:])
    clusters = KMeans(min(TOPICS, len(topic) - n), n_init=5, random_state=seed).fit_predict(far[n:])
    agreement = float(normalized_mutual_info_score(topic[n:], clusters))
    by_part = {name: float(correct[part].mean()) for name, part in parts.items()}
    return {"linear": float(correct.mean()), "kNN": neighbours, "NMI": agreement, **by_part}


def whitened(vectors: NDArray, n: int, floor: float) -> NDArray:
    """The vectors with the directions of the first `n` rows at equal variance.

    `floor` times the mean variance is added to the variance of each dimension.
    """
    centred = vectors - vectors[:n].mean(0)
    variance, directions = np.linalg.eigh(np.cov(centred[:n].T))
    return centred @ directions / np.sqrt(variance.clip(min=0) + floor * variance.mean())


if __name__ == "__main__":
    main()
