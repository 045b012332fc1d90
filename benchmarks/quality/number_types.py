"""The quality of int8 against floats: how well windows find their broadcast, and GAUC.

make retrain && .venv/bin/python -m benchmarks.quality.number_types --windows 1200 --days 3 --seeds 2

With the adapter of the last retrain, on the day that it held out. Windows: words alone, tuned vectors, whitened, the mean
reciprocal rank of `livealign backbone compare`; the interval is over authors. GAUC: every text of the days is read again in
int8; towers, codes and ranker are trained on those vectors and on the retrain's; the interval is over users, of the mean over
the seeds. The content check is left out, so that content is always used. `--seeds 0` leaves GAUC out. `--stored`
measures what files of fewer digits than float16 would cost: the retrain's vectors, rounded.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.json_rows import BOOTSTRAP, JsonRows
from benchmarks.quality.reading_budget import SOURCES, mean_auc
from benchmarks.quality.retrained import Retrained, add_options
from livealign.config import INT8
from livealign.dataset.columns import rows_by_key
from livealign.dataset.corpus import RAW, TUNED, Corpus
from livealign.dataset.marts import read_mart
from livealign.llm.backbone import load_backbone, use_physical_cores
from livealign.llm.embedding_cache import EmbeddingCache
from livealign.llm.encoder import Encoder
from livealign.llm.texts import TEXT_COLUMNS, texts_of
from livealign.metrics import gauc, paired_bootstrap
from livealign.retrain.artifacts import DayArtifacts
from livealign.tuning.comparison_sample import choose_windows
from livealign.tuning.content_measures import measure, whitened


def main() -> None:
    """Print and record both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--windows", type=int, default=1_200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--content", choices=SOURCES, default="llm", help="the LLM beside counted words, or alone")
    parser.add_argument("--stored", nargs="*", choices=("bfloat16",), default=[], help="rounds the retrain's vectors")
    add_options(parser)
    arguments = parser.parse_args()
    use_physical_cores()
    home, profile, day = retrained = Retrained.of(arguments)
    profile = replace(profile, alignment=replace(profile.alignment, check=False))
    out, backbone = JsonRows(arguments.json, profile.seed), load_backbone(profile.backbone, home.models)
    adapter, floats = DayArtifacts.of(home, day).adapter, str(backbone.dtype).removeprefix("torch.")
    encoders = {
        name: Encoder.load(backbone, adapter, config, profile.segments)
        for name, config in ((floats, profile.encoder), (INT8, replace(profile.encoder, number_type=INT8)))
    }
    corpus = retrained.corpus(profile)
    days = [*corpus.train_days, corpus.day]
    sample = choose_windows(
        read_mart(home.marts, "segments", days, [*TEXT_COLUMNS, "author_id"]), profile.segments, arguments.windows, profile.seed
    )
    scores = {}
    for name, encoder in encoders.items():
        measures = measure(whitened(encoder.encode(sample.texts), profile.finetune.whitening_floor), sample)
        scores[name] = measures.score
        print(
            name, ", ".join(f"{what} {value:.4f}" for what, value in measures.means().items() if value is not None), flush=True
        )
        out.add(f"{name}: windows find their broadcast and author", float(measures.score.mean()), "mean reciprocal rank")
    show(out, f"{INT8} over {floats}: windows", scores[INT8], scores[floats], np.ones(len(scores[INT8])))
    if arguments.seeds:
        ids, variant = corpus.segment_ids[1:], SOURCES[arguments.content]
        texts = texts_of(home.marts, ids, days, profile.segments)
        corpora = {floats: corpus}
        for name in arguments.stored:
            corpora[f"stored in {name}"] = with_vectors(corpus, ids, [rounded(one, name) for one in own(retrained, ids)])
        vectors = encoders[INT8].encode_raw_and_tuned(texts, cache=EmbeddingCache(home.embedding_cache))
        corpora[INT8] = with_vectors(corpus, ids, vectors)
        baseline = None
        for name, one in corpora.items():
            auc = mean_auc(variant, one, profile, arguments.seeds)
            baseline = baseline or auc
            print(f"{name}: GAUC {gauc(auc):.4f}", flush=True)
            out.add(f"{name}: GAUC of {variant}", gauc(auc), "GAUC")
            show(out, f"{name} over {floats}: GAUC", auc.auc, baseline.auc, baseline.impressions)
    out.write()


def own(retrained: Retrained, ids: NDArray[np.int64]) -> list[NDArray]:
    """The retrain's own raw and tuned vectors of these segments."""
    rows = rows_by_key(np.load(retrained.embeddings / "segment_ids.npy", allow_pickle=False), ids)
    return [np.load(retrained.embeddings / f"{name}.npy", allow_pickle=False)[rows] for name in (RAW, TUNED)]


def rounded(vectors: NDArray, name: str) -> NDArray[np.float32]:
    """The vectors as a file of this number type would give them back."""
    return torch.from_numpy(vectors).to(getattr(torch, name)).float().numpy()


def with_vectors(corpus: Corpus, ids: NDArray[np.int64], vectors: Sequence[NDArray]) -> Corpus:
    """The corpus with other raw and tuned vectors."""
    for name, of_kind in zip((RAW, TUNED), vectors, strict=True):
        corpus = corpus.with_content(name, ids, of_kind)
    return corpus


def show(out: JsonRows, name: str, ours: NDArray, theirs: NDArray, weights: NDArray) -> None:
    """Print and record a mean difference with its interval."""
    found = paired_bootstrap(ours, theirs, weights, 2_000, out.seed)
    print(f"{name} {found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]", flush=True)
    out.add(name, found.difference, "difference", (found.low, found.high), BOOTSTRAP)


if __name__ == "__main__":
    main()
