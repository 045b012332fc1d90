"""Semantic codes: residual k-means turns an aligned vector into a few integers, coarse to fine.

    codebook = fit_codebook(vectors, config)                     # or warm start: fit_codebook(vectors, config, yesterday)
    codes = codebook.encode(vectors)                             # int32 [n, levels]
    health = codebook_health(codebook, vectors)

Level one clusters the vectors, each further level what the levels before left over (residual quantization; GRID
`residual_quantization.py`, RQ-VAE-Recommender `quantize.py` do the same with k-means or gradient).
"""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from livealign.config import CodesConfig
from livealign.errors import BundleError, TrainingError

_FORMAT = "livealign-codebook-1"

Floats = NDArray[np.float32]
Codes = NDArray[np.int32]


@dataclass(frozen=True)
class Codebook:
    """Centroids float32 [levels, codes, dim]. The version is the hash of their content."""

    centroids: Floats

    @property
    def levels(self) -> int:
        return self.centroids.shape[0]

    @property
    def codes_per_level(self) -> int:
        return self.centroids.shape[1]

    @property
    def dim(self) -> int:
        return self.centroids.shape[2]

    @property
    def version(self) -> str:
        """16 hex digits that name exactly these centroids."""
        digest = hashlib.sha256(str(self.centroids.shape).encode())
        digest.update(np.ascontiguousarray(self.centroids, dtype="<f4").tobytes())
        return digest.hexdigest()[:16]

    def encode(self, vectors: Floats) -> Codes:
        """[n, dim] → codes int32 [n, levels]: at each level the nearest centroid to what the levels before left over."""
        return self.encode_with_residuals(vectors)[0]

    def encode_with_residuals(self, vectors: Floats) -> tuple[Codes, Floats]:
        """Codes [n, levels] and, behind each level, the length of what is left over [n, levels]."""
        residual = np.array(vectors, dtype=np.float32, order="C")
        codes = np.empty((len(residual), self.levels), dtype=np.int32)
        norms = np.empty((len(residual), self.levels), dtype=np.float32)
        for level, centroids in enumerate(self.centroids):
            codes[:, level] = _nearest(centroids, residual)
            residual -= centroids[codes[:, level]]
            norms[:, level] = np.linalg.norm(residual, axis=1)
        return codes, norms

    def decode(self, codes: NDArray[np.integer]) -> Floats:
        """[n, levels] → the vectors [n, dim] that the codes stand for."""
        return np.stack([self.centroids[level][codes[:, level]] for level in range(self.levels)]).sum(0)

    def save(self, path: Path) -> None:
        """Write an npz without pickle."""
        np.savez(path, format=np.array(_FORMAT), version=np.array(self.version), centroids=self.centroids)

    @classmethod
    def load(cls, path: Path) -> "Codebook":
        """What `save` wrote.

        Raises:
            BundleError: the file is missing, damaged, or its content is not what its version says.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                known, version, centroids = str(file["format"]), str(file["version"]), file["centroids"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path} is not a readable codebook ({error}); run the retrain again") from error
        if known != _FORMAT or centroids.ndim != 3 or centroids.dtype != np.float32:
            raise BundleError(f"{path} is no codebook of this version ({_FORMAT}); run the retrain again")
        codebook = cls(centroids)
        if codebook.version != version:
            raise BundleError(f"{path} says it is codebook {version} but holds {codebook.version}; it is damaged")
        return codebook


class LevelHealth(NamedTuple):
    """One level over the whole corpus."""

    used: int  # codes with at least one vector
    dead: int  # codes with none
    usage: float  # used / codes
    entropy_ratio: float  # entropy of the code distribution / log(codes); 1 = all codes equally used
    perplexity: float  # exp(entropy): the effective number of codes
    largest_share: float  # of vectors in the fullest code
    gini: float  # of the code counts; 0 = all equal
    residual_norm: float  # mean length of what is left over behind this level


class CodebookHealth(NamedTuple):
    """Health metrics of the protocol; batch-level figures would be biased upwards, so all vectors count."""

    levels: tuple[LevelHealth, ...]
    unique_share: float  # distinct code tuples / distinct vectors
    largest_bucket: float  # share of vectors in the fullest tuple
    vectors: int


def fit_codebook(vectors: Floats, config: CodesConfig, warm_start: Codebook | None = None) -> Codebook:
    """Fit `config.levels` × `config.codes_per_level` centroids to [n, dim], level by level.

    With `warm_start` each level's k-means starts from the former centroids, so that a code keeps its meaning from day to
    day; without, the best of `config.restarts` seeded starts is taken. Codes beyond the number of distinct vectors
    repeat a centroid and stay dead.

    Raises:
        TrainingError: there are no vectors, or they are not finite.
    """
    if not len(vectors) or not np.isfinite(vectors).all():
        raise TrainingError("semantic codes need finite vectors, and at least one; check the alignment that made them")
    shape = (config.levels, config.codes_per_level, vectors.shape[1])
    if warm_start is not None and warm_start.centroids.shape != shape:
        warm_start = None  # of other sizes: nothing to carry over
    residual = np.array(vectors, dtype=np.float32, order="C")
    centroids = np.empty(shape, dtype=np.float32)
    for level in range(config.levels):
        start = None if warm_start is None else warm_start.centroids[level]
        centroids[level] = _kmeans(residual, config, config.seed + level, start)
        residual -= centroids[level][_nearest(centroids[level], residual)]
    return Codebook(centroids)


def codebook_health(codebook: Codebook, vectors: Floats) -> CodebookHealth:
    """Health over the whole corpus [n, dim], n at least 1."""
    codes, norms = codebook.encode_with_residuals(vectors)
    _, buckets = np.unique(codes, axis=0, return_counts=True)
    distinct = len(np.unique(np.ascontiguousarray(vectors).view([("", vectors.dtype)] * vectors.shape[1])))
    levels = tuple(
        _level_health(codes[:, level], codebook.codes_per_level, norms[:, level]) for level in range(codebook.levels)
    )
    return CodebookHealth(levels, len(buckets) / distinct, float(buckets.max() / len(codes)), len(codes))


def code_churn(before: Codes, after: Codes, level: int = 0) -> float:
    """Share of the same vectors' codes [n, levels] that differ at `level` between two codebooks (0 if there are none)."""
    return float((before[:, level] != after[:, level]).mean()) if len(before) else 0.0


