"""Vocabularies, code names, contexts and snapshot inside a bundle.

The retrain writes them and the service reads them with this one module.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.dataset.corpus import Corpus
from livealign.dataset.examples import KnownIds, Vocabulary
from livealign.errors import BundleError
from livealign.ranking.contexts import Contexts, read_contexts
from livealign.release.bundle import CODE_NAMES, CONTEXTS, SNAPSHOT, VOCABULARY, Bundle, write_bundle


class CodedSegmentRows(NamedTuple):
    """The segments that have content, as `release.snapshot.write_snapshot` takes them; m rows."""

    segment_ids: NDArray[np.int64]  # [m] sorted
    vectors: NDArray[np.float32]  # [m, dim] aligned room vectors
    codes: NDArray[np.integer]  # [m, levels]


def write_vocabulary(folder: Path, corpus: Corpus) -> None:
    """Write the known ids and the base rates into `folder` (created if missing)."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "users.npy", corpus.users.ids, allow_pickle=False)
    np.save(folder / "authors.npy", corpus.authors.ids, allow_pickle=False)
    (folder / "base_rates.json").write_text(json.dumps(corpus.base_rates) + "\n")


def with_snapshot(bundle: Bundle, snapshot: Path, out: Path) -> Path:
    """Write the release with another snapshot folder below `out`; returns the bundle's path."""
    parts: dict[str, Path | bytes] = {
        name: bundle.path / name for name in bundle.manifest["files"] if not name.startswith(f"{SNAPSHOT}/")
    }
    fields = {
        name: value
        for name, value in bundle.manifest.items()
        if name not in ("release_id", "bundle_format", "livealign", "files")
    }
    return write_bundle(out, {**parts, SNAPSHOT: snapshot}, fields)


def rows_with_content(
    corpus: Corpus, content: NDArray[np.float32], vectors: NDArray[np.float32], codes: NDArray[np.integer]
) -> CodedSegmentRows:
    """The segments that have content, picked from the vectors and codes of all items.

    A segment has content where its row of `content` [segments, d] is not zero.
    """
    rows = np.flatnonzero((content != 0).any(1))
    return CodedSegmentRows(corpus.segment_ids[rows], vectors[rows], codes[rows])


def read_vocabulary(bundle: Bundle) -> KnownIds:
    """The vocabularies and base rates that `write_vocabulary` wrote.

    Raises:
        BundleError: a file is missing or damaged.
    """
    try:
        users, authors = (
            np.load(bundle.file(f"{VOCABULARY}/{name}.npy"), allow_pickle=False).astype(np.int64, casting="safe")
            for name in ("users", "authors")
        )
        base_rates = json.loads(bundle.file(f"{VOCABULARY}/base_rates.json").read_text())
        rates = {str(task): float(rate) for task, rate in base_rates.items()}
    except (OSError, ValueError, EOFError, TypeError, AttributeError) as error:
        raise BundleError(f"the vocabularies in {bundle.path} cannot be read ({error}); build the release again") from error
    return KnownIds(Vocabulary(users), Vocabulary(authors), rates)


def read_code_names(bundle: Bundle) -> dict[str, str]:
    """Names by code path, as `livealign.codes.names.name_codes` made them.

    Raises:
        BundleError: the file is missing or does not hold names by code path.
    """
    try:
        names = json.loads(bundle.file(CODE_NAMES).read_text())
        if not all(isinstance(name, str) for name in names.values()):
            raise TypeError("a name is not text")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BundleError(f"{bundle.path / CODE_NAMES} cannot be read ({error}); build the release again") from error
    return dict(names)


def read_contexts_of(bundle: Bundle) -> Contexts:
    """The contexts that the release has learned; empty for one of an earlier version.

    Raises:
        BundleError: the file is damaged.
    """
    return read_contexts(bundle.file(CONTEXTS)) if CONTEXTS in bundle.manifest["files"] else Contexts()


def snapshot_files(bundle: Bundle) -> dict[str, Path]:
    """The files of the bundle's snapshot by name, as `live.startup.read_snapshot` takes them."""
    return {path.name: path for path in bundle.files(SNAPSHOT)}
