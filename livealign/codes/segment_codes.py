"""The codes of all segments, kept so that the next codebook can be numbered alike.

coded = CodedSegments.of(segment_ids, started_at, codes); coded.save(path)     # into the bundle
previous = segments_coded_by(bundle)                                           # of the previous release
previous.codes_of(segment_ids)                                                 # int32 [n, levels], −1 if not coded
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livealign.dataset.columns import rows_by_key
from livealign.errors import BundleError

_AT_MOST = 200_000  # the newest segments: enough for every code, in a few megabytes


@dataclass(frozen=True)
class CodedSegments:
    """Codes [n, levels] of segments by id [n], sorted by id."""

    segment_ids: NDArray[np.int64]
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, segment_ids: NDArray[np.int64], started_at: NDArray[np.int64], codes: NDArray[np.integer]) -> "CodedSegments":
        """Keep the newest of these segments, by `started_at` [n] (epoch milliseconds)."""
        newest = np.argsort(-started_at, kind="stable")[:_AT_MOST]
        newest = newest[np.argsort(segment_ids[newest])]
        return cls(segment_ids[newest], codes[newest].astype(np.int32))

    def codes_of(self, segment_ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """Codes [n, levels] of these segments, −1 for a segment that was not coded."""
        rows = rows_by_key(self.segment_ids, segment_ids)
        return np.where(rows[:, None] >= 0, self.codes[rows], -1) if len(self.segment_ids) else np.full((len(rows), 1), -1)

    def save(self, path: Path) -> None:
        """Write an npz without pickle."""
        np.savez(path, segment_ids=self.segment_ids, codes=self.codes)

    @classmethod
    def load(cls, path: Path) -> "CodedSegments":
        """Read the file that `save` wrote.

        Raises:
            BundleError: the file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                coded = cls(file["segment_ids"].astype(np.int64), file["codes"].astype(np.int32))
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path} cannot be read ({error}); build the release again") from error
        if coded.codes.shape[:1] != coded.segment_ids.shape or coded.codes.ndim != 2:
            raise BundleError(f"{path} has codes {coded.codes.shape} of {coded.segment_ids.shape} segments; build it again")
        return coded
