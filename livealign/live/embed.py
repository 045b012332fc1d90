"""Embed segments from outside the live state."""

from collections.abc import Sequence

import numpy as np

from livealign.errors import BackboneError
from livealign.live.answers import EmbeddedSegments, SegmentText
from livealign.live.serving import Serving
from livealign.llm.segment_text import WindowText, compose_text


def embed_segments(serving: Serving, segments: Sequence[SegmentText]) -> EmbeddedSegments:
    """Embeddings, aligned vectors and codes of segments given as text.

    Raises:
        BackboneError: the release's backbone is not on this machine.
    """
    if serving.followed:
        raise BackboneError("this process ranks and loads no language model; ask a reader")
    if serving.refresher is None:
        raise BackboneError(serving.problem or "the release has no encoder")
    config = serving.refresher.segments
    texts = []
    for segment in segments:
        age = 60 * segment.minute // config.window_seconds
        text = WindowText(age, age, segment.title, segment.category, segment.speech, tuple(segment.chat))
        texts.append(compose_text(text, (), config))
    embeddings = serving.refresher.encode(texts)
    authors = np.array([-1 if segment.author_id is None else segment.author_id for segment in segments], dtype=np.int64)
    vectors, codes = serving.recommender.aligned(authors, embeddings)
    return EmbeddedSegments(embeddings, vectors, codes, [serving.recommender.names(path) for path in codes.tolist()])
