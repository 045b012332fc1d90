"""Which room-moments had which codes: what one release hands to the next, so that codes keep their meaning from day to day.

coded = CodedSegments.of(segment_ids, codes); coded.save(path)     # into the bundle
known = predecessor_codes(releases, day)                           # of the champion before this day
known.codes_of(segment_ids)                                        # int32 [n, levels], −1 where it never coded them
"""

import zipfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livealign.bundle import Bundle, open_bundle
from livealign.dataset_marts import rows_by_key
from livealign.errors import BundleError
from livealign.releases import read_champion, read_history

CODED_SEGMENTS = "coded_segments.npz"
_AT_MOST = 200_000  # the newest ones: enough to know every code by, and a few megabytes


@dataclass(frozen=True)
class CodedSegments:
    """Codes [n, levels] of segments by id [n], sorted by id."""

    segment_ids: NDArray[np.int64]
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, segment_ids: NDArray[np.int64], started_at: NDArray[np.int64], codes: NDArray[np.integer]) -> "CodedSegments":
        """The newest of these segments, by `started_at` [n] (epoch milliseconds)."""
        newest = np.argsort(-started_at, kind="stable")[:_AT_MOST]
        newest = newest[np.argsort(segment_ids[newest])]
        return cls(segment_ids[newest], codes[newest].astype(np.int32))

    def codes_of(self, segment_ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """[n, levels] of these segments, −1 where they are not among those that were coded."""
        rows = rows_by_key(self.segment_ids, segment_ids)
        return np.where(rows[:, None] >= 0, self.codes[rows], -1) if len(self.segment_ids) else np.full((len(rows), 1), -1)

    def save(self, path: Path) -> None:
        """Write an npz without pickle."""
        np.savez(path, segment_ids=self.segment_ids, codes=self.codes)

    @classmethod
    def load(cls, path: Path) -> "CodedSegments":
        """What `save` wrote.

        Raises:
            BundleError: the file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                found = cls(file["segment_ids"].astype(np.int64), file["codes"].astype(np.int32))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path} cannot be read ({error}); build the release again") from error
        if found.codes.shape[:1] != found.segment_ids.shape or found.codes.ndim != 2:
            raise BundleError(f"{path} has codes {found.codes.shape} of {found.segment_ids.shape} segments; build it again")
        return found


def predecessor(releases: Path, day: date) -> Bundle | None:
    """The verified bundle that was champion last among those made for days before `day`; None if there is none.

    A rerun of the same day then starts from where the first run started, and makes the same release.

    Raises:
        BundleError: it is damaged.
    """
    moved_to = [str(move["release"]) for move in read_history(releases)]
    for release_id in dict.fromkeys([name for name in (read_champion(releases),) if name] + moved_to[::-1]):
        if not (releases / release_id).is_dir():
            continue  # old releases may be removed
        bundle = open_bundle(releases / release_id)
        if date.fromisoformat(bundle.manifest["data_window"]["end"]) < day:
            return bundle
    return None


def predecessor_codes(releases: Path, day: date) -> CodedSegments | None:
    """What `predecessor` coded; None if there is no such release, or it is of a version that did not write it down."""
    bundle = predecessor(releases, day)
    if bundle is None or CODED_SEGMENTS not in bundle.manifest["files"]:
        return None
    return CodedSegments.load(bundle.file(CODED_SEGMENTS))
