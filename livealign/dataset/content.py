"""Put the LLM vector and the platform vector of each segment side by side.

content, sources = content_of(corpus, "tuned_llm")   # float32 [segments, Σ sources]; (576,) or (576, 128)
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.dataset.corpus import PLATFORM_CONTENT, Corpus
from livealign.errors import TrainingError


class Content(NamedTuple):
    """Content of every segment row of a corpus."""

    vectors: NDArray[np.float32]  # [segments, Σ sources]; zeros where a source lacks a segment
    sources: tuple[int, ...]  # width of each source


def content_of(corpus: Corpus, name: str) -> Content:
    """The content with this name, and beside it the platform's own if the corpus has any.

    Raises:
        TrainingError: the corpus lacks the content.
    """
    first = one_source(corpus, name)
    names = [name] + [PLATFORM_CONTENT] * (PLATFORM_CONTENT in corpus.content and name != PLATFORM_CONTENT)
    parts = [corpus.content[source] for source in names]
    return Content(np.concatenate(parts, axis=1) if len(parts) > 1 else first, tuple(part.shape[1] for part in parts))


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
