"""The encoder of a release's texts and pictures: a vector from each source, side by side.

encoder = ContentEncoder(("llm", "lexical"), llm, lexicon)
content = encoder.encode(texts)    # float32 [n, Σ widths of texts], the order that the towers read
pictures = encoder.see(pixels)     # float32 [n, width of pictures]; as a source they come last

An LLM that was tuned with pictures reads those of its texts too: `encoder.encode(texts, pictures=…)`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livealign.config import pictures_last
from livealign.errors import BackboneError
from livealign.frames.decode import Pixels
from livealign.llm.backbone import Backbone
from livealign.llm.embedding_cache import EmbeddingCache
from livealign.llm.encoder import Encoder
from livealign.llm.image_encoder import ImageEncoder
from livealign.llm.lexical import Lexicon
from livealign.llm.prefix import Pictures


@dataclass
class ContentEncoder:
    """The encoders of the sources that a release reads; None for another source."""

    sources: tuple[str, ...]
    llm: Encoder | None
    lexicon: Lexicon | None
    images: ImageEncoder | None = None

    def __post_init__(self) -> None:
        self.sources = pictures_last(self.sources)
        parts = {"llm": self.llm, "lexical": self.lexicon, "frames": self.images}
        missing = [name for name, part in parts.items() if name in self.sources and part is None]
        if missing:
            raise BackboneError(f"the release reads the source '{missing[0]}' and has no encoder for it; build it again")
        projector = None if self.llm is None else self.llm.projector
        if projector is not None and (self.images is None or self.images.identity.sha256 != projector.images):
            raise BackboneError("the LLM was tuned with the pictures of another image encoder; build the release again")

    @property
    def llm_reads_pictures(self) -> bool:
        """Whether the LLM reads a text's picture before it."""
        return self.llm is not None and self.llm.projector is not None

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers of each source in a row of content."""
        width = {
            "llm": 0 if self.llm is None else self.llm.hidden_size,
            "lexical": 0 if self.lexicon is None else self.lexicon.width,
            "frames": 0 if self.images is None else self.images.width,
        }
        return tuple(width[source] for source in self.sources)

    @property
    def width(self) -> int:
        """Numbers of a row of content."""
        return sum(self.widths)

    @property
    def text_width(self) -> int:
        """Numbers of a row of the content of texts."""
        return self.width - (self.images.width if self.images is not None and "frames" in self.sources else 0)

    @property
    def backbone(self) -> Backbone | None:
        """The loaded language model, for another release that uses it."""
        return None if self.llm is None else self.llm.backbone

    @property
    def space(self) -> tuple[str, ...]:
        """Name of the space of the vectors: vectors of encoders of one space may be averaged."""
        llm = "" if self.llm is None else self.llm.version(True)
        images = () if self.images is None else (self.images.version,)
        return (*self.sources, llm, "" if self.lexicon is None else self.lexicon.space, *images)

    def encode(
        self,
        texts: Sequence[str],
        cache: EmbeddingCache | None = None,
        rooms: NDArray[np.int64] | None = None,
        pictures: Pictures | None = None,
    ) -> NDArray[np.float32]:
        """Texts → float32 [n, text_width].

        Args:
            cache: of the LLM's vectors.
            rooms: of the texts [n], where the LLM's vectors must not depend on the number of cores.
            pictures: that the LLM reads before the texts.
        """
        parts = [np.zeros((len(texts), 0), dtype=np.float32)]
        for source in self.sources:
            if source == "llm" and self.llm is not None:
                parts.append(self.llm.encode(texts, cache=cache, rooms=rooms, pictures=pictures))
            elif source == "lexical" and self.lexicon is not None:
                parts.append(self.lexicon.encode(texts))
        return np.concatenate(parts, axis=1)

    def see(self, pixels: Pixels) -> NDArray[np.float32]:
        """Pictures uint8 [n, 224, 224, 3] → features float32 [n, width].

        The width is 0 where the release reads none.
        """
        return np.zeros((len(pixels), 0), dtype=np.float32) if self.images is None else self.images.encode(pixels)
