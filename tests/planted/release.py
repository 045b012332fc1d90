"""The planted marts as a platform that can be served: the mart rooms, titles, and a release."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from livealign.codes.names import SegmentsOf, name_codes
from livealign.dataset.corpus import Corpus, load_corpus
from livealign.errors import BundleError
from livealign.frames.decode import SIDE, Pixels
from livealign.llm.image_encoder import load_image_encoder
from livealign.llm.lexical import fit_lexicon
from livealign.profiles import load_profile
from livealign.ranking.variants import TrainedVariant, train_variant
from livealign.release.bundle import ALIGNMENT, CODE_NAMES, CODEBOOK, LEXICON, RANKER, VOCABULARY, write_bundle
from livealign.release.contents import CodedSegmentRows, rows_with_content, write_vocabulary
from livealign.release.snapshot import busiest_time, write_snapshot
from tests.planted.marts import WINDOW, Planted, plant_marts

WORDS = ("chess", "boxing", "karaoke", "baking", "racing", "painting", "yoga", "poker")  # a name for each topic


def plant_platform(marts: Path, **sizes: int) -> Planted:
    """`plant_marts`, with segments.ended_at and the mart rooms added."""
    planted = plant_marts(marts, **sizes)
    for path in sorted((marts / "segments").glob("dt=*/part-0.parquet")):
        segments = pq.ParquetFile(path).read()
        started = segments["started_at"].cast(pa.int64())
        ended = pc.add(started, WINDOW)
        segments = segments.append_column("ended_at", ended.cast(pa.timestamp("ms")))
        segments = segments.append_column("title", pa.array([f"room {room}" for room in segments["room_id"].to_pylist()]))
        segments = segments.append_column("category", pa.nulls(len(segments), pa.string()))
        pq.write_table(segments, path)
        rooms = (
            pa.table({"room_id": segments["room_id"], "author_id": segments["author_id"], "start": started, "end": ended})
            .group_by(["room_id", "author_id"])
            .aggregate([("start", "min"), ("end", "max")])
        )
        n = rooms.num_rows
        target = marts / "rooms" / path.parent.name / path.name
        target.parent.mkdir(parents=True)
        pq.write_table(
            pa.table(
                {
                    "room_id": rooms["room_id"],
                    "author_id": rooms["author_id"],
                    "title": [f"room {room_id}" for room_id in rooms["room_id"].to_pylist()],
                    "category": pa.nulls(n, pa.string()),
                    "language": ["en"] * n,
                    "started_at": rooms["start_min"].cast(pa.timestamp("ms")),
                    "ended_at": rooms["end_max"].cast(pa.timestamp("ms")),
                }
            ),
            target,
        )
    return planted


def planted_text(topic: int) -> str:
    """The text of a planted segment, which names its topic."""
    return f"the host plays {WORDS[topic]} while viewers cheer"


def planted_picture(topic: int) -> Pixels:
    """A picture of one colour that shows the topic."""
    colour = np.random.default_rng([4, topic]).integers(256, size=3, dtype=np.uint8)
    return np.broadcast_to(colour, (SIDE, SIDE, 3)).copy()


def plant_release(
    folder: Path, planted: Planted, at: int | None = None, name: str = "aligned_codes", frames: bool = False
) -> "PlantedRelease":
    """Train the tiny profile on the planted platform and write its release to `folder/releases`.

    `at`: time of its snapshot, epoch milliseconds; the busiest time of the last day if it is left out. `frames`: whether it
    reads pictures too, which are of one colour for each topic.
    """
    day, profile = planted.days[-1], load_profile("tiny")
    if frames:
        profile = replace(profile, alignment=replace(profile.alignment, sources=("llm", "lexical", "frames")))
    corpus = load_corpus(planted.marts, day, profile.dataset)
    corpus = corpus.with_content("tuned_llm", planted.segment_ids, planted.vectors)
    text_of = dict(zip(planted.segment_ids.tolist(), map(planted_text, planted.segment_topic.tolist()), strict=True))
    texts = [text_of[segment] for segment in corpus.segment_ids[1:].tolist()]
    lexicon = fit_lexicon(texts, corpus.segment_room_id[1:], profile.lexical)
    corpus = corpus.with_content("lexical", corpus.segment_ids[1:], lexicon.encode(texts))
    if frames:
        colours = np.stack([planted_picture(topic) for topic in range(len(WORDS))])
        images = load_image_encoder("pixels", folder)
        corpus = corpus.with_content("frames", planted.segment_ids, images.encode(colours)[planted.segment_topic])
    trained = train_variant(name, corpus, profile)
    segments = coded_segment_rows(trained, corpus)
    rows = corpus.segment_rows(segments.segment_ids)
    origin = SegmentsOf(*(ids[rows] for ids in (corpus.segment_room_id, corpus.segment_author_id, corpus.segment_started_at)))
    names = name_codes(segments.codes, [text_of[segment] for segment in segments.segment_ids.tolist()], origin)
    parts = write_models(folder / "models", trained, corpus, names)
    lexicon.save(folder / "models" / LEXICON)
    parts[LEXICON] = folder / "models" / LEXICON
    at = busiest_time(planted.marts, day) if at is None else at
    parts["snapshot"] = write_snapshot(
        folder / "snapshot", planted.marts, at, *segments, history_length=profile.dataset.history_length
    )
    assert trained.codebook is not None
    fields = {
        "data_window": {"start": planted.days[0].isoformat(), "end": day.isoformat()},
        "platform": "planted",
        "profile": profile.name,
        "config": profile.to_dict(),
        "backbone": {"id": "planted", "sha256": ""},
        "seeds": {"alignment": profile.alignment.seed},
        "metrics": {},
        "codebook_version": trained.codebook.version,
        **({"image_backbone": images.reference()} if frames else {}),
    }
    return PlantedRelease(write_bundle(folder / "releases", parts, fields), at, corpus, trained)


def write_models(folder: Path, trained: TrainedVariant, corpus: Corpus, code_names: Mapping[str, str]) -> dict[str, Path]:
    """Write the models, vocabularies and code names of a release into `folder`.

    Args:
        trained: an aligned variant with codes (variants.FULL_METHOD).
        code_names: by code path (`codes.names.name_codes`).

    Returns:
        Name in the bundle → file or folder, for `bundle.write_bundle`.

    Raises:
        BundleError: the variant has no alignment, codebook or ranker.
    """
    if trained.alignment is None or trained.codebook is None or trained.ranker is None:
        raise BundleError(f"'{trained.name}' cannot be served: a release needs an alignment, a codebook and a ranker")
    folder.mkdir(parents=True, exist_ok=True)
    trained.alignment.save(folder / ALIGNMENT)
    trained.codebook.save(folder / CODEBOOK)
    trained.ranker.save(folder / RANKER)
    (folder / CODE_NAMES).write_text(json.dumps(code_names, indent=0, ensure_ascii=False) + "\n")
    write_vocabulary(folder / VOCABULARY, corpus)
    return {name: folder / name for name in (ALIGNMENT, CODEBOOK, RANKER, CODE_NAMES, VOCABULARY)}


def coded_segment_rows(trained: TrainedVariant, corpus: Corpus) -> CodedSegmentRows:
    """Vectors and codes of the corpus' segments with content, for `write_snapshot`."""
    content, (vectors, codes) = trained.content, trained.items
    if content is None or vectors is None or codes is None:
        raise BundleError(f"'{trained.name}' cannot be served: it has no aligned vectors with codes")
    return rows_with_content(corpus, content, vectors, codes)


class PlantedRelease(NamedTuple):
    """A release, and what it was made from."""

    bundle: Path
    taken_at: int  # time of its snapshot, epoch milliseconds
    corpus: Corpus
    trained: TrainedVariant
