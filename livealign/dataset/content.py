"""What tells of a room-moment: the LLM's vector and, where the platform has some of its own, that one, side by side.

content, sources = joined(corpus, "tuned_llm")   # float32 [segments, Σ sources]; (576,) or (576, 128)
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.dataset.corpus import PLATFORM_CONTENT, Corpus
from livealign.errors import TrainingError


class Content(NamedTuple):
    """Content of every segment row of a corpus."""

    vectors: NDArray[np.float32]  # [segments, Σ sources]; zeros where a source has nothing of a segment
    sources: tuple[int, ...]  # the width of each


def joined(corpus: Corpus, name: str) -> Content:
    """The content of that name, the platform's own beside it where the corpus has any.

    Raises:
        TrainingError: the corpus lacks the content.
    """
    first = content_named(corpus, name)
    names = [name] + [PLATFORM_CONTENT] * (PLATFORM_CONTENT in corpus.content and name != PLATFORM_CONTENT)
    parts = [corpus.content[one] for one in names]
    return Content(np.concatenate(parts, axis=1) if len(parts) > 1 else first, tuple(part.shape[1] for part in parts))


def content_named(corpus: Corpus, name: str) -> NDArray[np.float32]:
    """[segments, d]; raises TrainingError where the corpus lacks it."""
    if name not in corpus.content:
        raise TrainingError(f"the corpus has no content '{name}' (it has {sorted(corpus.content)}); embed the segments first")
    return corpus.content[name]


def fitted(content: NDArray, width: int) -> NDArray[np.float32]:
    """Content [n, d] as rows of `width`: sources that are missing at the end are empty, those beyond it are left out."""
    rows = np.asarray(content[:, :width], dtype=np.float32)
    return rows if rows.shape[1] == width else np.pad(rows, ((0, 0), (0, width - rows.shape[1])))
