"""Assets llm_adapter and segment_embeddings.

In call order: the pairs and descriptions that the LLM is tuned on, then the vectors it computes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livealign.config import DatasetConfig
from livealign.dataset.corpus import FRAMES, LEXICAL, RAW, TUNED, referenced_segments
from livealign.dataset.marts import read_mart
from livealign.days import day_range
from livealign.errors import BackboneError
from livealign.files import replace_json, replaced_directory
from livealign.ids import segment_ids as segment_ids_of
from livealign.llm.backbone import Backbone, load_backbone
from livealign.llm.compaction import compact
from livealign.llm.embedding_cache import EmbeddingCache
from livealign.llm.encoder import Encoder, Progress
from livealign.llm.half_precision import narrowed
from livealign.llm.image_encoder import load_image_encoder
from livealign.llm.prefix import Pictures
from livealign.llm.ray_embedding import RayEmbedding
from livealign.llm.texts import TEXT_COLUMNS, days_with_segments, texts_of
from livealign.profiles import Profile
from livealign.release.bundle import LEXICON, Bundle
from livealign.retrain.artifacts import FRAME_IDS
from livealign.retrain.encoder_choice import with_encoder_of
from livealign.retrain.frames import embed_frames
from livealign.retrain.lexicon import day_lexicon, lexicon_of
from livealign.retrain.reading_budget import RECORD, reading_budget
from livealign.retrain.reading_rate import reading_cores, reading_rate, windows_within
from livealign.store import Store
from livealign.tuning.broadcast_pairs import choose_broadcast_pairs
from livealign.tuning.descriptions import Descriptions, choose_descriptions, read_captions
from livealign.tuning.pairs import TextPairs, choose_pairs
from livealign.tuning.pictures import with_pictures

INTERACTION_COLUMNS = ("user_id", "room_id", "segment_id", "shown_at", "click", "long_view")
EXAMPLES_SHOWN = 5
RATE_WINDOWS = 64  # of each day, the most shown, by which the reading rate is measured


@dataclass(frozen=True)
class EmbeddingReport:
    """Counts and examples of one day's embedding."""

    segments: int
    read: int  # segments whose text the LLM read, within the reading budget
    read_share: float  # of impressions, whose own segment was read
    covered_share: float  # of impressions, whose segment has the vector of its own text or of its room's last that was read
    distinct_texts: int  # of those that were read
    cached: int  # distinct texts whose tuned vector was in the cache
    empty: int
    dimensions: int
    words: int  # counted words with a vector
    frames: int  # segments with a picture, where pictures are a source
    examples: list[str]
    worker_seconds: float = 0.0  # processor seconds of the actors of Ray; 0 where this process encoded


def training_pairs(marts: Path, days: Sequence[date], profile: Profile) -> TextPairs:
    """The text pairs that the LLM is tuned on, from the training days that dbt built.

    Raises:
        TrainingError: no day was built, or the days give no pair.
    """
    built = days_with_segments(marts, days)
    if profile.finetune.broadcast_windows:
        segments = read_mart(marts, "segments", built, (*TEXT_COLUMNS, "author_id"))
        return choose_broadcast_pairs(segments, profile.segments, profile.finetune)
    return choose_pairs(
        read_mart(marts, "segments", built, TEXT_COLUMNS),
        read_mart(marts, "interactions", built, INTERACTION_COLUMNS),
        profile.segments,
        profile.finetune,
    )


def with_training_pictures(
    pairs: TextPairs,
    marts: Path,
    landing: Path,
    days: Sequence[date],
    profile: Profile,
    *,
    models: Path,
    cache: Path,
    backbone: Backbone | None = None,
) -> TextPairs:
    """The pairs with the pictures of their windows, where `frames.prefix_tokens` is not 0.

    Args:
        backbone: the LLM that is tuned, which may see the pictures itself (`load_image_encoder`).
        landing: the folder of landed pictures.
        cache: vectors of pictures that were seen before.

    Raises:
        TrainingError: no window of a pair has a picture.
    """
    if not profile.frames.prefix_tokens:
        return pairs
    images = load_image_encoder(profile.frames.backbone, models, profile.frames.prefix_tokens, backbone)
    rooms = np.concatenate([pairs.left_room, pairs.right_room])
    wanted = np.unique(segment_ids_of(rooms, np.concatenate([pairs.left_window, pairs.right_window])))
    frames = embed_frames(marts, landing, days_with_segments(marts, days), wanted, images, cache)
    sha256, tokens = images.identity.sha256, profile.frames.prefix_tokens
    return with_pictures(pairs, frames.segment_ids, frames.vectors, tokens, sha256, profile.finetune.seed)


def training_descriptions(
    marts: Path, days: Sequence[date], profile: Profile, captions: Path | None = None
) -> Descriptions | None:
    """Descriptions that the LLM learns to write; None if `finetune.description_weight` is 0.

    They come from the training days but the last, which is for validation.

    Args:
        captions: a file of a teacher's captions (`read_captions`).

    Raises:
        TrainingError: no day was built, or the captions cannot be read.
    """
    if not profile.finetune.description_weight:
        return None
    built = days_with_segments(marts, days)
    segments = read_mart(marts, "segments", built[:-1] or built, TEXT_COLUMNS)
    known = read_captions(captions) if captions else None
    return choose_descriptions(segments, profile.segments, profile.finetune, known)


