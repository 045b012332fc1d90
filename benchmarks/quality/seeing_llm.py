"""Pictures that the LLM reads, beside pictures as a gated source, on a retrained day.

make retrain SET='alignment.sources=["llm","lexical","frames"]'
python -m benchmarks.quality.seeing_llm --folder DIR --seeds 3

Tunes an adapter with a projector on the training days as a retrain with `frames.prefix_tokens` would, embeds all segments with
their pictures, and trains the full method on

- texts: the retrain's own LLM and counted words (`text_only`),
- gated: the same and the pictures behind a gate of their own (`text_frames`),
- shuffled: as gated, pictures permuted among an author's segments,
- llm: the LLM that reads pictures, and counted words,
- both: that LLM, counted words, and the pictures behind their gate.

Prints GAUC, and the paired gains over `texts` and over `gated`, overall, by how much was said and by the kind of pictures. The
adapter and the vectors stay in the folder and are used again with the same settings.
"""

import argparse
import hashlib
import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.json_rows import JsonRows
from benchmarks.quality.retrained import Retrained, add_options, kinds_of_pictures, with_frames
from benchmarks.quality.variants import PICTURES, mean_auc, print_pairs
from livealign.dataset.corpus import TUNED, Corpus
from livealign.days import day_range
from livealign.evaluation.day_truth import read_day_truth
from livealign.evaluation.frame import CLICK, held_out_frame
from livealign.llm.backbone import choose_device, load_backbone, use_physical_cores
from livealign.llm.embedding_cache import EmbeddingCache
from livealign.llm.encoder import Encoder
from livealign.llm.image_encoder import load_image_encoder
from livealign.llm.texts import texts_of
from livealign.metrics import gauc, user_auc
from livealign.profiles import Profile, load_profile
from livealign.ranking.variants import train_variant
from livealign.retrain.content import training_pairs, with_training_pictures
from livealign.retrain.frames import embed_frames
from livealign.tuning.adapter import tune_adapter

PAIRS = (("texts", "gated"), ("texts", "shuffled"), ("texts", "llm"), ("texts", "both"), ("gated", "llm"), ("gated", "both"))


def main() -> None:
    """Tune, embed, train and score; print and record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_options(parser)
    parser.add_argument("--folder", type=Path, required=True, help="of the adapter and its vectors")
    parser.add_argument("--tokens", type=int, default=4, help="of a picture")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    use_physical_cores()
    retrained = Retrained.of(arguments)
    home, profile = retrained.home, retrained.profile
    frames = replace(profile.frames, prefix_tokens=arguments.tokens)
    profile = replace(profile, frames=frames, alignment=replace(profile.alignment, sources=("llm", "lexical", "frames")))
    out = JsonRows(arguments.json, profile.seed)
    corpus = with_frames(retrained.corpus(profile), home, profile)
    vectors = seeing_vectors(retrained._replace(profile=profile), corpus, arguments.folder)
    seeing = corpus.with_content(TUNED, corpus.segment_ids[1:], vectors)
    variants = {"texts": (corpus, "text_only"), "gated": (corpus, "text_frames"), "shuffled": (corpus, "frames_shuffled")}
    variants |= {"llm": (seeing, "text_only"), "both": (seeing, "text_frames")}
    known = read_day_truth(home.archive, corpus)
    frame = held_out_frame(corpus, home.marts, profile.evaluation, known)
    kinds = kinds_of_pictures(home, corpus)
    if kinds is not None:
        frame = replace(frame, slices={**frame.slices, "pictures": kinds})
    label, table = np.asarray(frame.labels["click"]), {}
    for name, (of_variant, variant) in variants.items():
        scores = []
        for seed in range(arguments.seeds):
            trained = train_variant(variant, of_variant, profile, profile.seed + seed, device=choose_device())
            scores.append(trained.score(of_variant.test)[:, CLICK])
            print(f"trained {name}, seed {profile.seed + seed}", flush=True)
        table[name] = np.stack(scores)
        users = user_auc(label, label, frame.user)._replace(auc=mean_auc(table[name], label, frame.user))
        value = gauc(users)
        print(f"{name}: GAUC {value:.4f}")
        out.add(f"{name}: GAUC", value, "GAUC")
    print_pairs(table, frame, np.ones(len(frame), bool), PAIRS, "all", out)
    for name in (name for name in PICTURES if name in frame.slices):
        for value in np.unique(frame.slices[name]).tolist():
            print_pairs(table, frame, np.asarray(frame.slices[name]) == value, PAIRS, value, out)
    out.write()


def adapter_in(folder: Path, profile: Profile, day: date) -> Path:
    """The place of the adapter of these settings and this day."""
    settings = json.dumps([str(day), profile.of_a_release()], sort_keys=True, default=str)
    return folder / f"adapter-{hashlib.sha256(settings.encode()).hexdigest()[:12]}"


def seeing_vectors(retrained: Retrained, corpus: Corpus, folder: Path) -> NDArray[np.float32]:
    """The vectors [segments − 1, hidden] of an LLM that is tuned with pictures."""
    home, profile = retrained.home, retrained.profile
    backbone, adapter = load_backbone(profile.backbone, home.models, seeing=True), adapter_in(folder, profile, corpus.day)
    if not adapter.exists():
        history = load_profile(profile.name).dataset.train_days  # as the retrain's own adapter, whatever the towers learn from
        days = day_range(corpus.day - timedelta(days=history), corpus.day - timedelta(days=1))
        pairs = training_pairs(home.marts, days, profile)
        places = {"models": home.models, "cache": home.embedding_cache}
        pairs = with_training_pictures(pairs, home.marts, home.landing, days, profile, **places, backbone=backbone)
        report = tune_adapter(backbone, pairs, profile.segments, profile.encoder, profile.finetune, adapter)
        losses = report.validation_losses
        print(f"tuned in {report.seconds:.0f} s, validation loss {losses[0]:.3f} → {min(losses):.3f}")
    segment_ids, days = corpus.segment_ids[1:], [*corpus.train_days, corpus.day]
    images = load_image_encoder(profile.frames.backbone, home.models, profile.frames.prefix_tokens, backbone)
    frames = embed_frames(home.marts, home.landing, days, segment_ids, images, home.embedding_cache)
    texts = texts_of(home.marts, segment_ids, days, profile.segments)
    encoder = Encoder.load(backbone, adapter, profile.encoder, profile.segments)
    rooms, beside = corpus.segment_room_id[1:], frames.beside(segment_ids)
    return encoder.encode(texts, cache=EmbeddingCache(folder / "cache"), rooms=rooms, pictures=beside)


if __name__ == "__main__":
    main()
