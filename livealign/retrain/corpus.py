"""The corpus of a day with its embeddings, read once for all stages."""

from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livealign.config import DatasetConfig
from livealign.dataset.corpus import FRAMES, LEXICAL, RAW, TUNED, Corpus, load_corpus
from livealign.days import PART
from livealign.errors import LiveAlignError
from livealign.file_cache import FileCache
from livealign.home import Home
from livealign.retrain.artifacts import FRAME_IDS, DayArtifacts

_corpus: FileCache[Corpus] = FileCache()


def day_corpus(home: Home, day: date, dataset: DatasetConfig) -> Corpus:
    """The corpus of a retrain for `day` with its embeddings, read once for all stages."""
    embeddings = DayArtifacts.of(home, day).embeddings
    files = [*home.marts.glob(f"*/dt=*/{PART}"), *embeddings.glob("*.npy")]
    return _corpus(
        (home.marts, day, dataset), files, lambda: with_embeddings(load_corpus(home.marts, day, dataset), embeddings)
    )


def with_embeddings(corpus: Corpus, embeddings: Path) -> Corpus:
    """The corpus with the vectors that `embed_segments` wrote: RAW, TUNED, LEXICAL, FRAMES.

    A folder of an earlier version has no vectors of counted words, and one of a retrain that reads no pictures none of them;
    then neither has the corpus.

    Raises:
        LiveAlignError: the vectors are missing or damaged.
    """

    def read(*names: str) -> list[NDArray]:
        # Mapped: the corpus has a copy of its own rows, so the files as a whole need no memory.
        return [np.load(embeddings / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names]

    try:
        segment_ids, raw, tuned = read("segment_ids", RAW, TUNED)
        lexical = read(LEXICAL) if (embeddings / f"{LEXICAL}.npy").exists() else []
        frames = read(FRAME_IDS, FRAMES) if (embeddings / f"{FRAMES}.npy").exists() else []
    except (OSError, ValueError, EOFError) as error:
        raise LiveAlignError(f"the vectors in {embeddings} cannot be read ({error}); run segment_embeddings again") from error
    corpus = corpus.with_content(RAW, segment_ids, raw).with_content(TUNED, segment_ids, tuned)
    corpus = corpus.with_content(LEXICAL, segment_ids, lexical[0]) if lexical else corpus
    return corpus.with_content(FRAMES, *frames) if frames else corpus