def embed_segments(
    marts: Path,
    day: date,
    dataset: DatasetConfig,
    profile: Profile,
    *,
    adapter: Path,
    models: Path,
    cache: Path,
    out: Path,
    progress: Progress | None = None,
    previous: Bundle | None = None,
    learn_until: date | None = None,
    landing: Path | None = None,
) -> EmbeddingReport:
    """Embed the segments of a retrain by each source of content.

    They are the raw and the tuned LLM, counted words, and pictures where `alignment.sources` names them. A tuned LLM that reads
    pictures reads that of each window.

    Writes `<out>/{segment_ids,raw_llm,tuned_llm,lexical}.npy` and `<out>/lexicon.npz` whole; of pictures also
    `<out>/{frame_segment_ids,frames}.npy`, and of a reading budget `<out>/reading.json`. Vectors of the LLM and of pictures are
    float16, of counted words float32.

    Args:
        previous: the release whose adapter the day's continued from; its lexicon is continued too.
        learn_until: the last day that the lexicon may be learned from; None for the day before `day`.
        landing: the folder of landed pictures; None leaves pictures out.

    Raises:
        BackboneError: the adapter does not fit the backbone, or was tuned with the pictures of another image encoder.
    """
    profile = with_encoder_of(profile, adapter)
    segment_ids = referenced_segments(marts, day, dataset)
    window = day_range(day - timedelta(days=dataset.train_days), day)
    texts = texts_of(marts, segment_ids, window, profile.segments)
    backbone = load_backbone(profile.backbone, models, seeing=profile.reads_pictures)
    encoder = Encoder.load(backbone, adapter, profile.encoder, profile.segments)
    cached: list[int] = []

    def advance(done: int, total: int) -> None:
        cached.append(done)
        if progress:
            progress(done, total)

    frames = None
    if landing is not None and (profile.reads_pictures or encoder.projector is not None):
        images = load_image_encoder(profile.frames.backbone, models, profile.frames.prefix_tokens, backbone)
        if encoder.projector is not None and encoder.projector.images != images.identity.sha256:
            raise BackboneError(f"the adapter was tuned with pictures of another encoder than {images.name}; tune it fully")
        frames = embed_frames(marts, landing, window, segment_ids, images, cache, progress)
    store = Store.open(profile.machines.store)
    engine = _engine(profile, models, adapter, store)

    def inputs(rows: NDArray[np.int64]) -> tuple[list[str], Pictures | None]:
        beside = None if frames is None or encoder.projector is None else frames.beside(segment_ids[rows])
        return [texts[row] for row in rows.tolist()], beside

    most, bound = profile.reading.windows_per_day, dict[str, float]()
    if profile.reading.seconds_per_day:
        sample = reading_budget(marts, window, segment_ids, RATE_WINDOWS)
        sampled, beside = inputs(sample.read)
        rate = reading_rate(encoder, cache, sampled, sample.rooms[sample.read], engine, beside)
        cores = reading_cores(encoder, engine)
        most = windows_within(profile.reading, rate, cores)
        bound = {"seconds_per_day": profile.reading.seconds_per_day, "texts_in_a_second": round(rate * cores, 1)}
    budget = reading_budget(marts, window, segment_ids, most)
    (read_texts, beside), rooms = inputs(budget.read), budget.rooms[budget.read]
    known = EmbeddingCache(cache, store)
    raw, tuned = encoder.encode_raw_and_tuned(read_texts, advance, known, rooms, engine, beside)
    for kind in (False, True):
        compact(known.shard(encoder.version(kind), encoder.hidden_size))
    until = learn_until or day - timedelta(days=1)
    lexicon = day_lexicon(marts, window, segment_ids, texts, until, profile.lexical, lexicon_of(previous))
    with replaced_directory(out) as folder:
        if frames is not None and "frames" in profile.alignment.sources:
            np.save(folder / f"{FRAME_IDS}.npy", frames.segment_ids, allow_pickle=False)
            np.save(folder / f"{FRAMES}.npy", narrowed(frames.vectors), allow_pickle=False)
        for name, array in (("segment_ids", segment_ids), (LEXICAL, lexicon.encode(texts))):
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        for name, array in ((RAW, raw), (TUNED, tuned)):  # one after the other: of all windows they are large
            np.save(folder / f"{name}.npy", budget.for_all(array), allow_pickle=False)
        lexicon.save(folder / LEXICON)
        if profile.reading.is_bounded:
            replace_json(folder / RECORD, budget.record(most) | bound, version=1)
    return EmbeddingReport(
        segments=len(segment_ids),
        read=len(read_texts),
        read_share=budget.read_share,
        covered_share=budget.covered_share,
        distinct_texts=len(set(read_texts)),
        cached=cached[0] if cached else 0,
        empty=sum(not text for text in texts),
        dimensions=raw.shape[1],
        words=len(lexicon.words),
        frames=0 if frames is None else len(frames.segment_ids),
        examples=texts[:: max(1, len(texts) // EXAMPLES_SHOWN)][:EXAMPLES_SHOWN],
        worker_seconds=engine.processor_seconds if engine is not None else 0.0,
    )


def _engine(profile: Profile, models: Path, adapter: Path, store: Store | None) -> RayEmbedding | None:
    """The engine of the setting `machines.engine`; None for this process."""
    if profile.machines.engine == "local":
        return None
    return RayEmbedding(profile.machines, models, adapter, store)
