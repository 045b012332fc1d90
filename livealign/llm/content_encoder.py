"""The encoder of a release's texts: a vector from each source of content, side by side.

encoder = ContentEncoder(("llm", "lexical"), llm, lexicon)
content = encoder.encode(texts)    # float32 [n, Σ widths], the order that the towers read
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livealign.errors import BackboneError
from livealign.llm.backbone import Backbone
from livealign.llm.embedding_cache import EmbeddingCache
from livealign.llm.encoder import Encoder
from livealign.llm.lexical import Lexicon


@dataclass
class ContentEncoder:
    """The encoders of the sources that a release reads; None for another source."""

    sources: tuple[str, ...]
    llm: Encoder | None
    lexicon: Lexicon | None

    def __post_init__(self) -> None:
        missing = [
            name for name, part in (("llm", self.llm), ("lexical", self.lexicon)) if name in self.sources and part is None
        ]
        if missing:
            raise BackboneError(f"the release reads the source '{missing[0]}' and has no encoder for it; build it again")

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers of each source in a row of content."""
        width = {
            "llm": 0 if self.llm is None else self.llm.hidden_size,
            "lexical": 0 if self.lexicon is None else self.lexicon.width,
        }
        return tuple(width[source] for source in self.sources)

    @property
    def width(self) -> int:
        """Numbers of a row of content."""
        return sum(self.widths)

    @property
    def backbone(self) -> Backbone | None:
        """The loaded language model, for another release that uses it."""
        return None if self.llm is None else self.llm.backbone

    @property
    def space(self) -> tuple[str, ...]:
        """Name of the space of the vectors: vectors of encoders of one space may be averaged."""
        llm = "" if self.llm is None else self.llm.version(True)
        return (*self.sources, llm, "" if self.lexicon is None else self.lexicon.space)

    def encode(
        self, texts: Sequence[str], cache: EmbeddingCache | None = None, rooms: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Texts → float32 [n, Σ widths].

        Args:
            cache: of the LLM's vectors.
            rooms: of the texts [n], where the LLM's vectors must not depend on the number of cores.
        """
        parts = []
        for source in self.sources:
            if source == "llm" and self.llm is not None:
                parts.append(self.llm.encode(texts, cache=cache, rooms=rooms))
            elif source == "lexical" and self.lexicon is not None:
                parts.append(self.lexicon.encode(texts))
        return np.concatenate(parts, axis=1)
