"""The files of one day's retrain, `artifacts/<day>/`, and how to read them."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livealign.errors import LiveAlignError
from livealign.home import Home

FRAME_IDS = "frame_segment_ids"  # of the vectors of pictures
VECTORS, TOWERS, CODES, SCORES, HEALTH = "vectors.npy", "towers.json", "codes.npy", "scores.npy", "health.json"


@dataclass(frozen=True)
class DayArtifacts:
    """Paths of one day's artifacts; it reads and makes no file.

    Each folder is written by one stage and replaced whole.
    """

    root: Path

    @classmethod
    def of(cls, home: Home, day: date) -> "DayArtifacts":
        return cls(home.artifacts / day.isoformat())

    @property
    def stages(self) -> Path:
        """`<stage>.json`: seconds and peak memory."""
        return self.root / "stages"

    @property
    def adapter(self) -> Path:
        """The LoRA adapter and the report of its tuning."""
        return self.root / "adapter"

    @property
    def embeddings(self) -> Path:
        """`{segment_ids,raw_llm,tuned_llm,lexical}.npy` [n, …] and `lexicon.npz`.

        Where pictures are a source also `{frame_segment_ids,frames}.npy` [m, …].
        """
        return self.root / "embeddings"

    @property
    def alignment(self) -> Path:
        """The two towers and the aligned vector of every item."""
        return self.root / "alignment"

    @property
    def codes(self) -> Path:
        """The codebook, its names, and the codes of every item."""
        return self.root / "codes"

    @property
    def retriever(self) -> Path:
        return self.root / "retriever"

    @property
    def ranker(self) -> Path:
        """The release's ranker, its vocabularies and its scores of the held-out day."""
        return self.root / "ranker"

    @property
    def comparison(self) -> Path:
        """Scores of the held-out day by every other variant."""
        return self.root / "comparison"

    @property
    def rolling(self) -> Path:
        """Scores of the earlier days that are judged too (`livealign.retrain.rolling`)."""
        return self.root / "rolling"

    @property
    def evaluation(self) -> Path:
        return self.root / "evaluation"

    @property
    def drift(self) -> Path:
        return self.root / "drift"

    @property
    def champion(self) -> Path:
        """The champion's scores of the held-out day, and what they were computed from."""
        return self.root / "champion"

    def champion_on(self, earlier: date) -> Path:
        """The champion's scores of an earlier day that is judged for this retrain."""
        return self.root / "champion_earlier" / earlier.isoformat()

    @property
    def release(self) -> Path:
        """`bundle.json`, `bento.json`, `promotion.json`: the day's challenger and its decision."""
        return self.root / "release"


def read_comparison(artifacts: DayArtifacts) -> dict[str, NDArray[np.float32]]:
    """Scores [n, tasks] by variant that `compare` wrote."""
    return {path.stem: _load(path) for path in sorted(artifacts.comparison.glob("[!.]*.npy"))}


def read_vectors(artifacts: DayArtifacts) -> NDArray[np.float32]:
    """Aligned vectors [items, dim] that `align` wrote."""
    return _load(artifacts.alignment / VECTORS)


def read_codes(artifacts: DayArtifacts) -> NDArray[np.int32]:
    """Codes [items, levels] that `encode` wrote."""
    return _load(artifacts.codes / CODES)


def read_scores(artifacts: DayArtifacts) -> NDArray[np.float32]:
    """Probabilities [n, tasks] of the held-out impressions that `rank` wrote."""
    return _load(artifacts.ranker / SCORES)


def _load(path: Path) -> NDArray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise LiveAlignError(f"{path} cannot be read ({error}); run the stage that writes it again: make retrain") from error
