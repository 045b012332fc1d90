"""Put the vectors of a segment side by side: LLM, counted words, pictures, platform.

content, sources = content_of(corpus, "tuned_llm", "lexical")   # float32 [segments, Σ sources]; (576, 128)
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.config import pictures_last
from livealign.dataset.corpus import FRAMES, LEXICAL, PLATFORM_CONTENT, TUNED, Corpus
from livealign.errors import TrainingError

_CONTENT_OF_SOURCE = {"llm": TUNED, "lexical": LEXICAL, "frames": FRAMES}  # by the name of `alignment.sources`


class Content(NamedTuple):
    """Content of every segment row of a corpus."""

    vectors: NDArray[np.float32]  # [segments, Σ sources]; zeros where a source lacks a segment
    sources: tuple[int, ...]  # width of each source


def content_names(sources: Sequence[str]) -> tuple[str, ...]:
    """The names in `Corpus.content` of these `alignment.sources`; pictures come last."""
    return tuple(_CONTENT_OF_SOURCE[source] for source in pictures_last(sources))


def content_of(corpus: Corpus, *names: str) -> Content:
    """The content with these names, and beside it the platform's own if the corpus has any.

    Raises:
        TrainingError: the corpus lacks one of them.
    """
    every = [*names] + [PLATFORM_CONTENT] * (PLATFORM_CONTENT in corpus.content and PLATFORM_CONTENT not in names)
    parts = [one_source(corpus, name) for name in every]
    return Content(np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0], tuple(part.shape[1] for part in parts))


def own_content(corpus: Corpus, sources: Sequence[str]) -> NDArray[np.float32]:
    """Content of texts and pictures, without the platform's: [segments, Σ sources].

    It is what the running service computes too.

    Raises:
        TrainingError: the corpus lacks a source.
    """
    return np.concatenate([one_source(corpus, name) for name in content_names(sources)], axis=1)


def one_source(corpus: Corpus, name: str) -> NDArray[np.float32]:
    """The content with this name alone: [segments, d].

    Raises:
        TrainingError: the corpus lacks the content.
    """
    if name not in corpus.content:
        raise TrainingError(f"the corpus has no content '{name}' (it has {sorted(corpus.content)}); embed the segments first")
    return corpus.content[name]


def pad_or_cut(content: NDArray, width: int) -> NDArray[np.float32]:
    """Content [n, d] as rows of `width`.

    Missing sources at the end become zeros; sources beyond `width` are cut off.
    """
    rows = np.asarray(content[:, :width], dtype=np.float32)
    return rows if rows.shape[1] == width else np.pad(rows, ((0, 0), (0, width - rows.shape[1])))