def refresh_churn(codes: Codes, room_id: NDArray[np.int64], started_at: NDArray[np.int64]) -> float:
    """Share of the steps from one segment of a room to its next at which the first code changes (0 if there are none)."""
    order = np.lexsort((started_at, room_id))
    same_room = room_id[order][1:] == room_id[order][:-1]
    changed = codes[order][1:, 0] != codes[order][:-1, 0]
    return float(changed[same_room].mean()) if same_room.any() else 0.0


def _kmeans(vectors: Floats, config: CodesConfig, seed: int, start: Floats | None) -> Floats:
    """Centroids [codes, dim] by Lloyd's algorithm of faiss, seeded, at most `config.iterations` iterations a start."""
    k, distinct = config.codes_per_level, np.unique(vectors, axis=0) if len(vectors) <= 10 * config.codes_per_level else None
    if distinct is not None and len(distinct) <= k:
        return np.ascontiguousarray(distinct[np.arange(k) % len(distinct)])
    kmeans = faiss.Kmeans(
        vectors.shape[1],
        k,
        niter=config.iterations,
        nredo=1 if start is not None else config.restarts,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=10_000,
        verbose=False,
    )
    kmeans.train(vectors, init_centroids=None if start is None else np.ascontiguousarray(start))
    return np.ascontiguousarray(kmeans.centroids, dtype=np.float32)


def _nearest(centroids: Floats, vectors: Floats) -> NDArray[np.int64]:
    if not len(vectors):
        return np.zeros(0, dtype=np.int64)
    index = faiss.IndexFlatL2(centroids.shape[1])
    index.add(np.ascontiguousarray(centroids))
    return index.search(np.ascontiguousarray(vectors), 1)[1][:, 0]


def _level_health(codes: NDArray[np.int32], size: int, norms: Floats) -> LevelHealth:
    counts = np.bincount(codes, minlength=size)
    share = counts[counts > 0] / counts.sum()
    entropy = float(-(share * np.log(share)).sum())
    used = len(share)
    rising = np.sort(counts)
    gini = float((2 * np.arange(1, size + 1) - size - 1) @ rising / (size * rising.sum()))
    return LevelHealth(
        used=used,
        dead=size - used,
        usage=used / size,
        entropy_ratio=entropy / float(np.log(size)) if size > 1 else 1.0,
        perplexity=float(np.exp(entropy)),
        largest_share=float(share.max()),
        gini=gini,
        residual_norm=float(norms.mean()),
    )
