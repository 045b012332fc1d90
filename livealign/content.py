"""From marts to what the LLM is tuned on and to the vectors it makes: the content stage of a retrain, in call order."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from livealign.backbone import load_backbone
from livealign.broadcast_pairs import choose_broadcast_pairs
from livealign.config import DatasetConfig, Profile, SegmentConfig
from livealign.dataset import RAW, TUNED, Corpus, referenced_segments
from livealign.dataset_marts import rows_by_key
from livealign.days import day_range, partition
from livealign.descriptions import Descriptions, choose_descriptions, read_captions
from livealign.embed import Encoder, Progress
from livealign.embedding_cache import EmbeddingCache
from livealign.errors import LiveAlignError, TrainingError
from livealign.files import replaced_directory
from livealign.last_read import LastRead
from livealign.marts import built_days, read_mart
from livealign.pairs import TextPairs, choose_pairs
from livealign.segments import segment_texts

TEXT_COLUMNS = ("segment_id", "room_id", "window", "segment_index", "title", "category", "speech_text", "chat_text")
INTERACTION_COLUMNS = ("user_id", "room_id", "segment_id", "shown_at", "click", "long_view")
CONTEXT_DAYS = 1  # a room that runs over midnight has its earlier windows in the day before
EXAMPLES_SHOWN = 5

_texts: LastRead[pa.Table] = LastRead()


@dataclass(frozen=True)
class Embedded:
    """What one day's embedding did."""

    segments: int
    distinct_texts: int
    cached: int  # distinct texts whose tuned vector was there already
    empty: int
    dimensions: int
    examples: list[str]


def training_pairs(marts: Path, days: Sequence[date], profile: Profile) -> TextPairs:
    """The text pairs that the LLM is tuned on, from the training days that were built.

    Raises:
        TrainingError: none of the days was built, or no pair can be made from them.
    """
    built = _built(marts, days)
    if profile.finetune.broadcast_windows:
        segments = read_mart(marts, "segments", built, (*TEXT_COLUMNS, "author_id"))
        return choose_broadcast_pairs(segments, profile.segments, profile.finetune)
    return choose_pairs(
        read_mart(marts, "segments", built, TEXT_COLUMNS),
        read_mart(marts, "interactions", built, INTERACTION_COLUMNS),
        profile.segments,
        profile.finetune,
    )


def training_descriptions(
    marts: Path, days: Sequence[date], profile: Profile, captions: Path | None = None
) -> Descriptions | None:
    """What the LLM learns to say of moments, from the training days but the last, which is for validation; None where it is not
    asked to (`FinetuneConfig.description_weight` 0). `captions` is a file of a teacher's captions (`read_captions`).

    Raises:
        TrainingError: none of the days was built, or the captions cannot be read.
    """
    if not profile.finetune.description_weight:
        return None
    built = _built(marts, days)
    segments = read_mart(marts, "segments", built[:-1] or built, TEXT_COLUMNS)
    known = read_captions(captions) if captions else None
    return choose_descriptions(segments, profile.segments, profile.finetune, known)


def texts_of(
    marts: Path, segment_ids: NDArray[np.int64], days: Sequence[date], config: SegmentConfig, segments: pa.Table | None = None
) -> list[str]:
    """The text of each of `segment_ids` [n], which lie in `days`; a room's windows of the day before are its context.

    Args:
        segments: the mart of `days` with TEXT_COLUMNS, where the caller has read it already.

    Raises:
        TrainingError: a segment lies in none of the days.
    """
    read = _built(marts, [days[0] - timedelta(days=CONTEXT_DAYS), *days])
    files = [partition(marts, "segments", day) for day in read]

    def texts() -> pa.Table:
        if segments is None:
            return segment_texts(read_mart(marts, "segments", read, TEXT_COLUMNS), config)
        before = [read_mart(marts, "segments", [day], TEXT_COLUMNS) for day in read if day < days[0]]
        return segment_texts(pa.concat_tables([*before, segments.select(TEXT_COLUMNS)], promote_options="permissive"), config)

    table = _texts((config, *read), files, texts)
    rows = rows_by_key(table["segment_id"].to_numpy(), segment_ids)
    if (rows < 0).any():
        raise TrainingError(
            f"{(rows < 0).sum()} segments lie in none of the days {days[0]} to {days[-1]} of {marts}; build them again"
        )
    return table["text"].take(pa.array(rows)).to_pylist()


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
) -> Embedded:
    """Embed what a retrain for `day` needs, raw and tuned, and write `<out>/{segment_ids,raw_llm,tuned_llm}.npy` whole."""
    segment_ids = referenced_segments(marts, day, dataset)
    window = day_range(day - timedelta(days=dataset.train_days), day)
    texts = texts_of(marts, segment_ids, window, profile.segments)
    encoder = Encoder.load(load_backbone(profile.backbone, models), adapter, profile.encoder, profile.segments)
    cached: list[int] = []

    def advance(done: int, total: int) -> None:
        cached.append(done)
        if progress:
            progress(done, total)

    raw, tuned = encoder.encode_raw_and_tuned(texts, advance, EmbeddingCache(cache))
    with replaced_directory(out) as folder:
        for name, array in (("segment_ids", segment_ids), (RAW, raw), (TUNED, tuned)):
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
    return Embedded(
        segments=len(segment_ids),
        distinct_texts=len(set(texts)),
        cached=cached[0] if cached else 0,
        empty=sum(not text for text in texts),
        dimensions=raw.shape[1],
        examples=texts[:: max(1, len(texts) // EXAMPLES_SHOWN)][:EXAMPLES_SHOWN],
    )


def with_embeddings(corpus: Corpus, embeddings: Path) -> Corpus:
    """The corpus with the vectors that `embed_segments` wrote, by the names of the variants that paste them in.

    Raises:
        LiveAlignError: the vectors are missing or damaged.
    """
    try:
        segment_ids, raw, tuned = (
            np.load(embeddings / f"{name}.npy", allow_pickle=False) for name in ("segment_ids", RAW, TUNED)
        )
    except (OSError, ValueError, EOFError) as error:
        raise LiveAlignError(f"the vectors in {embeddings} cannot be read ({error}); run segment_embeddings again") from error
    return corpus.with_content(RAW, segment_ids, raw).with_content(TUNED, segment_ids, tuned)


def _built(marts: Path, days: Sequence[date]) -> list[date]:
    built = sorted(set(days) & set(built_days(marts, "segments")))
    if not built:
        raise TrainingError(
            f"{marts / 'segments'} holds none of the days {days[0]} to {days[-1]}; build the warehouse for them first"
        )
    return built
