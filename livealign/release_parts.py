"""Which file of a bundle holds what: the writer's side (a retrain) and the reader's side (the service) in one place."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livealign.bundle import Bundle, write_bundle
from livealign.dataset import Corpus, KnownIds, Vocabulary
from livealign.errors import BundleError
from livealign.release_files import ALIGNMENT, CODE_NAMES, CODEBOOK, RANKER, SNAPSHOT, VOCABULARY
from livealign.variants import TrainedVariant


class SegmentMoments(NamedTuple):
    """The segments that have content, as a snapshot wants them."""

    segment_ids: NDArray[np.int64]  # [m] sorted
    vectors: NDArray[np.float32]  # [m, dim] aligned room vectors
    codes: NDArray[np.integer]  # [m, levels]


def write_models(folder: Path, trained: TrainedVariant, corpus: Corpus, code_names: Mapping[str, str]) -> dict[str, Path]:
    """Write what a release serves with into `folder` (made if needed): models, vocabularies, code names.

    Args:
        trained: an aligned variant with codes (variants.FULL_METHOD).
        code_names: by code path (`code_names.name_codes`).

    Returns:
        Name in the bundle → file or folder, as `bundle.write_bundle` takes them.

    Raises:
        BundleError: the variant has no alignment, codebook or ranker.
    """
    if trained.alignment is None or trained.codebook is None or trained.ranker is None:
        raise BundleError(f"'{trained.name}' cannot be served: a release needs an alignment, a codebook and a ranker")
    folder.mkdir(parents=True, exist_ok=True)
    trained.alignment.save(folder / ALIGNMENT)
    trained.codebook.save(folder / CODEBOOK)
    trained.ranker.save(folder / RANKER)
    (folder / CODE_NAMES).write_text(json.dumps(code_names, indent=0, ensure_ascii=False) + "\n")
    write_vocabulary(folder / VOCABULARY, corpus)
    return {name: folder / name for name in (ALIGNMENT, CODEBOOK, RANKER, CODE_NAMES, VOCABULARY)}


def write_vocabulary(folder: Path, corpus: Corpus) -> None:
    """Write the ids that the models know and the base rates into `folder` (made if needed)."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "users.npy", corpus.users.ids, allow_pickle=False)
    np.save(folder / "authors.npy", corpus.authors.ids, allow_pickle=False)
    (folder / "base_rates.json").write_text(json.dumps(corpus.base_rates) + "\n")


def with_snapshot(bundle: Bundle, snapshot: Path, out: Path) -> Path:
    """Write the same release with the folder `snapshot` as its snapshot below `out`; the bundle's path."""
    parts: dict[str, Path | bytes] = {
        name: bundle.path / name for name in bundle.manifest["files"] if not name.startswith(f"{SNAPSHOT}/")
    }
    fields = {
        name: value
        for name, value in bundle.manifest.items()
        if name not in ("release_id", "bundle_format", "livealign", "files")
    }
    return write_bundle(out, {**parts, SNAPSHOT: snapshot}, fields)


def segment_moments(trained: TrainedVariant, corpus: Corpus) -> SegmentMoments:
    """Vectors and codes of the corpus' segments that have content: what `snapshot.write_snapshot` is given."""
    content, (vectors, codes) = trained.content, trained.items
    if content is None or vectors is None or codes is None:
        raise BundleError(f"'{trained.name}' cannot be served: it has no aligned vectors with codes")
    return moments_with_content(corpus, content, vectors, codes)


def moments_with_content(
    corpus: Corpus, content: NDArray[np.float32], vectors: NDArray[np.float32], codes: NDArray[np.integer]
) -> SegmentMoments:
    """The segments whose row of `content` [segments, d] is not empty, from the vectors and codes of all items."""
    rows = np.flatnonzero((content != 0).any(1))
    return SegmentMoments(corpus.segment_ids[rows], vectors[rows], codes[rows])


def read_vocabulary(bundle: Bundle) -> KnownIds:
    """The vocabularies and base rates that `write_models` wrote.

    Raises:
        BundleError: a file is missing or not what it should be.
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
    """Names by code path, as `code_names.name_codes` gave them.

    Raises:
        BundleError: the file is missing or not of that form.
    """
    try:
        names = json.loads(bundle.file(CODE_NAMES).read_text())
        if not all(isinstance(name, str) for name in names.values()):
            raise TypeError("a name is no text")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BundleError(f"{bundle.path / CODE_NAMES} cannot be read ({error}); build the release again") from error
    return dict(names)


def snapshot_files(bundle: Bundle) -> dict[str, Path]:
    """The files of the bundle's snapshot by name, as `LiveState.from_snapshot` takes them."""
    return {path.name: path for path in bundle.files(SNAPSHOT)}
